"""What looks like an identity in this database and is not in the data map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from activities.contract import Suspect
from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.stores.clickhouse import catalogue
from activities.stores.clickhouse.catalogue import Catalogue
from activities.stores.clickhouse.cluster import literal, quote
from activities.stores.clickhouse.connection import PLACE, Client, text_of
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.expressions import Path, texts
from activities.stores.clickhouse.schema import Columns, Schema
from activities.stores.clickhouse.shapes import ArrayOf, Leaf, MapOf, Shape, TupleOf, leaves, parse
from activities.stores.clickhouse.staging import PREFIX
from activities.suspicion import SAMPLE, Suspicion

ROWS = 50_000
"""Rows of a table that are looked at, about."""

LONGEST = 4_000
"""Bytes of a value that are looked at."""

HOLDING = ("MergeTree", "Log", "Memory", "Join", "EmbeddedRocksDB")
"""What the engines that hold rows of their own end with."""


@dataclass(frozen=True)
class Spot:
    """Values of one kind in a table.

    Args:
        name: Their name in a data map.
        shape: Their column's shape.
        column: Their column.
        path: To them in there.
        named: Entries of a map that the data map names; they are left out.
    """

    name: str
    shape: Shape
    column: str
    path: Path
    named: tuple[str, ...] = ()

    @property
    def texts(self) -> str:
        """An array of what is there in a row."""
        value = quote(self.column)
        if self.named and isinstance(self.shape, MapOf):
            value = f"mapFilter((k, v) -> k NOT IN ({', '.join(map(literal, self.named))}), {value})"
        return texts(self.shape, value, self.path)


async def survey(client: Client, data_map: ClickHouseMap, suspicion: Suspicion) -> list[Suspect]:
    """Looks at every column of the database that the data map does not name: at its name, and at a sample of it.

    Args:
        client: The client.
        data_map: What is named already.
        suspicion: What to look for, and where.
    """
    schema = await Schema.read(client)
    named = catalogue.resolve_patterns(schema, data_map)
    views = schema.inner_tables()
    suspects: list[Suspect] = []
    for table in sorted(schema.tables):
        if table.startswith(PREFIX) or not schema.engine(table).endswith(HOLDING):
            continue
        called = views.get(table, table)
        spots = [
            spot
            for spot in _unnamed(named, table, _spots(schema.columns.get(table, {})))
            if suspicion.watches(PLACE, f"{called}.{spot.name}")
        ]
        samples = await _sample(client, table, spots) if spots else []
        for spot, sample in zip(spots, samples, strict=True):
            if (found := _judge(spot, sample, suspicion)) is not None:
                why, rule = found
                pattern = named.patterns.get(table, called)
                suspects.append(Suspect(f"{called}.{spot.name}", why, {pattern: {spot.name: rule}}))
    return suspects


def _spots(columns: Columns) -> Iterator[Spot]:
    """Whatever can hold an identity; a computed column holds what others hold."""
    for name, known in columns.items():
        if known["kind"] not in ("ALIAS", "MATERIALIZED", "EPHEMERAL"):
            shape = parse(known["type"])
            for path in _paths(shape):
                if any(leaf.text or leaf.bits for leaf in leaves(shape, path)):
                    yield Spot(".".join((name, *path)), shape, name, path)


def _paths(shape: Shape) -> Iterator[Path]:
    match shape:
        case Leaf() | MapOf():
            yield ()
        case ArrayOf(of=of):
            yield from _paths(of)
        case TupleOf(names=names, of=elements):
            for name, element in zip(names, elements, strict=True):
                yield from ((name, *path) for path in _paths(element))


def _unnamed(named: Catalogue, table: str, spots: Iterator[Spot]) -> Iterator[Spot]:
    """The spots that the data map does not name, each as far as it does not."""
    fields = list(named.tables[table].fields.values()) if table in named.tables else []
    for spot in spots:
        paths = [each.path for each in fields if each.column == spot.column and _begins(each.path, spot.path)]
        if not paths:
            yield spot
        elif spot.path not in paths:
            yield replace(spot, named=tuple(path[len(spot.path)] for path in paths))


def _begins(path: Path, start: Path) -> bool:
    return path[: len(start)] == start


async def _sample(client: Client, table: str, spots: list[Spot]) -> list[list[str]]:
    """Some values of each spot, by one query that stops after a bounded number of rows."""
    selected = ", ".join(
        f"arrayMap(x -> hex(substring(x, 1, {LONGEST})), groupUniqArrayArray({SAMPLE})("
        f"arrayFilter(x -> x != '', {spot.texts}))) AS s{number}"
        for number, spot in enumerate(spots)
    )
    bound = f"max_rows_to_read = {ROWS}, read_overflow_mode = 'break', max_threads = 1, max_block_size = 8192"
    (row,) = await client.fetch(
        f"SELECT {selected} FROM {client.cluster.rows(client.database, table)} SETTINGS {bound}"
    )
    return [[text_of(value) for value in sample] for sample in row.values()]


def _judge(spot: Spot, sample: list[str], suspicion: Suspicion) -> tuple[str, Any] | None:
    """Why a spot is suspect, and how a data map could name it."""
    is_text = any(leaf.text for leaf in leaves(spot.shape, spot.path))
    if is_text and (content := suspicion.by_content(sample)) is not None:
        kind, inside = content
        if inside:
            return f"texts in it hold what looks like {_said(kind)}", {
                "holds": [str(kind)],
                "mask": str(Strategy.TEXT),
            }
        return f"it holds what looks like {_said(kind)}", str(kind)
    by_name = suspicion.by_name(spot.name)
    if by_name is not None and (is_text or (by_name is not IdentityKind.EMAIL and spot.name.lower().endswith("id"))):
        return f"it is named like {_said(by_name)}", str(by_name)
    return None


def _said(kind: IdentityKind) -> str:
    return {
        IdentityKind.EMAIL: "an address",
        IdentityKind.WORKER_ID: "a worker id",
        IdentityKind.CONTRIBUTOR_ID: "a contributor id",
    }[kind]
