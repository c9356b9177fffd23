"""The tables behind the data map's patterns, and what forbids to mask them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from activities.contract import Finding
from activities.rules import FieldRule
from activities.stores.clickhouse.connection import Client
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.fields import Table, check, resolve
from activities.stores.clickhouse.schema import STREAMS, Schema
from activities.stores.clickhouse.staging import PREFIX
from activities.stores.clickhouse.streams import Stream

IMMUTABLE = ("Log", "TinyLog", "StripeLog", "File", "URL", "S3", "HDFS", "Join", "Set", "Buffer", "EmbeddedRocksDB")
"""Engines that hold rows and cannot be mutated."""


@dataclass
class Catalogue:
    """The tables of the data map, resolved.

    Args:
        tables: Those to be masked, by name.
        problems: What forbids to start.
        warnings: What the report names.
        patterns: Of each table the pattern that leads to it, also where it has none of the fields.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    patterns: dict[str, str] = field(default_factory=dict)


async def read(client: Client, data_map: ClickHouseMap) -> Catalogue:
    """Resolves the data map's patterns against the catalogue."""
    return resolve_patterns(await Schema.read(client), data_map)


def resolve_patterns(schema: Schema, data_map: ClickHouseMap) -> Catalogue:
    """Resolves the data map's patterns against a database."""
    found = Catalogue()
    rules: dict[str, dict[str, FieldRule]] = {}
    for pattern, fields in data_map.root.items():
        named = [name for name in schema.tables if fnmatchcase(name, pattern) and not name.startswith(PREFIX)]
        if not named:
            found.warnings.append(Finding(pattern, "names no table", "Check the pattern in the data map."))
        for name in sorted(_targets(schema, named, found)):
            found.patterns.setdefault(name, pattern)
            rules[name] = {**rules.get(name, {}), **fields}
    for name, fields in rules.items():
        _add(found, schema, name, fields)
    return found


def _targets(schema: Schema, named: list[str], found: Catalogue) -> set[str]:
    """The tables that hold the rows: views and streams are followed to where their rows go."""
    targets: set[str] = set()
    seen: set[str] = set()
    waiting = list(named)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        engine = schema.engine(name)
        if engine.endswith("MergeTree"):
            targets.add(name)
        elif engine == "MaterializedView":
            if target := schema.target(name):
                waiting.append(target)
            else:
                what = "is a materialized view whose target is not in this database"
                found.warnings.append(Finding(name, what, "Make sure that its target is erased as well."))
        elif engine in STREAMS:
            if not (readers := schema.readers(name)):
                what = f"is a {engine} table that no materialized view reads"
                found.warnings.append(Finding(name, what, "Nothing is kept of it here."))
            waiting += readers
        elif engine == "Distributed" and (local := schema.local(name)):
            waiting.append(local)
            if not schema.is_within_reach(name):
                what, remedy = "is spread over the servers of a cluster", "Name it: ERASURE_CLICKHOUSE__CLUSTER."
                found.problems.append(Finding(name, what, remedy))
        elif engine in IMMUTABLE:
            what = f"has engine {engine}, which cannot be mutated"
            found.problems.append(Finding(name, what, "Exclude it from the pattern and erase there by hand."))
        elif engine not in ("View", "Dictionary", "Null"):
            what = f"has engine {engine} and is not masked itself"
            found.warnings.append(Finding(name, what, "Make sure that the tables behind it are in the data map."))
    return targets


def _add(found: Catalogue, schema: Schema, name: str, rules: Mapping[str, FieldRule]) -> None:
    """Adds a table with those of its fields that the data map names, and what forbids to mask them."""
    columns, keys, merged_by = schema.columns.get(name, {}), schema.keys(name), schema.merged_by(name)
    fields = resolve(rules, columns)
    if not fields:
        found.warnings.append(Finding(name, "has none of the columns of the data map", "Check the data map."))
        return
    for each in fields.values():
        found.problems += check(name, each, columns[each.column]["kind"], each.column in keys, each.column in merged_by)
    masked = {each.column for each in fields.values()}
    why = [f"has {column} in its keys" for column in sorted(keys & masked)]
    if schema.has_projections(name):
        # a mutation does not build a projection anew for a column that only follows the one it changes
        why += [
            f"has projections, and {column} follows a masked column" for column in sorted(schema.computed(name, masked))
        ]
    if why and (not schema.atomic or schema.cluster.name or schema.engine(name).startswith(("Replicated", "Shared"))):
        where = "on a cluster or in a replicated table" if schema.atomic else "in a database that is not Atomic"
        what = f"{why[0]}, and stands {where}: it cannot be written anew"
        found.problems.append(Finding(name, what, "Rebuild the table without that."))
    streams = [Stream(each, schema.engine(each), schema.tables[each]["created"]) for each in schema.streams(name)]
    found.tables[name] = Table(name, schema.cluster.rows(schema.database, name), fields, bool(why), tuple(streams))
