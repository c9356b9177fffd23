"""The platform's API: what a contributor meets who fetches work and hands it in, before and after an erasure."""

from activities.platform_api.answers import Answer, Meaning, Work
from activities.platform_api.client import PlatformApi, connect
from activities.platform_api.data_map import PlatformApiMap
from activities.platform_api.job import Job, JobUrlError

__all__ = ["Answer", "Job", "JobUrlError", "Meaning", "PlatformApi", "PlatformApiMap", "Work", "connect"]
