"""Runs a fetch: the query's answer is streamed into a sealed CSV, in one snapshot of the database."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from activities.contract import Contributor, Heartbeat
from activities.datamap import DataMap
from activities.errors import translated
from activities.fetching import columns, exported, plan, rows
from activities.fetching.exported import Export
from activities.fetching.histogram import bars
from activities.fetching.messages import Counts, Fetch, Fetched
from activities.fetching.query import STAGING, Query, Statement
from activities.identities import canonical
from activities.identity_table import identifying
from activities.stores.postgres import stream, translate
from activities.stores.postgres.connection import PAGE, copy
from activities.stores.postgres.statements import SESSION
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.stores.postgres.connection import Connection


async def check(pool: Pool[Record], data_map: DataMap, task: Fetch) -> None:
    """Proves that PostgreSQL answers, and that the data map fits it.

    Args:
        pool: PostgreSQL.
        data_map: Names tables and columns.
        task: The fetch.

    Raises:
        ErasureError: It does not.
    """
    async with _snapshot(pool) as connection:
        await columns.read(connection, data_map, task.criteria)


async def export(
    vault: BatchVault,
    pool: Pool[Record],
    data_map: DataMap,
    left_out: AsyncIterator[str],
    task: Fetch,
    heartbeat: Heartbeat,
) -> Fetched:
    """Finds whom to erase and writes the CSV, once, however often it is called.

    Args:
        vault: The fetch's part of it.
        pool: PostgreSQL.
        data_map: Names tables and columns.
        left_out: Ids of people to leave out.
        task: The fetch.
        heartbeat: Told each page.

    Raises:
        ErasureError: PostgreSQL or the vault cannot be used, or the data map does not fit.
    """
    if await vault.receipt(exported.SUMMARY) is None:
        await exported.write(vault, await _export(vault, pool, data_map, left_out, task, heartbeat))
    return (await exported.read(vault)).fetched


async def _export(
    vault: BatchVault,
    pool: Pool[Record],
    data_map: DataMap,
    left_out: AsyncIterator[str],
    task: Fetch,
    heartbeat: Heartbeat,
) -> Export:
    async with _snapshot(pool) as connection:
        layout = await columns.read(connection, data_map, task.criteria)
        await _stage(connection, left_out, heartbeat)
        query = Query(layout, task.criteria, task.as_of)
        limit = task.criteria.max_contributors
        missing = await plan.missing_indexes(connection, layout, query.found(limit))
        contributors = await _one(connection, query.everybody())
        counts = Counts(
            contributors=contributors["count"],
            **await _one(connection, query.of_status()),
            **await _one(connection, query.counts()),
        )
        heartbeat("fit", counts.not_held)
        name = f"ids/{secrets.token_hex(8)}"
        async with vault.recording(name) as recording:
            writer = _Writer(recording, data_map.identity.id_pattern, heartbeat)
            await _copy(connection, query.found(limit), writer, limit)
            if writer.written < limit < counts.not_held:  # some had unfit ids: others take their places
                await _copy(connection, query.found(counts.not_held, limit), writer, limit)
            await writer.flush()
    found = Fetched(
        writer.written, counts, writer.unfit, writer.unnamed, writer.never, bars(writer.days), missing_indexes=missing
    )
    return Export(task, name, writer.digest.hexdigest(), found)


class _Writer:
    """Writes people into a CSV, and counts them.

    Args:
        recording: Takes the CSV.
        id_pattern: What a whole id looks like.
        heartbeat: Told each page.
    """

    def __init__(self, recording: Recording, id_pattern: str, heartbeat: Heartbeat) -> None:
        self._recording = recording
        self._id = re.compile(id_pattern)
        self._heartbeat = heartbeat
        self._page: list[Contributor] = []
        self._headed = False
        self.written = self.unfit = self.unnamed = self.never = 0
        self.days: Counter[int] = Counter()
        self.digest = hashlib.sha256()

    async def add(self, contributor_id: str, emails: list[str], worker_ids: list[str], days: int | None) -> None:
        """Adds somebody, unless ``erase`` would refuse a file with such an id."""
        if not rows.is_readable(contributor_id, self._id):
            self.unfit += 1
            return
        known = Contributor(contributor_id, identifying(emails), identifying(worker_ids))
        person = rows.fit(contributor_id, known.emails, known.worker_ids)
        self.unnamed += person != known
        self.digest.update(canonical(person.contributor_id, person.emails, person.worker_ids))
        if days is None:
            self.never += 1
        else:
            self.days[days] += 1
        self.written += 1
        self._page.append(person)
        if len(self._page) == PAGE:
            await self.flush()

    async def flush(self) -> None:
        """Writes what is left; the columns' names also where there is nobody."""
        await self._recording.write(rows.encode(self._page, header=not self._headed))
        self._headed = True
        self._page.clear()
        self._heartbeat("exported", self.written)


@asynccontextmanager
async def _snapshot(pool: Pool[Record]) -> AsyncIterator[Connection]:
    """A transaction in which all statements see the same."""
    with translated("postgres", translate):
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            await connection.execute(SESSION)
            yield connection


async def _stage(connection: Connection, left_out: AsyncIterator[str], heartbeat: Heartbeat) -> None:
    """Fills the temporary table of people to leave out."""
    await connection.execute(STAGING)
    page: list[tuple[str]] = []
    staged = 0
    async for contributor_id in left_out:
        page.append((contributor_id,))
        if len(page) == PAGE:
            await copy(connection, "erasure_excluded", page)
            staged += len(page)
            heartbeat("left out", staged)
            page.clear()
    await copy(connection, "erasure_excluded", page)
    await connection.execute("ANALYZE pg_temp.erasure_excluded")


async def _copy(connection: Connection, statement: Statement, writer: _Writer, limit: int) -> None:
    """Writes whom a statement finds, until there are enough."""
    async with aclosing(stream(connection, statement.text, *statement.values)) as found:
        async for row in found:
            await writer.add(row["contributor_id"], row["emails"], row["worker_ids"], row["days"])
            if writer.written == limit:
                return


async def _one(connection: Connection, statement: Statement) -> dict[str, int]:
    """The one row of a statement."""
    row = await connection.fetchrow(statement.text, *statement.values)
    assert row is not None, "an aggregate has one row"
    return dict(row)
