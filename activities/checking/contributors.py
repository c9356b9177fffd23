"""Whom a CSV names: who of them is known, in which state, and whether they are more than the policy allows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from activities import submission
from activities.checking.messages import People
from activities.contract import Finding, Heartbeat
from activities.datamap import DataMap, IdentityTable, Policy
from activities.errors import CriticalError, translated
from activities.holds import Holds
from activities.identity_table import COLUMN_TYPE
from activities.stores.postgres import quote, translate
from activities.stores.postgres.connection import copy
from activities.vault import BatchVault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.stores.postgres.connection import Connection

AT_ONCE = 20_000

STATES = 20
"""Distinct values of a status column; one with more is none, and might be somebody's name."""

STAGING = "CREATE TEMPORARY TABLE erasure_checked (id text) ON COMMIT DROP"

DISTINCT = "SELECT count(DISTINCT id) FROM pg_temp.erasure_checked"

EVERYBODY = "SELECT count(*) FROM {table}"

DISTINCT_STATES = "SELECT count(*) FROM (SELECT DISTINCT {status} FROM {table} LIMIT {most}) AS states"

KNOWN = """
    SELECT {status} AS status, count(*) AS people FROM {table} AS t
    WHERE t.{id} IN (SELECT wanted.id::{type} FROM pg_temp.erasure_checked AS wanted
                     WHERE pg_input_is_valid(wanted.id, $1))
    GROUP BY 1 ORDER BY 2 DESC
"""

_STATE = re.compile(r"[A-Za-z][A-Za-z _-]{0,30}")
"""What a status may look like, to be shown."""


async def count(vault: BatchVault, pool: Pool[Record], data_map: DataMap, holds: Holds, heartbeat: Heartbeat) -> People:
    """Counts the people of a batch, all of them by one statement.

    Args:
        vault: The batch; holds the CSV.
        pool: PostgreSQL.
        data_map: Says where people stand, and how many may be erased at once.
        holds: Who is under a legal hold.
        heartbeat: Told each page.

    Raises:
        ErasureError: It cannot be known.
    """
    status = _status(data_map)
    held: set[str] = set()
    async for page in _pages(vault):
        held |= await holds.among(page)
        heartbeat("contributors checked", len(page))
    with translated("postgres", translate):
        async with pool.acquire(timeout=60) as connection, connection.transaction():
            await connection.execute(STAGING)
            async for page in _pages(vault):
                await copy(connection, "erasure_checked", [(each,) for each in page])
            contributors = await connection.fetchval(DISTINCT)
            everybody, by_status = await _look_up(connection, data_map.identity, status)
    known = sum(by_status.values())
    problems = list(_limits(data_map.policy, contributors, known, everybody))
    shown = by_status if status is not None else {}
    return People(contributors, known, len(held), everybody, shown, problems)


def _status(data_map: DataMap) -> str | None:
    """The column that says in which state somebody is, where that stands in the identity table."""
    fetch = data_map.fetch
    return fetch.status if fetch is not None and fetch.table in (None, data_map.identity.table) else None


async def _pages(vault: BatchVault) -> AsyncIterator[list[str]]:
    """The ids of the CSV, as often as they stand in it."""
    page: list[str] = []
    async for contributor in submission.read_contributors(vault):
        page.append(contributor.contributor_id)
        if len(page) >= AT_ONCE:
            yield page
            page = []
    if page:
        yield page


async def _look_up(connection: Connection, table: IdentityTable, column: str | None) -> tuple[int, dict[str, int]]:
    """How many there are, and those of the batch by their status, where a column says that."""
    name = ".".join(quote(part) for part in table.table.split("."))
    id_type = await connection.fetchval(COLUMN_TYPE, name, table.id)
    if id_type is None:
        what = "the identity table has no such column, or it may not be read"
        remedy = "Correct [identity] in the data map, or grant SELECT."
        raise CriticalError(f"postgres {table.table}.{table.id}", what, remedy)
    status = "''"
    if column is not None:
        status = f"{quote(column)}::text"
        states = await connection.fetchval(DISTINCT_STATES.format(status=status, table=name, most=STATES + 1))
        if states > STATES:
            what = f"has more than {STATES} distinct values: it is no status"
            raise CriticalError(f"postgres {table.table}.{column}", what, "Correct fetch.status.")
    everybody = await connection.fetchval(EVERYBODY.format(table=name))
    query = KNOWN.format(status=status, table=name, id=quote(table.id), type=id_type)
    by_status: dict[str, int] = {}
    for row in await connection.fetch(query, id_type):
        shown = _shown(row["status"])
        by_status[shown] = by_status.get(shown, 0) + row["people"]
    return everybody, by_status


def _shown(status: str | None) -> str:
    """A status as it may be shown; what does not look like one might be anything."""
    if status is None:
        return "without status"
    return status if not status or _STATE.fullmatch(status) else "other"


def _limits(policy: Policy, contributors: int, known: int, everybody: int) -> list[Finding]:
    """Whether these are more people than may be erased at once."""
    found: list[Finding] = []
    most, share = policy.max_contributors, policy.max_share_of_contributors
    if most is not None and contributors > most:
        what = f"the CSV names {contributors:,} contributors, and the policy allows {most:,}"
        found.append(Finding("contributors", what, "Submit fewer, or raise policy.max_contributors."))
    if everybody and known > share * everybody:
        what = f"the CSV names {known:,} of {everybody:,} contributors, and the policy allows {share:.0%} of them"
        remedy = "Look whether it is the right file. If it is: raise policy.max_share_of_contributors."
        found.append(Finding("contributors", what, remedy))
    return found
