"""The identity table: a PostgreSQL table that says who exists, and by which addresses and worker ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from activities.contract import Contributor
from activities.datamap import IdentityTable
from activities.errors import CriticalError, translated
from activities.identities import BLANKS, IdentityKind
from activities.masking import is_mask
from activities.stores.postgres import quote, translate
from activities.stores.postgres.statements import email_of

if TYPE_CHECKING:
    from asyncpg import Pool, Record

Identity: TypeAlias = tuple[IdentityKind, str]
"""A kind, and a value in its normal form."""

Wanted: TypeAlias = Mapping[Identity, Collection[str]]
"""Identities to look for, each with the forms in which an engine may compare it."""

RESOLVE = """
    SELECT {id}::text AS contributor_id, {emails} AS emails, {worker_ids} AS worker_ids
    FROM {table}
    WHERE {id} = ANY (SELECT wanted::{type} FROM unnest($1::text[]) AS wanted WHERE pg_input_is_valid(wanted, $2))
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
                emails=_texts(table.emails),
                worker_ids=_texts(table.worker_ids),
            )
            rows = await connection.fetch(query, list(ids), id_type)
    return {
        row["contributor_id"]: Contributor(
            row["contributor_id"], _identifying(row["emails"]), _identifying(row["worker_ids"])
        )
        for row in rows
    }


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
            async for row in connection.cursor(NAME.format(holds=query), *_parameters(wanted)):
                yield row["contributor_id"], [IdentityKind(kind) for kind in row["kinds"]]


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


def _identifying(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if not is_mask(value)))


def _texts(columns: Sequence[str]) -> str:
    """The columns' values as one array of text, as they are stored; null and blank ones left out."""
    texts = [f"{quote(column)}::text" for column in columns]
    values = ", ".join(f"CASE WHEN btrim({text}, {_BLANKS}) <> '' THEN {text} END" for text in texts)
    return f"array_remove(ARRAY[{values}]::text[], NULL)"
