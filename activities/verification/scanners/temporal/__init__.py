"""Reads what Temporal keeps of a batch: every event of every run, and what it shows of it.

texts    the texts of an event, whatever its payloads were made of
scanner  the verbs
"""

from __future__ import annotations

from temporalio.client import Client

from activities.settings import TemporalSettings
from activities.verification.contract import ScannerKind
from activities.verification.data_map import VerificationMap
from activities.verification.scanners.temporal.scanner import TemporalScanner


def _open(client: Client, _: TemporalSettings) -> TemporalScanner:
    return TemporalScanner(client)


def _mapped(_: VerificationMap) -> list[str]:
    """No data map names a batch's workflows: whoever verifies a batch does."""
    return []


KIND: ScannerKind[Client, VerificationMap, TemporalSettings] = ScannerKind(
    name="temporal", open=_open, mapped=_mapped, plants=False
)
