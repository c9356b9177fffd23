"""Reads a node: every key's name, and all that it holds. Places are forms of keys, with ``*`` for what varies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from typing import Any

from redis import exceptions

from activities.contract import Finding, Heartbeat
from activities.errors import CriticalError, translated, unknown
from activities.stores.redis.connection import PLACE, translate
from activities.stores.redis.keyspace import Keyspace
from activities.verification.canary import Canary
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.needles import Needles
from activities.verification.reach import is_within_reach
from activities.verification.scanners.redis import keyspace as keys
from activities.verification.scanners.redis.contents import Contents
from activities.verification.tally import Tally, without_values

CANARY_LASTS = 24 * 60 * 60
"""Seconds after which the server itself removes a canary that was left behind."""

KNOWN = 10_000
"""Names of keys and fields whose form is kept."""


class RedisScanner:
    """Scans Redis.

    Args:
        keyspace: The connection.
        keys_per_second: How many keys, or members of large keys, are looked at in a second.
    """

    def __init__(self, keyspace: Keyspace, keys_per_second: int) -> None:
        self._keyspace = keyspace
        self._client: Any = keyspace.client
        self._pace = keys.Pace(keys_per_second)

    async def catalogue(self, scope: Scope) -> Catalogue:  # noqa: ARG002 - the same in every scanner
        """Lists the nodes; which of their keys are within the scope only the reading tells."""
        with translated(PLACE, translate):
            catalogue = Catalogue("?")
            for name, node in (await self._nodes()).items():
                facts = await keys.facts(self._keyspace, node)
                size = int(facts.get("used_memory_dataset", facts.get("used_memory", 0)))
                catalogue.places.append(Place(name, await keys.size(self._keyspace, node), size))
                catalogue.not_proven.extend(self._other_databases(facts))
                version = str(facts.get("valkey_version", facts["redis_version"]))
            return Catalogue(version, catalogue.places, catalogue.not_proven)

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads all keys of one node."""
        looking = _Looking(scope, needles)
        with translated(PLACE, translate):
            try:
                await self._read(place.name, looking, heartbeat)
            except (exceptions.AuthenticationError, exceptions.ConnectionError):
                raise
            except Exception as error:
                known = translate(error) or unknown(place.name, error)
                looking.tally.leave_out([Finding(place.name, f"could not be read whole: {known.what}", known.remedy)])
        return looking.reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Plants the canary in an entry of a stream."""
        canary = Canary(value, joined_by=":")
        with translated(PLACE, translate):
            await self._plant(canary)
            try:
                yield canary.prefix
            finally:
                await self._client.unlink(canary.lasting_name)

    async def _plant(self, canary: Canary) -> None:
        key = canary.lasting_name
        try:
            await self._client.unlink(key)
            await self._client.xadd(key, {"note": f"sings for {canary.value}"})
            await self._client.expire(key, CANARY_LASTS)
        except exceptions.NoPermissionError:
            with suppress(exceptions.NoPermissionError):
                await self._client.unlink(key)
            what, remedy = "the scan may not plant its canary", "Give its user +unlink +xadd +expire on these keys."
            raise CriticalError(f"{canary.prefix}*", what, remedy) from None

    async def _read(self, name: str, looking: _Looking, heartbeat: Heartbeat) -> None:
        node = (await self._nodes()).get(name)
        if node is None and name not in await self._nodes():
            looking.tally.leave_out([Finding(name, "the node has left the cluster", "Verify again.")])
            return
        layout = await keys.layout(self._keyspace, node)
        contents = Contents(self._keyspace, self._pace)
        async for page in keys.pages(self._keyspace, node, self._pace):
            chosen = looking.begin([*dict.fromkeys(page)])
            async for piece in contents.of(chosen):
                looking.add(piece.key, piece.values, piece.unread)
                if looking.is_full:
                    await asyncio.to_thread(looking.look)
            await asyncio.to_thread(looking.look)
            heartbeat(name, looking.tally.records)
        if await keys.layout(self._keyspace, node) != layout:
            what = "slots moved between nodes while it was read, so that keys may have been missed"
            looking.tally.leave_out([Finding(name, what, "Verify again when the resharding has ended.")])

    async def _nodes(self) -> dict[str, Any]:
        """What is read as a whole, by name: each primary of a cluster, or the one database."""
        nodes = await self._keyspace.nodes()
        if nodes == [None]:
            return {f"database {self._database}": None}
        return {f"node {node.name}": node for node in nodes}

    @property
    def _database(self) -> int:
        return int(self._client.connection_pool.connection_kwargs.get("db") or 0)

    def _other_databases(self, facts: dict[str, Any]) -> list[Finding]:
        others = {key: held for key, held in facts.items() if key.startswith("db") and key[2:].isdecimal()}
        own = "db0" if not hasattr(self._client, "connection_pool") else f"db{self._database}"
        return [
            Finding(
                f"database {key[2:]}",
                f"holds {int(held['keys']):,} keys and is not looked at",
                "Verify it as well, with that database in ERASURE_REDIS__URL.",
            )
            for key, held in others.items()
            if key != own
        ]


class _Looking:
    """Looks through the keys of one node."""

    FULL = 1024 * 1024

    def __init__(self, scope: Scope, needles: Needles) -> None:
        self._scope = scope
        self._needles = needles
        self._canaries = Canary("", joined_by=":").prefix
        self._forms: dict[bytes, tuple[str, int]] = {}
        self._texts: list[str] = []
        self._places: list[str] = []
        self._records: list[int] = []
        self._size = 0
        self._number = 0
        self._left_out = {"beyond": 0, "unmapped": 0}
        self._unread: dict[tuple[str, str], int] = {}
        self._shown: dict[str, str] = {}
        self.tally = Tally(needles)

    @property
    def is_full(self) -> bool:
        """Whether enough was read to be looked through."""
        return self._size >= self.FULL

    def begin(self, page: Sequence[bytes]) -> list[bytes]:
        """Begins a page of keys; answers which of them are to be read."""
        self._forms = {}
        for key in page:
            text = key.decode("utf-8", "surrogateescape")
            if not self._is_looked_at(text):
                continue
            self._number += 1
            self._forms[key] = (self._without_values(text), self._number)
            self._add(text, f"{self._forms[key][0]} (key)", self._number)
            if not text.startswith(self._canaries):
                self.tally.records += 1
        return list(self._forms)

    def add(self, key: bytes, values: Sequence[tuple[str, str, str]], unread: str | None) -> None:
        """Adds a piece of what a key holds."""
        form, number = self._forms[key]
        for part, field, text in values:
            of = f" of {self._without_values(field)}" if field else ""
            self._add(text, f"{form} ({part}{of})", number)
        if unread is not None:
            self._unread[form, unread] = self._unread.get((form, unread), 0) + 1

    def look(self) -> None:
        """Looks through what was added."""
        self.tally.bytes += self._size
        self.tally.look(self._texts, self._places, self._records)
        self._texts, self._places, self._records, self._size = [], [], [], 0

    def reading(self) -> Reading:
        """What came of it."""
        unread = self._unread.items()
        remedy = "Look at them by hand; or erase them, then verify again."
        self.tally.leave_out(Finding(form, f"{count:,} keys {why}", remedy) for (form, why), count in unread)
        for count, why, remedy in (
            (self._left_out["beyond"], "keys are out of the reach that is set", "Widen the reach."),
            (
                self._left_out["unmapped"],
                "keys are not named in the data map, and this depth leaves them out",
                'Verify with the depth "catalogue".',
            ),
        ):
            if count:
                self.tally.leave_out([Finding(PLACE, f"{count:,} {why}", remedy)])
        return self.tally.reading()

    def _without_values(self, name: str) -> str:
        shown = self._shown.get(name)
        if shown is None:
            if len(self._shown) >= KNOWN:
                self._shown.clear()
            shown = self._shown[name] = without_values(name, self._needles)
        return shown

    def _is_looked_at(self, key: str) -> bool:
        if not is_within_reach(self._scope, PLACE, key):
            self._left_out["beyond"] += 1
            return False
        named = key.startswith(self._canaries) or any(fnmatchcase(key, glob) for glob in self._scope.mapped)
        if self._scope.depth == "mapped" and not named:
            self._left_out["unmapped"] += 1
            return False
        return True

    def _add(self, text: str, place: str, number: int) -> None:
        self._texts.append(text)
        self._places.append(place)
        self._records.append(number)
        self._size += len(text)
