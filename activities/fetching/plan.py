"""Whether the server answers a fetch by an index, and if not, which one it lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from activities.fetching.columns import Layout
from activities.fetching.query import Statement
from activities.stores.postgres.catalogue import Table, quote

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

BIG = 4 * 1024 * 1024
"""Bytes of a table from which on it matters; a smaller one is read from end to end in milliseconds."""

SIZE = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0)"

IS_INDEXED = """
    SELECT EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = $1::bigint::oid AND i.indisvalid AND i.indpred IS NULL AND $2::text[] = ARRAY(
            SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:cardinality($2::text[]) - 1]) AS k (attnum)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            ORDER BY array_position($2::text[], a.attname::text)))
"""
"""Whether an index of a table begins with some columns, in whatever order."""


async def missing_indexes(connection: Connection, layout: Layout, statement: Statement) -> list[str]:
    """The statements that would make the indices that a query lacks; empty where its plan is good.

    A big table that is read from end to end although it has the index is the planner's choice: most of it fits.

    Args:
        connection: PostgreSQL, where the query could run.
        layout: Tables and columns.
        statement: The query.
    """
    plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) {statement.text}", *statement.values))
    wanted: dict[str, tuple[Table, list[str]]] = {}
    for node in _nodes(plan[0]["Plan"]):
        if node["Node Type"] == "Seq Scan" and (needed := _needed(layout, node["Alias"])) is not None:
            name = f"{quote(node['Schema'])}.{quote(node['Relation Name'])}"
            if await connection.fetchval(SIZE, name) >= BIG:
                wanted[needed[0].sql] = needed
    return [
        _create(table, columns)
        for table, columns in wanted.values()
        if not await connection.fetchval(IS_INDEXED, table.oid, columns)
    ]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan, and all below it."""
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)


def _needed(layout: Layout, alias: str) -> tuple[Table, list[str]] | None:
    """By which columns a table is to be found; partitions have their table's alias, with a number."""
    match alias.partition("_")[0]:
        case "m" if layout.projects is not None and layout.fetch.projects is not None:
            return layout.projects, [layout.fetch.projects.by or ""]
        case "s":
            return layout.activity, [layout.status.name, layout.last_activity.name]
        case "t" if layout.activity == layout.identity:
            return layout.activity, [layout.status.name, layout.last_activity.name]
    return None


def _create(table: Table, columns: list[str]) -> str:
    how = "CREATE INDEX" if table.kind == "p" else "CREATE INDEX CONCURRENTLY"
    return f"{how} ON {table.sql} ({', '.join(map(quote, columns))});"
