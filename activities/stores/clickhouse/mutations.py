"""Mutations: start one of ours, wait for exactly that one, and kill what cannot finish."""

from __future__ import annotations

import asyncio
from typing import Any

from activities.contract import Heartbeat
from activities.errors import CriticalError, TransientError
from activities.stores.clickhouse.connection import Client, error_code
from activities.stores.clickhouse.staging import Staging

MAX_PENDING = 20
"""Unfinished mutations of a table beyond which no further one is started."""

FAILED_POLLS = 10
"""A mutation that says for so many polls that it fails is killed: it would block all later ones of its table."""

LIST = """
    SELECT concat(hostName(), ' ', mutation_id) AS id, mutation_id AS mutation, command, is_done AS done,
        parts_to_do AS parts, latest_fail_reason AS reason
    FROM {mutations} WHERE database = {database} AND table = {table}
"""

KILL = """
    KILL MUTATION{on} WHERE database = {database} AND table = {table} AND mutation_id = {mutation}
        AND position(command, {staging}) > 0
"""
"""Of one batch: on another server of a cluster the same number may be somebody else's."""


class Mutations:
    """The mutations of one table.

    Args:
        client: The client.
        table: The table's name.
        staging: Tells the batch's own mutations from all others.
        heartbeat: Told of the parts that are left.
    """

    def __init__(self, client: Client, table: str, staging: Staging, heartbeat: Heartbeat) -> None:
        self._client = client
        self._table = table
        self._staging = staging
        self._heartbeat = heartbeat

    async def run(self, statement: str) -> None:
        """Starts a mutation and waits until it is done.

        Args:
            statement: Reads a staging table of the batch, by which it is known again.

        Raises:
            TransientError: Too many wait already.
            CriticalError: It cannot finish; it was killed.
        """
        earlier = await self._all()
        unfinished = sum(not row["done"] for row in earlier)
        if unfinished > MAX_PENDING:
            remedy = "It is tried again; kill the mutations that cannot finish."
            raise TransientError(self._table, f"{unfinished} unfinished mutations wait already", remedy)
        await self._client.execute(statement)
        ids = {row["id"] for row in earlier}
        for row in await self._own():
            if row["id"] not in ids:
                await self._finish(row["id"])

    async def finish_own(self) -> None:
        """Waits for what an earlier attempt started."""
        for row in await self._own():
            if not row["done"]:
                await self._finish(row["id"])

    async def kill_own(self) -> None:
        """Stops what an earlier attempt started; parts that are done stay done."""
        for row in await self._own():
            if not row["done"]:
                await self._kill(row["mutation"])

    async def _finish(self, mutation: str) -> None:
        pause, failed = 0.02, 0
        while True:
            (row,) = [row for row in await self._all() if row["id"] == mutation]
            if row["done"]:
                return
            self._heartbeat(f"{self._table}, parts to mutate", int(row["parts"]))
            failed = failed + 1 if row["reason"] else 0
            if failed >= FAILED_POLLS:
                await self._kill(row["mutation"])
                what = f"its mutation fails with code {error_code(row['reason'])} and was killed"
                remedy = "Look into ClickHouse's log. Some parts may be changed already: try again, or roll back."
                raise CriticalError(self._table, what, remedy)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1)

    async def _kill(self, mutation: str) -> None:
        await self._client.fetch(
            KILL.replace("{on}", self._client.cluster.on),
            database=self._client.database,
            table=self._table,
            mutation=mutation,
            staging=self._staging.name,
        )

    async def _own(self) -> list[dict[str, Any]]:
        return [row for row in await self._all() if self._staging.owns(row["command"])]

    async def _all(self) -> list[dict[str, Any]]:
        return await _all(self._client, self._table)


async def unfinished(client: Client, table: str) -> list[dict[str, Any]]:
    """The mutations of a table that are not done, as `LIST` has them."""
    return [row for row in await _all(client, table) if not row["done"]]


async def _all(client: Client, table: str) -> list[dict[str, Any]]:
    query = LIST.replace("{mutations}", client.cluster.system("mutations"))
    return await client.fetch(query, database=client.database, table=table)
