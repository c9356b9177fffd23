"""Which tables there are, by the server's own word, and what of them no query reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from aiochclient.exceptions import ChClientError

from activities.contract import Finding
from activities.stores.clickhouse.connection import PLACE, Client, error_code
from activities.verification.canary import PREFIX
from activities.verification.contract import Catalogue, Place, Scope
from activities.verification.reach import is_within_reach, left_out

CANARIES = PREFIX.replace("-", "_")

OWN = ("system", "INFORMATION_SCHEMA", "information_schema", "_temporary_and_external_tables")

TABLES = f"""
    SELECT database, name, engine, ifNull(total_rows, 0) AS records, ifNull(total_bytes, 0) AS bytes
    FROM system.tables
    WHERE NOT is_temporary AND (database NOT IN {OWN} OR ({{deep}} AND database = 'system' AND endsWith(name, '_log')))
    ORDER BY database, name
"""
"""At the deepest, the server's logs are among them: statements stand in these as they were sent."""

COMPUTED = ("View", "MaterializedView", "LiveView", "WindowView", "Merge", "Null", "GenerateRandom", "Loop", "Alias")
"""Engines that keep nothing themselves: what they show is in other tables, which are listed too."""

STREAMS = ("Kafka", "RabbitMQ", "NATS", "S3Queue", "AzureQueue", "FileLog")
"""Engines whose rows are gone once they are read."""

ELSEWHERE = (
    *("AzureBlobStorage", "DeltaLake", "ExternalDistributed", "File", "HDFS", "Hive", "Hudi", "Iceberg", "JDBC"),
    *("MaterializedPostgreSQL", "MongoDB", "MySQL", "ODBC", "PostgreSQL", "Redis", "S3", "SQLite", "URL", "YTsaurus"),
)
"""Engines whose rows another system keeps."""


@dataclass(frozen=True)
class Beside:
    """What may lie beside the rows that queries read.

    Args:
        source: The system table that tells.
        count: How many there are, of a table.
        where: Which of its rows tell of some.
        what: What these are.
        remedy: What the operator can do.
        is_apart: Whether they are a place of their own: the table itself is read whole all the same.
    """

    source: str
    count: str
    where: str
    what: str
    remedy: str
    is_apart: bool = True

    @property
    def query(self) -> str:
        """Counts them, by table."""
        counted = f"SELECT database, table AS name, {self.count} AS count FROM {{source}} WHERE {self.where}"
        return f"{counted} GROUP BY database, table HAVING count > 0"


BESIDE = (
    Beside(
        "detached_parts",
        "count()",
        "1",
        "detached parts",
        "Attach them and verify again, or drop them: ALTER TABLE ... DROP DETACHED PART.",
    ),
    Beside(
        "parts",
        "count()",
        "NOT active",
        "outdated parts",
        "They hold earlier rows. The server removes them after old_parts_lifetime, eight minutes unless set otherwise; "
        "then verify again.",
    ),
    Beside(
        "parts",
        "count()",
        "active AND startsWith(parts.name, 'patch-')",
        "patch parts",
        "What was there before a lightweight update is still on the disk. Have it merged: "
        "ALTER TABLE ... APPLY PATCHES; then verify again.",
    ),
    Beside(
        "dropped_tables",
        "count()",
        "1",
        "dropped tables of this name",
        "They are still on the disk. The server removes them after database_atomic_delay_before_drop_table_sec, eight "
        "minutes unless set otherwise; then verify again.",
    ),
    Beside(
        "distribution_queue",
        "sum(data_files)",
        "1",
        "files on their way to other servers",
        "Have them sent: SYSTEM FLUSH DISTRIBUTED; then verify again.",
    ),
    Beside(
        "row_policies",
        "count()",
        "1",
        "row policies",
        "They may hide rows from the user of the scan: except that user.",
        is_apart=False,
    ),
)


async def catalogue(client: Client, scope: Scope, canary: str | None) -> Catalogue:
    """Lists the tables within a scope.

    Args:
        client: The client.
        scope: Where to look.
        canary: The table of the scan's own canary, which is within every scope; those of other scans are in none.
    """
    (server,) = await client.fetch("SELECT version() AS version")
    tables = await client.fetch(TABLES.replace("{deep}", str(int(scope.depth == "deep"))))
    tables = [row for row in tables if row["name"] == canary or not row["name"].startswith(CANARIES)]
    beyond = [_name(row) for row in tables if not is_within_reach(scope, PLACE, _name(row))]
    reached = [row for row in tables if is_within_reach(scope, PLACE, _name(row))]
    looked_at = [row for row in reached if _is_looked_at(row, scope, client.database)]
    unmapped = {_name(row) for row in reached if row["engine"] not in COMPUTED} - {_name(row) for row in looked_at}
    not_proven = left_out(PLACE, beyond, "tables are out of the reach that is set", "Widen the reach.")
    why = "tables are not named in the data map, and this depth leaves them out"
    not_proven += left_out(PLACE, unmapped, why, 'Verify with the depth "catalogue".')
    places = []
    for row in looked_at:
        if finding := _finding(row, scope):
            not_proven.append(finding)
        elif row["engine"] not in COMPUTED and not (row["engine"] == "Distributed" and client.cluster.name):
            places.append(Place(_name(row), int(row["records"]), int(row["bytes"])))
    async for row, finding in _beside(client):
        if row["name"].startswith(CANARIES):
            continue
        is_reached = is_within_reach(scope, PLACE, _name(row)) and _is_looked_at(row, scope, client.database)
        if is_reached or finding.place == PLACE:
            not_proven.append(finding)
    return Catalogue(server["version"], places, not_proven)


def _name(row: dict[str, Any]) -> str:
    return f"{row['database']}.{row['name']}"


def _is_looked_at(row: dict[str, Any], scope: Scope, database: str) -> bool:
    if scope.depth != "mapped":
        return True
    named = row["name"].startswith(CANARIES) or any(fnmatchcase(row["name"], pattern) for pattern in scope.mapped)
    # a view's rows are in a table that is called after its id
    return row["database"] == database and (named or row["name"].startswith(".inner"))


def _finding(row: dict[str, Any], scope: Scope) -> Finding | None:
    """Why a table is not read, if it is not."""
    name, engine = _name(row), row["engine"]
    if engine in STREAMS:
        what = f"has engine {engine}: what is still on its way cannot be read without taking it away"
        return Finding(name, what, "Verify again when everything has arrived, and look at its source.")
    if engine in ELSEWHERE and scope.depth != "deep":
        what = f"has engine {engine}: its rows are in another system, and this depth leaves them out"
        return Finding(name, what, 'Verify with the depth "deep", or there.')
    if engine == "Set":
        return Finding(name, "has engine Set, which cannot be read", "Drop it and fill it anew.")
    return None


async def _beside(client: Client) -> AsyncIterator[tuple[dict[str, Any], Finding]]:
    """What lies beside tables' rows, with the table; a system table that may not be read proves nothing."""
    for beside in BESIDE:
        source = f"{client.cluster.system(beside.source)} AS {beside.source}"
        try:
            rows = await client.fetch(beside.query.replace("{source}", source))
        except ChClientError as error:
            what = f"whether there are {beside.what} cannot be told (code {error_code(str(error))})"
            remedy = f"Grant the user of the scan SELECT on system.{beside.source}."
            yield {"database": "", "name": ""}, Finding(PLACE, what, remedy)
            continue
        for row in rows:
            if row["database"] not in OWN:
                count = f"{int(row['count']):,}"
                if beside.is_apart:
                    place, what = f"{_name(row)} ({beside.what})", f"there are {count}, and no query reads them"
                else:
                    place, what = _name(row), f"there are {count} {beside.what}"
                yield row, Finding(place, what, beside.remedy)
