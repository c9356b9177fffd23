"""The identities that the data map's tables hold: what their rows are found by, whoever's they are."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

from activities.contract import Finding, Sighting
from activities.stores.postgres.catalogue import Table, quote
from activities.stores.postgres.conditions import held_by, unmasked
from activities.stores.postgres.connection import PAGE, stream, translated_at
from activities.stores.postgres.data_map import Deletion, Masking, PostgresMap
from activities.stores.postgres.masks import find_column, masks_of

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

DISTINCT = "SELECT DISTINCT {value}::text AS value FROM {source} WHERE {value} IS NOT NULL AND ({left})"


async def identities(
    connection: Connection, data_map: PostgresMap, tables: Mapping[str, Table]
) -> AsyncGenerator[Sighting | Finding]:
    """Yields the distinct values by which the data map finds its rows, where these are still to be erased.

    Args:
        connection: In a transaction.
        data_map: The entries.
        tables: Those that there are, by place.
    """
    # rows that are to go are looked for by whatever they hold, also where columns of them are masked before
    entries = {(entry.table, entry.by, entry.holds): entry for entry in (*data_map.mask, *data_map.delete)}
    for (place, by, kind), entry in entries.items():
        table = tables.get(place)
        if table is None or find_column(table, by) is None:
            yield Finding(f"{place}.{by}", "is not there", "Compare erasure.toml with the database.")
            continue
        if (left := _left(entry, table)) is None:
            what = "stays in rows after their erasure, and nobody can tell in which of them something is left to mask"
            yield Finding(f"{place}.{by}", what, "Mask it too, or a plain column beside it.")
            continue
        values: list[str] = []
        with translated_at(place):
            async for row in stream(connection, _query(entry, table, left)):
                values.append(row["value"])
                if len(values) >= PAGE:
                    yield Sighting(f"{place}.{by}", (kind,), values)
                    values = []
        if values:
            yield Sighting(f"{place}.{by}", (kind,), values)


def _left(entry: Deletion, table: Table) -> str | None:
    """Whether row ``t`` is still to be erased, also where what it is found by stays in it; None if SQL cannot tell."""
    if not isinstance(entry, Masking):
        return "true"
    column, path = held_by(entry, table)
    masks = masks_of(entry, table).values()
    if any(mask.column == column and path[: len(mask.path)] == mask.path for mask in masks):
        return "true"
    return " OR ".join(unmasked(mask.column, mask.strategy) for mask in masks if mask.is_plain) or None


def _query(entry: Deletion, table: Table, left: str) -> str:
    column, path = held_by(entry, table)
    value, source = f"t.{quote(column.name)}", f"{table.sql} AS t"
    if path:
        keys = "".join(f".{json.dumps(key)}" for key in path).replace("'", "''")
        leaf = "jsonb_typeof(j.v) IN ('string', 'number')"
        held = f"jsonb_path_query({value}::jsonb, 'lax ${keys}.**') AS j (v)"
        source = f"{source}, {held}, LATERAL (SELECT CASE WHEN {leaf} THEN j.v #>> '{{}}' END AS v) AS e"
        value = "e.v"
    elif column.array:
        source = f"{source}, unnest({value}) AS e (v)"
        value = "e.v"
    return DISTINCT.format(value=value, source=source, left=left)
