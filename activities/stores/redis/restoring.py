"""Rollback: what was masked or removed inside keys is put back under guard, the newest first."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from activities.contract import Finding, Heartbeat, Recovery, Restored
from activities.stores.redis import changes
from activities.stores.redis.changes import Change
from activities.stores.redis.connection import PLACE
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import CHUNK, Keyspace
from activities.vault import BatchVault

OUTCOMES = (Recovery(found=1, conflicted=1), Recovery(found=1, intact=1), Recovery(found=1, restored=1))
"""By what `changes.undo` answers."""


async def restore(
    keyspace: Keyspace, data_map: RedisMap, pre_image: str, vault: BatchVault, heartbeat: Heartbeat
) -> Restored:
    """Puts back what a slice's erasure was about to change; what it never reached is not touched.

    Args:
        keyspace: Where to.
        data_map: Names the places.
        pre_image: The name of the slice's back-up.
        vault: The batch.
        heartbeat: Told of every page.
    """
    if await vault.receipt(pre_image) is None:
        return Restored()
    places = dict.fromkeys(data_map.rules, Recovery())
    seen: set[bytes] = set()
    for name in reversed(await vault.names(f"{pre_image}/erased/")):
        async for page in _pages(name, vault):
            outcomes = await changes.undo(keyspace, page)
            for change, outcome in zip(page, outcomes, strict=True):
                # an older pre-image of a spot is put back only where the newer one became just what that had left
                if (spot := hashlib.blake2b(repr(change.spot).encode(), digest_size=16).digest()) not in seen:
                    seen.add(spot)
                    places[change.place] = places.get(change.place, Recovery()) + OUTCOMES[outcome]
            heartbeat("items put back", len(seen))
    warnings = [
        Finding(
            place,
            f"{recovery.conflicted:,} items were written or removed by somebody since, or their time is over",
            "What is newer was kept. Compare them with their source before the batch is shredded.",
        )
        for place, recovery in places.items()
        if recovery.conflicted
    ]
    notes = []
    if data_map.templates:
        what = "keys are not put back: caches rebuild by themselves, and a session is never resurrected"
        notes.append(Finding(PLACE, what, "These people log in again."))
    return Restored(places, warnings, notes)


async def _pages(name: str, vault: BatchVault) -> AsyncIterator[list[Change]]:
    """Yields changes, those of one key side by side."""
    page: list[Change] = []
    async for place, record in vault.records(name):
        page.append(Change.of(place, record))
        if len(page) >= CHUNK:
            yield page
            page = []
    if page:
        yield page
