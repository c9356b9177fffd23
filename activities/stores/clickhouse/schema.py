"""The database's own catalogue: its tables and columns, and which of them feed which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from activities.stores.clickhouse.cluster import Cluster
from activities.stores.clickhouse.connection import Client

TABLES = """
    SELECT name, engine, engine_full, create_table_query AS created, dependencies_table AS readers,
        toString(uuid) AS uuid
    FROM system.tables WHERE database = {database} AND NOT is_temporary
"""

COLUMNS = """
    SELECT table, name, type, default_kind AS kind, default_expression AS expression,
        is_in_partition_key OR is_in_sorting_key OR is_in_primary_key OR is_in_sampling_key AS in_key
    FROM system.columns WHERE database = {database}
"""

ENGINE = "SELECT engine FROM system.databases WHERE name = {database}"

STREAMS = ("Kafka", "RabbitMQ", "NATS", "S3Queue", "AzureQueue", "FileLog")
"""Engines that hold no rows: what they read goes into other tables."""

HOSTS = "SELECT cluster, count() AS hosts FROM system.clusters GROUP BY cluster"

Columns: TypeAlias = dict[str, dict[str, Any]]
"""Of each column what the catalogue says."""

_TARGET = re.compile(r"^CREATE MATERIALIZED VIEW .*? TO (?:`?[^`. ]+`?\.)?(`(?:[^`\\]|\\.)+`|[^\s(]+)", re.DOTALL)
_DISTRIBUTED = re.compile(r"Distributed\('((?:[^'\\]|\\.)*)', '((?:[^'\\]|\\.)*)', '((?:[^'\\]|\\.)*)'")
_ENGINE = re.compile(r"MergeTree\(([^)]*)\)")
_PROJECTION = re.compile(r"\bPROJECTION \S+\s+\(")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")


@dataclass(frozen=True)
class Schema:
    """A database.

    Args:
        database: Its name.
        cluster: The servers that hold it.
        hosts: How many servers each known cluster has.
        atomic: Whether tables can be exchanged in it.
        tables: What the catalogue says of each table.
        columns: What it says of each table's columns.
    """

    database: str
    cluster: Cluster
    hosts: dict[str, int]
    atomic: bool
    tables: dict[str, dict[str, Any]]
    columns: dict[str, Columns]

    @classmethod
    async def read(cls, client: Client) -> Schema:
        """Reads the catalogue."""
        database = client.database
        tables = {row["name"]: row for row in await client.fetch(TABLES, database=database)}
        columns: dict[str, Columns] = {}
        for row in await client.fetch(COLUMNS, database=database):
            columns.setdefault(row["table"], {})[row["name"]] = row
        engines = [row["engine"] for row in await client.fetch(ENGINE, database=database)]
        hosts = {row["cluster"]: row["hosts"] for row in await client.fetch(HOSTS)}
        return cls(database, client.cluster, hosts, engines in (["Atomic"], ["Replicated"]), tables, columns)

    def engine(self, table: str) -> str:
        """A table's engine."""
        return str(self.tables[table]["engine"])

    def readers(self, table: str) -> list[str]:
        """The materialized views of this database that read a table."""
        return [name for name in self.tables[table]["readers"] if name in self.tables]

    def target(self, view: str) -> str | None:
        """Where a materialized view puts its rows, if that is in this database."""
        match = _TARGET.match(self.tables[view]["created"])
        inner = (f".inner_id.{self.tables[view]['uuid']}", f".inner.{view}")
        candidates = (match[1].strip("`"),) if match else inner
        return next((name for name in candidates if name in self.tables), None)

    def local(self, distributed: str) -> str | None:
        """The local table of a distributed one, if that is in this database."""
        _, database, table = _distributed(self.tables[distributed]["engine_full"])
        return table if database == self.database and table in self.tables else None

    def is_within_reach(self, distributed: str) -> bool:
        """Whether statements get to every server that holds rows of a distributed table."""
        cluster, _, _ = _distributed(self.tables[distributed]["engine_full"])
        return cluster == self.cluster.name or self.hosts.get(cluster, 1) == 1

    def streams(self, table: str) -> list[str]:
        """The streams whose rows get into a table, by whatever views."""
        sources: dict[str, set[str]] = {}
        for name in self.tables:
            for view in self.readers(name):
                if target := self.target(view):
                    sources.setdefault(target, set()).add(name)
        found: set[str] = set()
        waiting = [table]
        while waiting:
            more = sources.get(waiting.pop(), set()) - found
            found |= more
            waiting += more
        return sorted(name for name in found if self.engine(name) in STREAMS)

    def inner_tables(self) -> dict[str, str]:
        """The views whose rows stand in a table without a name of its own, by that table."""
        views = (name for name in self.tables if self.engine(name) == "MaterializedView")
        targets = ((self.target(name), name) for name in views)
        return {target: name for target, name in targets if target and target.startswith(".inner")}

    def keys(self, table: str) -> set[str]:
        """Columns that a table's keys are made of, also by way of columns that are computed from them."""
        columns = self.columns.get(table, {})
        keys = {name for name, known in columns.items() if known["in_key"]}
        while more := {name for name in columns if name not in keys and _computes(columns, keys, name)}:
            keys |= more
        return keys

    def computed(self, table: str, changed: set[str]) -> set[str]:
        """Columns that are computed from changed ones when a row is written."""
        return computed(list(self.columns.get(table, {}).values()), changed)

    def has_projections(self, table: str) -> bool:
        """Whether a table keeps projections."""
        return _PROJECTION.search(self.tables[table]["created"]) is not None

    def merged_by(self, table: str) -> set[str]:
        """Columns by which a table's engine merges rows: its version, its sign, what it sums."""
        match = _ENGINE.search(_QUOTED.sub("", self.tables[table]["engine_full"]))
        return set(_names(match[1])) if match else set()


def _distributed(engine: str) -> tuple[str, str, str]:
    """Cluster, database and local table of a distributed table; empty where they are computed and not named."""
    match = _DISTRIBUTED.search(engine)
    cluster, database, table = (re.sub(r"\\(.)", r"\1", each) for each in (match.groups() if match else ("", "", "")))
    return cluster, database, table


def _computes(columns: Columns, computed: set[str], name: str) -> bool:
    return any(
        columns[each]["kind"] == "MATERIALIZED" and mentions(columns[each]["expression"], name) for each in computed
    )


def _names(text: str) -> Iterator[str]:
    return (found[0] for found in re.finditer(r"\w+", text))


def mentions(expression: str, name: str) -> bool:
    """Whether an expression names a column or table."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", expression) is not None


def computed(columns: list[dict[str, Any]], changed: set[str]) -> set[str]:
    """Columns that are computed from changed ones, and so are computed anew."""
    found: set[str] = set()
    while True:
        more = {
            row["name"]
            for row in columns
            if row["kind"] == "MATERIALIZED"
            and row["name"] not in found
            and any(mentions(row["expression"], column) for column in changed | found)
        }
        if not more:
            return found
        found |= more
