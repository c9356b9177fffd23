"""What ClickHouse's catalogue says: the tables behind a pattern, and which of them can be mutated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import RootModel, field_validator

from activities.contract import Finding
from activities.masking import Strategy
from activities.rules import Field, FieldRule
from activities.stores.clickhouse.connection import Client
from activities.stores.clickhouse.staging import PREFIX

TABLES = """
    SELECT name, engine, create_table_query AS created, dependencies_table AS readers, toString(uuid) AS uuid
    FROM system.tables WHERE database = {database} AND NOT is_temporary
"""

COLUMNS = """
    SELECT table, name, type, default_kind AS kind,
        is_in_partition_key OR is_in_sorting_key OR is_in_primary_key OR is_in_sampling_key AS in_key
    FROM system.columns WHERE database = {database}
"""

STREAMS = ("Kafka", "RabbitMQ", "NATS", "S3Queue", "AzureQueue", "FileLog")
"""Engines that hold no rows: what they read goes into other tables."""

IMMUTABLE = ("Log", "TinyLog", "StripeLog", "File", "URL", "S3", "HDFS", "Join", "Set", "Buffer", "EmbeddedRocksDB")
"""Engines that hold rows and cannot be mutated."""

_TARGET = re.compile(r"^CREATE MATERIALIZED VIEW .*? TO (?:`?[^`. ]+`?\.)?(`(?:[^`\\]|\\.)+`|[^\s(]+)", re.DOTALL)
_TEXT = re.compile(r"(LowCardinality\()?(Nullable\()?String\)*")


class ClickHouseMap(RootModel[dict[str, dict[str, Field]]]):
    """ClickHouse's part of the data map: table patterns, each with its columns."""

    @field_validator("root")
    @classmethod
    def _can_be_undone(cls, root: dict[str, dict[str, FieldRule]]) -> dict[str, dict[str, FieldRule]]:
        for pattern, rules in root.items():
            for column, rule in rules.items():
                if rule.mask is not Strategy.TOKEN:
                    raise ValueError(f'{pattern}.{column}: only mask = "token" can be undone in ClickHouse')
                if rule.beside is not None and (rule.beside not in rules or rules[rule.beside].beside is not None):
                    raise ValueError(f"{pattern}.{column}: `beside` has to name a column here that holds an identity")
        return root


@dataclass(frozen=True)
class Table:
    """A table to be masked.

    Args:
        name: Its name.
        rules: Its columns that the data map names.
        types: Types of these columns.
    """

    name: str
    rules: dict[str, FieldRule]
    types: dict[str, str]


@dataclass
class Catalogue:
    """The tables of the data map, resolved.

    Args:
        tables: Those to be masked, by name.
        problems: What forbids to start.
        warnings: What the report names.
    """

    tables: dict[str, Table]
    problems: list[Finding]
    warnings: list[Finding]


async def read(client: Client, data_map: ClickHouseMap) -> Catalogue:
    """Resolves the data map's patterns against the catalogue."""
    tables = {row["name"]: row for row in await client.fetch(TABLES, database=client.database)}
    columns: dict[str, dict[str, dict[str, Any]]] = {}
    for row in await client.fetch(COLUMNS, database=client.database):
        columns.setdefault(row["table"], {})[row["name"]] = row
    found = Catalogue({}, [], [])
    for pattern, rules in data_map.root.items():
        named = [name for name in tables if fnmatchcase(name, pattern) and not name.startswith(PREFIX)]
        if not named:
            found.warnings.append(Finding(pattern, "names no table", "Check the pattern in the data map."))
        for name in sorted(_targets(tables, named, found)):
            _add(found, name, rules, columns.get(name, {}))
    return found


def _targets(tables: dict[str, dict[str, Any]], named: list[str], found: Catalogue) -> set[str]:
    """The tables that hold the rows: views and streams are followed to where their rows go."""
    targets: set[str] = set()
    seen: set[str] = set()
    waiting = list(named)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        engine = tables[name]["engine"]
        if engine.endswith("MergeTree"):
            targets.add(name)
        elif engine == "MaterializedView":
            waiting += _view_target(tables, name, found)
        elif engine in STREAMS:
            readers = [reader for reader in tables[name]["readers"] if reader in tables]
            if not readers:
                what = f"is a {engine} table that no materialized view reads"
                found.warnings.append(Finding(name, what, "Nothing is kept of it here."))
            waiting += readers
        elif engine in IMMUTABLE:
            what = f"has engine {engine}, which cannot be mutated"
            found.problems.append(Finding(name, what, "Exclude it from the pattern and erase there by hand."))
        elif engine not in ("View", "Dictionary", "Null"):
            what = f"has engine {engine} and is not masked itself"
            found.warnings.append(Finding(name, what, "Make sure that the tables behind it are in the data map."))
    return targets


def _view_target(tables: dict[str, dict[str, Any]], name: str, found: Catalogue) -> list[str]:
    match = _TARGET.match(tables[name]["created"])
    inner = (f".inner_id.{tables[name]['uuid']}", f".inner.{name}")
    candidates = (match[1].strip("`"),) if match else inner
    targets = [candidate for candidate in candidates if candidate in tables]
    if not targets:
        what = "is a materialized view whose target is not in this database"
        found.warnings.append(Finding(name, what, "Make sure that its target is erased as well."))
    return targets


def _add(found: Catalogue, name: str, rules: dict[str, FieldRule], columns: dict[str, dict[str, Any]]) -> None:
    """Adds a table with those of its columns that the data map names, or says what forbids it."""
    present = {column: rule for column, rule in rules.items() if column in columns}
    present = {column: rule for column, rule in present.items() if rule.beside is None or rule.beside in present}
    if not present:
        found.warnings.append(Finding(name, "has none of the columns of the data map", "Check the data map."))
        return
    for column in present:
        place, known = f"{name}.{column}", columns[column]
        if known["in_key"]:
            what = "is part of a key, which ClickHouse does not update (code 420)"
            found.problems.append(Finding(place, what, "Rebuild the table without it in its keys."))
        if not _TEXT.fullmatch(known["type"]):
            what = f"is of type {known['type']}, which takes no token"
            found.problems.append(Finding(place, what, "Take it out of the data map, and erase it by hand."))
        if known["kind"] in ("MATERIALIZED", "ALIAS"):
            what = f"is a column of kind {known['kind']}"
            found.problems.append(Finding(place, what, "Name the columns that it is computed from."))
    earlier = found.tables.get(name)
    if earlier is not None:
        present = {**earlier.rules, **present}
    found.tables[name] = Table(name, present, {column: columns[column]["type"] for column in present})
