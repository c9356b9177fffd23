"""The scan of one store: plants a canary, reads every place of the catalogue, and must find it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Protocol

from activities.contract import Contributor, Heartbeat
from activities.errors import CriticalError
from activities.verification.contract import Estimate, Place, Scan, Scanner, Scope
from activities.verification.folding import Folding
from activities.verification.needles import Needles

AT_ONCE = 200_000
"""Identities that are looked for in one pass: they take about 100 MB of memory."""

CONCURRENCY = 4
"""Places that are read at the same time."""

MEASURED = 2.0
"""Seconds for which a place is read to see how fast that goes."""

UNMEASURED = 1_000
"""Records a second where none was read in that time."""


class People(Protocol):
    """Whose identities are looked for."""

    def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields them in pages of bounded size."""


async def scan(
    store: str,
    scanner: Scanner,
    scope: Scope,
    people: People,
    heartbeat: Heartbeat,
    *,
    canary: str | None = None,
    at_once: int = AT_ONCE,
) -> Scan:
    """Reads every place within a scope, and looks for every identity.

    Args:
        store: What is scanned.
        scanner: Reads it.
        scope: Where to look.
        people: Whose identities are looked for.
        heartbeat: Told of every page.
        canary: A word that is nobody's; a random one unless said. A scan that was cut off and runs again removes
            what it had planted, if it takes the same one.
        at_once: Identities that are looked for in one pass.

    Raises:
        ErasureError: The store cannot be scanned; or there is nobody to look for, or no place, or the canary is not
            found, so that finding nothing would prove nothing.
    """
    started = time.monotonic()
    canary = canary or f"canary-{secrets.token_hex(16)}"
    async with scanner.planted(canary) as planted:
        catalogue = await scanner.catalogue(scope)
        if all(place.name.startswith(planted) for place in catalogue.places):
            what, remedy = "has no place within the scope, so that nothing was scanned", "Check depth and reach."
            raise CriticalError(store, what, remedy)
        folding = Folding(store, planted, catalogue.not_proven)
        async for needles in _passes(people, canary, at_once):
            await _read_all(scanner, scope, catalogue.places, needles, heartbeat, folding)
        if not folding.passes:
            what = "there is nobody to look for, so that nothing was scanned"
            raise CriticalError(store, what, "Check the batch: everybody may be under a legal hold.")
    return folding.scan(catalogue.version, time.monotonic() - started)


async def estimate(scanner: Scanner, scope: Scope, heartbeat: Heartbeat) -> Estimate:
    """What it costs to scan every place within a scope; the largest one is read for a moment, to see how fast that is.

    Args:
        scanner: Reads the store.
        scope: Where to look.
        heartbeat: Told of every page.
    """
    places = (await scanner.catalogue(scope)).places
    records, size = sum(place.records for place in places), sum(place.bytes for place in places)
    speed, basis = float(UNMEASURED), f"taken to be {UNMEASURED:,} records a second, since none was read in time"
    if records:
        largest = max(places, key=lambda place: place.records)
        read, seconds = await _measured(scanner, scope, largest, heartbeat)
        if read:
            speed = read / seconds
            basis = f"{speed:,.0f} records a second, as measured now on {read:,} of {largest.name}"
    basis += f"; once more for each further {AT_ONCE:,} identities"
    return Estimate(len(places), records, size, records / speed, basis)


async def _measured(scanner: Scanner, scope: Scope, place: Place, heartbeat: Heartbeat) -> tuple[int, float]:
    """How many records of a place were read within a moment, and in how many seconds."""
    read, started = 0, time.monotonic()
    latest = started

    def beat(name: str, done: int) -> None:
        nonlocal read, latest
        read, latest = done, time.monotonic()
        heartbeat(name, done)

    nobody = Needles([], ["nobody-in-no-place"])
    with suppress(TimeoutError):
        read = (await asyncio.wait_for(scanner.read(place, scope, nobody, beat), MEASURED)).records
        latest = time.monotonic()
    return read, latest - started


async def _passes(people: People, canary: str, at_once: int) -> AsyncIterator[Needles]:
    """Yields all identities in portions that fit into memory."""
    portion: list[Contributor] = []
    size = 0
    async for page in people.pages():
        for person in page:
            portion.append(person)
            size += 1 + len(person.emails) + len(person.worker_ids)
            if size >= at_once:
                yield await asyncio.to_thread(Needles, portion, [canary])
                portion, size = [], 0
    if portion:
        yield await asyncio.to_thread(Needles, portion, [canary])


async def _read_all(
    scanner: Scanner,
    scope: Scope,
    places: Sequence[Place],
    needles: Needles,
    heartbeat: Heartbeat,
    folding: Folding,
) -> None:
    waiting = iter(places)

    async def work() -> None:
        for place in waiting:
            folding.add(place, await scanner.read(place, scope, needles, heartbeat), needles)

    folding.begin(needles)
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(CONCURRENCY):
                workers.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    folding.end()
