"""Looking: which of the values that a store holds have a tombstone. What is found goes into the vault at once.

A value is hashed here and compared in PostgreSQL, a page at a time; what is kept in memory are the marks of those that
were found, and values that were met lately and have none.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING

from activities.contract import Finding, Sighting
from activities.identities import IdentityKind
from activities.masking import is_mask
from activities.sweeping.messages import Sighted
from activities.sweeping.words import candidates
from activities.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from activities.tombstones import Found
    from activities.vault import BatchVault, Recording

PAGE = 10_000
"""Identities that are looked up at once."""

STRANGERS = 200_000
"""Values without a tombstone that are remembered, since they will come again."""

KEPT = "kept"
"""Where the marks lie that somebody has who stays."""

Identity = tuple[IdentityKind, str]


async def look(
    store: str, sightings: AsyncGenerator[Sighting | Finding], tombstones: Tombstones, vault: BatchVault
) -> Sighted:
    """Looks through one store.

    Args:
        store: Its name.
        sightings: What it holds.
        tombstones: Who was erased.
        vault: The sweep's; receives what was found.
    """
    looking = Looking(store, tombstones, await _kept(vault))
    async with vault.recording(f"found/{store}/{secrets.token_hex(4)}") as recording, aclosing(sightings) as held:
        async for each in held:
            if isinstance(each, Finding):
                looking.sighted.not_looked_at.append(each)
            else:
                await looking.add(each, recording)
    return looking.sighted


class Looking:
    """What of one store is known so far.

    Args:
        store: Its name.
        tombstones: Who was erased.
        kept: Marks that somebody has who stays.
    """

    def __init__(self, store: str, tombstones: Tombstones, kept: set[bytes]) -> None:
        self.sighted = Sighted(store)
        self._tombstones = tombstones
        self._kept = kept
        self._counted: set[tuple[str, bytes]] = set()
        self._strangers: set[Identity] = set()

    async def add(self, sighting: Sighting, recording: Recording) -> None:
        """Looks a page of values up."""
        fresh = (each for each in _identities(sighting) if each not in self._strangers)
        while some := dict.fromkeys(islice(fresh, PAGE)):
            marks = {identity: self._tombstones.key.marks(*identity) for identity in some}
            found = await self._tombstones.among({mark for each in marks.values() for mark in each})
            for identity, theirs in marks.items():
                if (mark := next((each for each in theirs if each in found), None)) is not None:
                    await self._found(sighting.place, identity, mark, found[mark], recording)
                else:
                    self._strangers.add(identity)
            if len(self._strangers) > STRANGERS:
                self._strangers.clear()

    async def _found(self, place: str, identity: Identity, mark: bytes, found: Found, recording: Recording) -> None:
        if (place, mark) in self._counted:
            return
        self._counted.add((place, mark))
        counts = self.sighted.kept if mark in self._kept else self.sighted.came_back
        counts[place] = counts.get(place, 0) + 1
        if mark not in self._kept:
            await record(recording, place, identity, found.person, found.batch_id)


async def record(recording: Recording, place: str, identity: Identity, person: bytes, batch_id: str) -> None:
    """Puts down an identity that came back.

    Args:
        recording: In the sweep's vault.
        place: Where it was found.
        identity: It.
        person: Whose it was: the mark of the contributor's id.
        batch_id: The batch that had erased it.
    """
    kind, value = identity
    await recording.add(place, {"k": kind, "v": value, "p": person.hex(), "b": batch_id})


async def found_in(vault: BatchVault) -> AsyncIterator[tuple[Identity, bytes, str]]:
    """Yields what was put down: the identity, whose it was, and the batch that had erased it."""
    for name in await vault.names("found/"):
        async for _, row in vault.records(name):
            yield (IdentityKind(row["k"]), row["v"]), bytes.fromhex(row["p"]), row["b"]


async def keep(vault: BatchVault, marks: Iterable[bytes]) -> None:
    """Puts down marks that somebody has who stays.

    Args:
        vault: The sweep's.
        marks: They.
    """
    async with vault.recording(f"{KEPT}/{secrets.token_hex(4)}") as recording:
        for mark in marks:
            await recording.add(KEPT, {"m": mark.hex()})


async def _kept(vault: BatchVault) -> set[bytes]:
    return {bytes.fromhex(row["m"]) for name in await vault.names(f"{KEPT}/") async for _, row in vault.records(name)}


def _identities(sighting: Sighting) -> Iterator[Identity]:
    for value in sighting.values:
        if sighting.are_texts:
            yield from candidates(value, sighting.kinds)
        elif value.strip() and not is_mask(value):
            yield from ((kind, value) for kind in sighting.kinds)
