"""One server, or all servers of a cluster: what statements have to say to reach them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Where statements go.

    Args:
        name: The cluster, as ``system.clusters`` has it; None for the one server that is connected to.
    """

    name: str | None = None

    @property
    def on(self) -> str:
        """What follows the table's name in a statement that changes something."""
        return f" ON CLUSTER {quote(self.name)}" if self.name else ""

    def rows(self, database: str, table: str) -> str:
        """A table to read from, of every shard."""
        if self.name:
            return f"cluster({literal(self.name)}, {literal(database)}, {literal(table)})"
        return f"{quote(database)}.{quote(table)}"

    def system(self, table: str) -> str:
        """A system table to read from, of every replica."""
        return f"clusterAllReplicas({literal(self.name)}, system.{table})" if self.name else f"system.{table}"

    @property
    def staging_engine(self) -> str:
        """The engine of a table that one insert fills on every replica of every shard."""
        if self.name:
            return "ReplicatedMergeTree('/clickhouse/erasure/{database}/{table}', '{shard}-{replica}')"
        return "MergeTree"


def quote(name: str) -> str:
    """A name as an identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A text as a literal; for names out of the catalogue and the data map, never for values."""
    return "'" + re.sub(r"[\x00-\x1f\\'\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text) + "'"
