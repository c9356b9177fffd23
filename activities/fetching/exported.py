"""What a fetch leaves in the vault.

ids/<attempt>        the CSV
summary              what it holds, and which attempt's it is: a fetch is done once this exists
back-up/<stamp>      its dated copy
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from activities.contract import Contributor
from activities.fetching import rows
from activities.fetching.messages import Fetch, Fetched
from activities.vault import BatchVault

SUMMARY = "summary"


@dataclass(frozen=True)
class Export:
    """A CSV in the vault.

    Args:
        task: The fetch.
        csv: The CSV's name.
        digest: SHA-256, hex, over its people, as `erase` takes it of a file.
        fetched: What it holds.
    """

    task: Fetch
    csv: str
    digest: str
    fetched: Fetched


_EXPORT = TypeAdapter(Export)


async def write(vault: BatchVault, export: Export) -> None:
    """Puts a fetch's summary into the vault, once: the first one counts."""
    async with vault.recording(SUMMARY) as recording:
        await recording.add("summary", _EXPORT.dump_python(export, mode="json"))


async def read(vault: BatchVault) -> Export:
    """What a fetch left in the vault."""
    (record,) = [record async for _, record in vault.records(SUMMARY)]
    return _EXPORT.validate_python(record)


async def people(vault: BatchVault) -> AsyncIterator[Contributor]:
    """Yields the people of a fetch's CSV, in order."""
    async for person in rows.decode(vault.chunks((await read(vault)).csv)):
        yield person


async def back_up(vault: BatchVault, stamp: datetime) -> str:
    """Copies a fetch's CSV under a dated name, and reads it back.

    Args:
        vault: The fetch's part of it.
        stamp: The date.

    Returns:
        The copy's name.
    """
    name = back_up_name(stamp)
    if (receipt := await vault.receipt(name)) is None:
        async with vault.recording(name) as recording:
            async for chunk in vault.chunks((await read(vault)).csv):
                await recording.write(chunk)
        receipt = recording.receipt
    assert receipt is not None, "a recording that closed has a receipt"
    await vault.verify(name, receipt.digest)
    return name


def back_up_name(stamp: datetime) -> str:
    """The dated copy's name in the vault."""
    return f"back-up/{stamp:%Y%m%dT%H%M%SZ}"
