"""The identity that a scan plants in PostgreSQL: a table of its own, so that nothing else is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncpg.exceptions import InsufficientPrivilegeError, ReadOnlySQLTransactionError

from activities.errors import CriticalError, translated
from activities.stores.postgres.connection import translate
from activities.verification.canary import Canary
from activities.verification.scanners.postgres.catalogue import CANARIES, named, quoted

if TYPE_CHECKING:
    from asyncpg import Pool, Record

SCHEMA = f"CREATE SCHEMA IF NOT EXISTS {CANARIES}"
CREATE = f"CREATE TABLE {CANARIES}.{{table}} AS SELECT $1::text AS email"
DROP = f"DROP TABLE IF EXISTS {CANARIES}.{{table}}"
LIST = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1 AND starts_with(tablename, $2)"
EXISTS = "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = $1"


@asynccontextmanager
async def planted(pool: Pool[Record], value: str) -> AsyncIterator[str]:
    """Plants an address for as long as the block: see `activities.verification.contract.Scanner`.

    Args:
        pool: The store's connections.
        value: The address.
    """
    canary = Canary(value, "_")
    table = quoted(canary.name)
    with translated("postgres", translate):
        await _remove_left_overs(pool, canary)
        try:
            if not await pool.fetchval(EXISTS, CANARIES):
                await pool.execute(SCHEMA)
            await pool.execute(CREATE.format(table=table), value)
        except (InsufficientPrivilegeError, ReadOnlySQLTransactionError):
            what = "the scan's canary cannot be planted there, so that finding nothing would prove nothing"
            remedy = f"Create the schema {CANARIES} and grant CREATE on it; a standby takes none."
            raise CriticalError(f"postgres {CANARIES}", what, remedy) from None
    try:
        yield named(CANARIES, canary.name)
    finally:
        with translated("postgres", translate):
            await pool.execute(DROP.format(table=table))


async def _remove_left_overs(pool: Pool[Record], canary: Canary) -> None:
    for row in await pool.fetch(LIST, CANARIES, canary.prefix):
        if canary.is_left_over(row["tablename"]):
            await pool.execute(DROP.format(table=quoted(row["tablename"])))
