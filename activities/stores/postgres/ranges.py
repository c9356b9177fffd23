"""Finding rows in a big table without an index: in ranges of its key, so that every statement is short.

A range is told by values of the key and not by where rows stand: an update puts a row's new version elsewhere, and a
row that moved into pages already read would be missed. A key stays. Where the application does change a key to a lower
one between two statements, the row is like one that is inserted meanwhile, and left to whoever looks for residuals.
Otherwise nothing falls between two ranges: each begins behind the bound at which the one before it ends, whatever
stands there by then, and the last has no end.

Bounds stay in the server, in a temporary table as all values do: a key may be somebody's address, and a parameter may
be logged.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activities.stores.postgres.statements import Target

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection


@dataclass(frozen=True)
class Ranges:
    """How big tables are read.

    Args:
        above: With more rows than this a table is big; a smaller one is read by one statement in time.
        rows: Of the key, a range.
    """

    above: int = 10_000_000
    rows: int = 100_000


RANGES = Ranges()


async def without_index(connection: Connection, target: Target) -> list[int]:
    """The entries that no index serves; asked of the planner, which knows every kind of index.

    Args:
        connection: In a transaction, with the staging tables made.
        target: A table that may be read.
    """
    await connection.execute("SET LOCAL enable_seqscan = off")  # even where the table is small today
    plans = {number: await _plan(connection, target.look_up(number)) for number in (*target.masks, *target.deletes)}
    await connection.execute("SET LOCAL enable_seqscan TO DEFAULT")
    return [number for number, plan in plans.items() if not _uses_index(plan)]


async def in_ranges(connection: Connection, target: Target, ranges: Ranges) -> list[int]:
    """The entries whose rows are to be found range by range: no index serves them, and the table is big.

    None where there is no key to go by, or its index is of another order than its columns are: then one statement
    reads the table, and has to be done in the time that a statement has.

    Args:
        connection: In a transaction, with the staging tables made.
        target: The table.
        ranges: When it is big.
    """
    if not target.table.key:
        return []
    # the planner knows the present size even of partitions, and of a table that nobody analyzed
    if (await _plan(connection, f"SELECT FROM {target.table.sql}"))["Plan Rows"] <= ranges.above:
        return []
    if not (entries := await without_index(connection, target)):
        return []
    await connection.execute(target.create_bounds())
    await connection.execute("SET LOCAL enable_seqscan = off")
    plan = await _plan(connection, target.add_bound(1, ranges.rows))
    await connection.execute("SET LOCAL enable_seqscan TO DEFAULT")
    in_order = _uses_index(plan) and not any("Sort" in node["Node Type"] for node in _nodes(plan))
    return entries if in_order else []


async def match_in_ranges(
    connection: Connection, target: Target, entries: Collection[int], ranges: Ranges, *, lock: bool
) -> AsyncIterator[int]:
    """Finds the rows of entries range by range, in the order of the key.

    Args:
        connection: In a transaction, with the table of bounds made.
        target: The table.
        entries: Some of its entries.
        ranges: How long one is.
        lock: Whether the rows are locked.

    Yields:
        About how many rows were read, after every range.
    """
    # the planner cannot see how short a range is: it must not read the whole table for it, nor compile
    await connection.execute(f"SET LOCAL enable_seqscan = off; SET LOCAL jit = off; TRUNCATE {target.bounds}")
    step, more = 0, True
    while more:
        more = await connection.execute(target.add_bound(step, ranges.rows)) != "INSERT 0 0"
        within = target.within(step, last=not more)
        for number in entries:
            await connection.execute(target.match(number, lock=lock, within=within))
        step += 1
        yield step * ranges.rows
    await connection.execute("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT")


async def _plan(connection: Connection, query: str) -> Mapping[str, Any]:
    plan: Mapping[str, Any] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}"))[0]["Plan"]
    return plan


def _uses_index(plan: Mapping[str, Any]) -> bool:
    return any("Index Cond" in node or "Recheck Cond" in node for node in _nodes(plan))


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
