"""Reads a table: what can hold an identity of every row that is on its disks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiochclient.exceptions import ChClientError

from activities.contract import Finding, Heartbeat
from activities.errors import translated, unknown
from activities.stores.clickhouse.cluster import literal, quote
from activities.stores.clickhouse.connection import PLACE, Client, error_code, translate
from activities.verification.canary import Canary
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.needles import Needles
from activities.verification.scanners.clickhouse import columns, tables
from activities.verification.scanners.clickhouse.rows import Rows
from activities.verification.tally import Tally

REFUSED = 516
"""ClickHouse's number of a login that is not accepted."""

DEFINITION = "SELECT hex(create_table_query) AS text FROM system.tables WHERE database = {database} AND name = {table}"

LEFT_OVER = "SELECT name FROM system.tables WHERE database = {database} AND startsWith(name, {prefix})"


class ClickHouseScanner:
    """Scans ClickHouse.

    Args:
        client: The client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._planted: str | None = None

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists the tables within the scope."""
        with translated(PLACE, translate):
            return await tables.catalogue(self._client, scope, self._planted)

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads one table."""
        tally = Tally(needles)
        with translated(PLACE, translate):
            try:
                await self._read(place.name, scope, needles, tally, heartbeat)
            except aiohttp.ClientConnectorError:
                raise
            except Exception as error:
                if isinstance(error, ChClientError) and error_code(str(error)) == REFUSED:
                    raise
                known = translate(error) or unknown(place.name, error)
                tally.leave_out([Finding(place.name, f"could not be read whole: {known.what}", known.remedy)])
        return tally.reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Plants the canary in a table of its own, beside those of the data map."""
        canary = Canary(value, joined_by="_")
        database, on = self._client.database, self._client.cluster.on
        with translated(PLACE, translate):
            query = LEFT_OVER.replace("{database}", literal(database)).replace("{prefix}", literal(canary.prefix))
            for row in await self._client.fetch(query):
                if canary.is_left_over(row["name"]):
                    await self._drop(row["name"])
            table = f"{quote(database)}.{quote(canary.name)}"
            try:
                await self._client.execute(
                    f"CREATE TABLE {table}{on} (note String) ENGINE = MergeTree ORDER BY tuple()"
                )
                # as a value and not in the statement, or it would be found in the server's log of statements too
                await self._client.insert(table, ["note"], [[f"sings for {value}"]])
                self._planted = canary.name
                yield f"{database}.{canary.name}"
            finally:
                self._planted = None
                await self._drop(canary.name)

    async def _drop(self, name: str) -> None:
        table = f"{quote(self._client.database)}.{quote(name)}"
        await self._client.execute(f"DROP TABLE IF EXISTS {table}{self._client.cluster.on} SYNC")

    async def _read(self, name: str, scope: Scope, needles: Needles, tally: Tally, heartbeat: Heartbeat) -> None:
        database, table = await self._split(name)
        query = DEFINITION.replace("{database}", literal(database)).replace("{table}", literal(table))
        for row in await self._client.fetch(query):
            tally.examine(bytes.fromhex(row["text"]).decode("utf-8", "replace"), f"{name}: its definition", 0)
        found = await columns.read(self._client, database, table, scope, needles)
        tally.leave_out(found.not_proven)
        if not found.texts:
            return
        source = self._source(database, table)
        expected = await self._count(source)
        ended = await Rows(name, found.texts, tally, needles).read(self._client, source, heartbeat)
        expected = min(expected, await self._count(source))
        if not ended or tally.records < expected:
            what = f"{tally.records:,} rows were read of {expected:,}: the query was cut off, or rows were withheld"
            remedy = "Look into ClickHouse's log at this time, and at the bounds of the user's profile."
            tally.leave_out([Finding(name, what, remedy)])

    async def _split(self, name: str) -> tuple[str, str]:
        """Database and table: both may have dots in their names."""
        query = f"SELECT database, name FROM system.tables WHERE concat(database, '.', name) = {literal(name)}"
        for row in await self._client.fetch(query):
            return row["database"], row["name"]
        raise ChClientError("Code: 60. The table is gone.")

    def _source(self, database: str, table: str) -> str:
        """Where the rows are read: on every replica of every shard, since one may lag behind."""
        if self._client.cluster.name:
            names = ", ".join(map(literal, (self._client.cluster.name, database, table)))
            return f"clusterAllReplicas({names})"
        return f"{quote(database)}.{quote(table)}"

    async def _count(self, source: str) -> int:
        (row,) = await self._client.fetch(f"SELECT count() AS count FROM {source}")
        return int(row["count"])
