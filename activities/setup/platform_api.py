"""The platform's own API, which gives work to contributors."""

from __future__ import annotations

from activities import platform_api
from activities.datamap import DataMap
from activities.platform_api.client import PlatformApi
from activities.platform_api.job import Job
from activities.settings import PlatformApiSettings, load
from activities.setup.contract import Result, State


class PlatformApiCheck:
    """The API's health.

    Args:
        data_map: Says how it is asked.
    """

    name = "platform API"

    def __init__(self, data_map: DataMap) -> None:
        self._rules = data_map.platform_api

    async def run(self) -> Result:
        """Asks it, where there is one to ask."""
        settings = load(PlatformApiSettings)
        if settings.base_url is None:
            return Result(State.UNUSED)
        async with platform_api.connect() as session:
            await PlatformApi(session, settings, self._rules, Job("", "")).probe()
        return Result(State.OK)
