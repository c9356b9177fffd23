"""The identity table: a PostgreSQL table that says who exists, and by which addresses and worker ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from activities.contract import Contributor
from activities.datamap import IdentityTable
from activities.errors import CriticalError, translated
from activities.identities import BLANKS, IdentityKind
from activities.masking import is_mask
from activities.stores.postgres import quote, stream, translate
from activities.stores.postgres.conditions import email_of
from activities.stores.postgres.connection import PAGE
from activities.suspicion import Suspicion

if TYPE_CHECKING:
    from asyncpg import Pool, Record

Identity: TypeAlias = tuple[IdentityKind, str]
"""A kind, and a value in its normal form."""

Wanted: TypeAlias = Mapping[Identity, Collection[str]]
"""Identities to look for, each with the forms in which an engine may compare it."""

RESOLVE = """
    SELECT t.{id}::text AS contributor_id, {emails} AS emails, {worker_ids} AS worker_ids
    FROM {table} AS t
    WHERE t.{id} = ANY (SELECT wanted::{type} FROM unnest($1::text[]) AS wanted WHERE pg_input_is_valid(wanted, $2))
"""

ACCOUNTS = """
    SELECT {id}::text AS contributor_id, {emails} AS emails, {worker_ids} AS worker_ids, {created_at} AS created_at
    FROM {table} AS t WHERE {id} IS NOT NULL
"""

HOLDS = """
    SELECT wanted.kind, wanted.value, t.{id}::text AS contributor_id
    FROM {table} AS t JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (kind, form, value)
    ON wanted.kind = '{kind}' AND wanted.form = {compared}
"""
"""Who has one of the wanted identities in one column. A join, so that it is hashed, however many they are."""

COUNT = "SELECT kind, value, count(DISTINCT contributor_id) AS holders FROM ({holds}) AS held GROUP BY kind, value"

NAME = """
    SELECT contributor_id, array_agg(DISTINCT kind ORDER BY kind) AS kinds FROM ({holds}) AS held
    GROUP BY contributor_id ORDER BY contributor_id
"""

CANDIDATES = """
    SELECT n.nspname AS schema, c.relname AS name, k.attname AS key, count(DISTINCT f.oid) AS references,
           ARRAY(SELECT a.attname::text FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND t.typcategory IN ('S', 'N', 'U')
                 ORDER BY a.attnum) AS columns
    FROM pg_constraint AS f
    JOIN pg_class AS c ON c.oid = f.confrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS k ON k.attrelid = c.oid AND k.attnum = f.confkey[1]
    WHERE f.contype = 'f' AND cardinality(f.confkey) = 1 AND f.conrelid <> f.confrelid AND f.conparentid = 0
    GROUP BY n.nspname, c.oid, c.relname, k.attname
"""
"""Tables with a column that foreign keys of other tables refer to, and what of them may be an identity."""

_BLANKS = "E'" + BLANKS.encode("unicode_escape").decode() + "'"

COLUMN_TYPE = """
    SELECT format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped
"""


async def look_up(pool: Pool[Record], table: IdentityTable, ids: Sequence[str]) -> dict[str, Contributor]:
    """The contributors of some ids with their identities as they are stored; masks are nobody's identity.

    Args:
        pool: PostgreSQL.
        table: Where identities stand.
        ids: Contributor ids, as text.

    Raises:
        ErasureError: The table cannot be read, or is not as the data map says.
    """
    with translated("postgres", translate):
        async with pool.acquire() as connection:
            id_type = await connection.fetchval(COLUMN_TYPE, _quoted(table), table.id)
            if id_type is None:
                raise CriticalError(
                    f"postgres {table.table}.{table.id}",
                    "the identity table has no such column, or it may not be read",
                    "Correct [identity] in the data map, or grant SELECT.",
                )
            query = RESOLVE.format(
                table=_quoted(table),
                id=quote(table.id),
                type=id_type,
                emails=texts(table.emails),
                worker_ids=texts(table.worker_ids),
            )
            rows = await connection.fetch(query, list(ids), id_type)
    return {
        row["contributor_id"]: Contributor(
            row["contributor_id"], identifying(row["emails"]), identifying(row["worker_ids"])
        )
        for row in rows
    }


@dataclass(frozen=True)
class Account:
    """One row of the identity table.

    Args:
        contributor: Who, with their identities as they are stored.
        created_at: Since when; None where the data map names no column, or the row has nothing there.
    """

    contributor: Contributor
    created_at: datetime | None


async def accounts(pool: Pool[Record], table: IdentityTable) -> AsyncGenerator[list[Account]]:
    """Yields everybody who is in the table, in pages, as one snapshot has them.

    Args:
        pool: PostgreSQL.
        table: Where identities stand.

    Raises:
        ErasureError: The table cannot be read, or is not as the data map says.
    """
    query = ACCOUNTS.format(
        table=_quoted(table),
        id=quote(table.id),
        emails=texts(table.emails),
        worker_ids=texts(table.worker_ids),
        created_at=f"{quote(table.created_at)}::timestamptz" if table.created_at else "NULL::timestamptz",
    )
    with translated("postgres", translate):
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL row_security = off")
            page: list[Account] = []
            async for row in stream(connection, query):
                emails, worker_ids = identifying(row["emails"]), identifying(row["worker_ids"])
                page.append(Account(Contributor(row["contributor_id"], emails, worker_ids), row["created_at"]))
                if len(page) >= PAGE:
                    yield page
                    page = []
            if page:
                yield page


async def count_holders(pool: Pool[Record], table: IdentityTable, wanted: Wanted) -> dict[Identity, int]:
    """How many contributors of the table have each of some addresses and worker ids; one query for all.

    Args:
        pool: PostgreSQL.
        table: Where identities stand.
        wanted: What to look for.
    """
    if not (query := _holds(table)):
        return {}
    with translated("postgres", translate):
        rows = await pool.fetch(COUNT.format(holds=query), *_parameters(wanted))
    return {(IdentityKind(row["kind"]), row["value"]): row["holders"] for row in rows}


async def holders(
    pool: Pool[Record], table: IdentityTable, wanted: Wanted
) -> AsyncGenerator[tuple[str, list[IdentityKind]], None]:
    """Yields who has one of some identities, by id, and which kinds of them.

    Args:
        pool: PostgreSQL.
        table: Where identities stand.
        wanted: What to look for.
    """
    if not (query := _holds(table)):
        return
    with translated("postgres", translate):
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            async for row in stream(connection, NAME.format(holds=query), *_parameters(wanted)):
                yield row["contributor_id"], [IdentityKind(kind) for kind in row["kinds"]]


@dataclass(frozen=True)
class Guess:
    """A table that may say who exists.

    Args:
        table: The table.
        references: Foreign keys of other tables that refer to it.
    """

    table: IdentityTable
    references: int

    @property
    def why(self) -> str:
        """What speaks for it, in words."""
        columns = ", ".join((*self.table.emails, *self.table.worker_ids))
        return f"has {columns}, and {self.references:,} foreign keys refer to its {self.table.id}"


async def guess(pool: Pool[Record], suspicion: Suspicion) -> list[Guess]:
    """Tables that may say who exists: with a column of addresses, and referred to by others; the likeliest first.

    Args:
        pool: PostgreSQL.
        suspicion: What a column of addresses or worker ids is called, and where to look.

    Raises:
        ErasureError: The catalogue cannot be read.
    """
    with translated("postgres", translate):
        rows = await pool.fetch(CANDIDATES)
    found = []
    for row in rows:
        kinds = {column: suspicion.by_name(column) for column in row["columns"]}
        emails = tuple(column for column, kind in kinds.items() if kind is IdentityKind.EMAIL)
        worker_ids = tuple(column for column, kind in kinds.items() if kind is IdentityKind.WORKER_ID)
        table = f"{row['schema']}.{row['name']}"
        if emails and suspicion.watches("postgres", table):
            entry = IdentityTable(table=table, id=row["key"], emails=emails, worker_ids=worker_ids)
            found.append(Guess(entry, row["references"]))
    return sorted(found, key=lambda each: (-each.references, each.table.table))


def texts(columns: Sequence[str]) -> str:
    """The columns' values in row ``t`` as one array of text, as they are stored; null and blank ones left out."""
    values = [f"t.{quote(column)}::text" for column in columns]
    told = ", ".join(f"CASE WHEN btrim({value}, {_BLANKS}) <> '' THEN {value} END" for value in values)
    return f"array_remove(ARRAY[{told}]::text[], NULL)"


def _holds(table: IdentityTable) -> str:
    """The rows of all columns that hold addresses or worker ids; empty where there are none."""
    compared = [
        *((IdentityKind.EMAIL, email_of(f"t.{quote(column)}")) for column in table.emails),
        *((IdentityKind.WORKER_ID, f't.{quote(column)}::text COLLATE "C"') for column in table.worker_ids),
    ]
    return " UNION ALL ".join(
        HOLDS.format(table=_quoted(table), id=quote(table.id), kind=kind.value, compared=expression)
        for kind, expression in compared
    )


def _parameters(wanted: Wanted) -> tuple[list[str], list[str], list[str]]:
    """Of `HOLDS`; what no text of PostgreSQL can hold is nowhere in it."""
    rows = [(str(kind), form, value) for (kind, value), forms in wanted.items() for form in forms if "\0" not in form]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _quoted(table: IdentityTable) -> str:
    return ".".join(quote(part) for part in table.table.split("."))


def identifying(values: Sequence[str]) -> tuple[str, ...]:
    """Each value once; masks are nobody's identity."""
    return tuple(dict.fromkeys(value for value in values if not is_mask(value)))
