"""A ClickHouse database of a test's own, and what is looked at in it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from activities.contract import Contributor, Heartbeat
from activities.stores.clickhouse.connection import ClickHouseSettings, Client, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.store import ClickHouseStore

ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("b'o\"b\\", ("bob@x.io",), ("100%_*?[a]\n\t'{x}",))

METRICS = """CREATE TABLE {table} (
    n UInt32, email String, worker_id LowCardinality(Nullable(String)), name String, judgments UInt16
) ENGINE = MergeTree ORDER BY n"""

ROWS: list[tuple[Any, ...]] = [
    (1, "Ann@x.io", "w-12", "Ann", 10),
    (2, " ANN@X.IO\t", "w-12", "Ann", 20),
    (3, "bob@x.io", "100%_*?[a]\n\t'{x}", "Bob", 30),
    (4, "notann@x.io", "w-123", "Jo", 40),
    (5, "ann@x.io.uk", "W-12", "", 50),
    (6, "", None, "", 60),
    (7, "a%@x.io", "NULL", "NULL", 70),
    (8, "ann@x.io", None, "", 80),
]
OURS = {1, 2, 3, 8}

MAP = {"metrics*": {"email": "email", "worker_id": "worker_id", "name": {"beside": "worker_id"}}}


@dataclass(frozen=True)
class Database:
    """A database of its own on the real server."""

    client: Client
    name: str
    heartbeat: Heartbeat

    async def run(self, *statements: str) -> None:
        for sql in statements:
            await self.client.execute(sql)

    async def rows(self, table: str = "metrics") -> dict[int, tuple[Any, ...]]:
        columns = "n, email, toString(isNull(worker_id)) AS none, ifNull(worker_id, '') AS worker, name, judgments"
        rows = await self.client.fetch(f"SELECT {columns} FROM {table} ORDER BY n")
        return {row["n"]: tuple(row.values())[1:] for row in rows}

    async def texts(self, query: str) -> list[str]:
        """The rows of a query, each as ClickHouse writes a tuple."""
        rows = await self.client.fetch(f"SELECT hex(toString(tuple(*))) AS line FROM ({query})")
        return [bytes.fromhex(row["line"]).decode() for row in rows]

    async def fill(self, table: str = "metrics") -> None:
        await self.run(METRICS.replace("{table}", table))
        await self.insert(ROWS, table)

    async def insert(self, rows: list[tuple[Any, ...]], table: str = "metrics") -> None:
        await self.client._chclient.execute(f"INSERT INTO {table} VALUES", *rows)

    async def mutations(self) -> list[dict[str, Any]]:
        query = "SELECT table, command, is_done FROM system.mutations WHERE database = {database}"
        return await self.client.fetch(query, database=self.name)

    async def mutation_starts(self) -> None:
        async with asyncio.timeout(30):
            while not await self.mutations():  # noqa: ASYNC110 - happens in the server
                await asyncio.sleep(0.01)

    async def tables(self) -> list[str]:
        query = "SELECT name FROM system.tables WHERE database = {database} ORDER BY name"
        return [row["name"] for row in await self.client.fetch(query, database=self.name)]

    def store(self, data_map: dict[str, Any] | None = None, *, rollback: bool = True) -> ClickHouseStore:
        validated = ClickHouseMap.model_validate(data_map or MAP, context={"rollback": rollback})
        return ClickHouseStore(self.client, validated, self.heartbeat)


@asynccontextmanager
async def database(url: str, heartbeat: Heartbeat) -> AsyncIterator[Database]:
    """Makes a database, and drops it.

    Args:
        url: The server.
        heartbeat: What its stores report to.
    """
    name = f"test_{secrets.token_hex(6)}"
    settings = ClickHouseSettings(url=url, database=name)
    async with connect(settings.model_copy(update={"database": "default"})) as admin, connect(settings) as client:
        await admin.execute(f"CREATE DATABASE {name}")
        yield Database(client, name, heartbeat)
        await admin.execute(f"DROP DATABASE {name} SYNC")
