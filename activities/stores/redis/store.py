"""Redis's verbs."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from activities.contract import (
    BackUp,
    Erased,
    Extent,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Sighting,
    Slice,
    Suspect,
    Tally,
)
from activities.errors import CriticalError, translated
from activities.identities import IdentitySet
from activities.stores.redis import changes, restoring, rights, survey
from activities.stores.redis.connection import PLACE, translate
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.finding import Found, Search
from activities.stores.redis.identities import identities
from activities.stores.redis.keyspace import Keyspace
from activities.suspicion import Suspicion
from activities.vault import BatchVault

ROUNDS = 20
"""How often keys are read again in which something was found, until nothing is."""


class RedisStore:
    """Erases in Redis.

    Args:
        keyspace: The connection, shared.
        data_map: Key templates and rules.
        heartbeat: Told of every page of keys.
    """

    def __init__(self, keyspace: Keyspace, data_map: RedisMap, heartbeat: Heartbeat) -> None:
        self._keyspace = keyspace
        self._map = data_map
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await rights.check(self._keyspace, self._map)

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for keys that the data map does not name: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await survey.survey(self._keyspace, self._map, suspicion)

    async def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what keys name and hold: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            async with aclosing(identities(self._keyspace, self._map, self._heartbeat)) as found:
                async for each in found:
                    yield each

    async def preview(self, part: Slice) -> Impact:
        """Counts keys, and items in keys: see `activities.contract.Store`."""
        places = dict.fromkeys(self._places, 0)
        with translated(PLACE, translate):
            search = await self._search(part)
            async for found in search.keys():
                if found.whole:
                    places[found.places[0]] += len(found.keys)
                    continue
                async for page in search.matches(found):
                    for match in page:
                        places[match.place] += 1
        gone = {place: Extent(lost=places[place]) for place in self._map.templates if places[place]}
        return Impact(places, gone)

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Keeps the items of keys that stay, and a keyed hash of each key that goes: see the package."""
        name = pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                search = await self._search(part)
                async with vault.recording(name) as recording:
                    async for found in search.keys():
                        if found.whole:
                            for key in found.keys:
                                token = vault.masker.token(key.decode("utf-8", "surrogateescape"))
                                await recording.add(found.places[0], {"key": token})
                            continue
                        async for page in search.matches(found):
                            for change in await changes.plan(self._keyspace, page, search.looks, vault.masker):
                                await recording.add(change.place, change.record)
                receipt = recording.receipt
        assert receipt is not None, "a recording that closed has a receipt"
        return receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Unlinks keys, and masks what others hold: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(pre_image(part))
            if receipt is None:
                raise CriticalError(PLACE, f"slice {part.name} has no back-up", "Submit the file again.")
            places = dict.fromkeys(self._places, Tally())
            search = await self._search(part)
            async for found in search.keys():
                if found.whole:
                    unlinked = sum(await self._keyspace.pipelined([("UNLINK", key) for key in found.keys]))
                    places[found.places[0]] += Tally(matched=len(found.keys), changed=unlinked)
                    continue
                for place, tally in (await self._mask(search, found, part, vault)).items():
                    places[place] += tally
        for place, tally in places.items():
            clean = max(0, receipt.places.get(place, 0) - tally.matched)
            places[place] = tally + Tally(already_clean=clean)
        return Erased(places, _not_looked_into(search))

    async def _mask(self, search: Search, found: Found, part: Slice, vault: BatchVault) -> dict[str, Tally]:
        """Masks what keys hold, and reads them again until nothing is found; pre-images come before each write."""
        changed: Counter[str] = Counter()
        left: Counter[str] = Counter()
        for _ in range(ROUNDS):
            left.clear()
            touched: dict[bytes, None] = {}
            async for page in search.matches(found):
                planned = await changes.plan(self._keyspace, page, search.looks, vault.masker)
                name = f"{pre_image(part)}/erased/{time.time_ns():020}-{secrets.token_hex(4)}"
                async with vault.recording(name) as kept:
                    for change in planned:
                        await kept.add(change.place, change.record)
                for change, done in zip(planned, await changes.carry_out(self._keyspace, planned), strict=True):
                    (changed if done else left)[change.place] += 1
                    touched[change.key] = None
            if not touched:
                break
            found = replace(found, keys=[*touched])
        return {
            place: Tally(matched=changed[place] + left[place], changed=changed[place], conflicted=left[place])
            for place in found.places
        }

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Puts back what was masked in keys; keys that went stay away, and that is said: see the package."""
        with translated(PLACE, translate):
            return await restoring.restore(self._keyspace, self._map, pre_image(part), vault, self._heartbeat)

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Has nothing to purge: what is unlinked or masked is gone."""
        del part, vault
        return Purged()

    @property
    def _places(self) -> list[str]:
        return [*self._map.templates, *self._map.rules]

    async def _search(self, part: Slice) -> Search:
        people = IdentitySet([contributor async for page in part.pages() for contributor in page])
        return Search(self._keyspace, self._map, people, self._heartbeat)


def pre_image(part: Slice) -> str:
    """The name of a slice's back-up in the vault."""
    return f"pre-image/{PLACE}/{part.name}"


def _not_looked_into(search: Search) -> list[Finding]:
    """What a rule names and cannot look into is not proven."""
    return [
        Finding(
            place,
            f"{count:,} keys of this form are of type {kind}, and were not looked into",
            "Name another part of them in the data map, or a narrower form of key.",
        )
        for place, kinds in search.unfit.items()
        for kind, count in sorted(kinds.items())
    ]
