"""The census of the two SQL stores: one query a table; the server counts and hashes."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiochclient import ChClient
from asyncpg import Pool

from devstack.platform import clickhouse, postgres
from devstack.platform.tally import MASK, Batch, Count, fingerprint

Kind = Literal["id", "email", "worker_id"]

PERSONAL: dict[str, dict[str, Kind]] = {
    "contributors": {"id": "id", "email": "email", "worker_id": "worker_id"},
    "jobs": {},
    "job_mappings": {"contributor_id": "id"},
    "contributor_devices": {"contributor_id": "id"},
    "payments": {"contributor_id": "id", "payee_email": "email"},
    "support_tickets": {"requester_email": "email"},
    "audit_log": {"actor_worker_id": "worker_id"},
}
"""Which identities PostgreSQL's tables hold."""

POSTGRES = """
SELECT count(*),
       count(*) FILTER (WHERE batch),
       count(*) FILTER (WHERE masked),
       coalesce(sum(hashtextextended(whole, 0)::numeric) FILTER (WHERE NOT batch AND NOT masked), 0)::text
FROM (SELECT t::text AS whole, coalesce({batch}, false) AS batch, strpos(t::text, '{mask}') > 0 AS masked
      FROM {table} AS t) AS looked
"""

CLICKHOUSE = """
SELECT count() AS total,
       countIf(batch) AS of_batch,
       countIf(masked) AS of_masked,
       sumIf(whole, NOT batch AND NOT masked) AS others
FROM (SELECT lowerUTF8(trimBoth(email)) IN {{emails}} OR ifNull(worker_id, '') IN {{worker_ids}} AS batch,
             startsWith(email, '{mask}') OR startsWith(ifNull(worker_id, ''), '{mask}')
                 OR startsWith(worker_name, '{mask}') AS masked,
             cityHash64(toString(tuple(*))) AS whole
      FROM {table})
"""


async def count_postgres(pool: Pool, schema: str, batch: Batch) -> list[Count]:
    """Counts the rows of each table of PostgreSQL.

    Args:
        pool: Connected to the platform's database.
        schema: Where the tables are.
        batch: Whom to look for.
    """
    values = {"id": batch.ids, "email": batch.emails, "worker_id": batch.worker_ids}

    async def count(table: str, columns: dict[str, Kind]) -> Count:
        found = " OR ".join(
            f"{'lower(btrim(' + column + '))' if kind == 'email' else column} IN (SELECT unnest(${number}::text[]))"
            for number, (column, kind) in enumerate(columns.items(), 1)
        )
        name = f"{postgres.quoted(schema)}.{table}"
        query = POSTGRES.format(batch=found or "false", mask=MASK, table=name)
        row = await pool.fetchrow(query, *(list(values[kind]) for kind in columns.values()))
        assert row is not None, "an aggregate has one row"
        return Count("postgres", table, row[0], row[1], row[2], fingerprint(int(row[3])))

    return list(await asyncio.gather(*(count(table, columns) for table, columns in PERSONAL.items())))


async def count_clickhouse(client: ChClient, database: str, batch: Batch) -> list[Count]:
    """Counts the rows of each table of ClickHouse.

    Args:
        client: Connected to the platform's server.
        database: Where the tables are.
        batch: Whom to look for.
    """
    sought = {"emails": sorted(batch.emails), "worker_ids": sorted(batch.worker_ids)}

    async def count(table: str) -> Count:
        query = CLICKHOUSE.format(mask=MASK, table=f"{clickhouse.quoted(database)}.{table}")
        row = await client.fetchrow(query, params=sought)
        return Count("clickhouse", table, row[0], row[1], row[2], fingerprint(row[3]))

    return list(await asyncio.gather(*(count(table) for table in clickhouse.TABLES)))
