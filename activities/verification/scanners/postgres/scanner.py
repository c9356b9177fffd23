"""The scanner of PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from activities.contract import Finding, Heartbeat
from activities.errors import translated
from activities.stores.postgres.connection import translate
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.evidence import Evidence
from activities.verification.needles import Needles
from activities.verification.scanners.postgres import catalogue
from activities.verification.scanners.postgres.canary import planted
from activities.verification.scanners.postgres.catalogue import LARGE_OBJECTS, Relation
from activities.verification.scanners.postgres.reading import Stopped, read_large_objects, read_relation, reading

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from asyncpg import Pool
    from asyncpg import Record as Row

    from activities.stores.postgres.connection import Connection

GONE = "is not in the catalogue any more"


class PostgresScanner:
    """Reads PostgreSQL: see `activities.verification.contract.Scanner`.

    Args:
        pool: The store's connections.
    """

    def __init__(self, pool: Pool[Row]) -> None:
        self._pool = pool
        self._relations: dict[str, Relation] = {}

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists every table, and what else holds rows."""
        async with self._connected() as connection, connection.transaction(readonly=True):
            learned, self._relations = await catalogue.learn(connection, scope)
        return learned

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads one of them."""
        if not self._relations:
            await self.catalogue(scope)
        evidence = Evidence(needles)
        relation = self._relations.get(place.name)
        name = needles.blanked(place.name)
        if relation is None and place.name != LARGE_OBJECTS:
            evidence.leave_out([Finding(place.name, GONE, "Verify again.")])
            return evidence.reading()
        async with self._connected() as connection:
            try:
                async with reading(connection, place.name):
                    if relation is None:
                        await read_large_objects(connection, evidence, lambda done: heartbeat(name, done))
                    else:
                        await read_relation(
                            connection, relation, scope.depth, evidence, lambda done: heartbeat(name, done)
                        )
            except Stopped as stopped:
                evidence.leave_out([stopped.finding])
        return evidence.reading()

    def planted(self, value: str) -> AbstractAsyncContextManager[str]:
        """Plants an address in a table of its own."""
        return planted(self._pool, value)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        with translated("postgres", translate):
            async with self._pool.acquire() as connection:
                yield connection
