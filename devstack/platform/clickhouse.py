"""The platform's ClickHouse: measurements of units, by worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from aiochclient import ChClient

from devstack.platform.people import Person
from devstack.platform.plan import PROJECTS, SEED, TODAY, Size

TABLES = ("unit_metrics", "unit_metrics_quality", "unit_metrics_hourly")

HOURS = 180 * 24
"""The half year that the rows lie in."""

SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS {database}",
    """CREATE TABLE {database}.unit_metrics (
        project LowCardinality(String),
        unit_id String,
        at DateTime('UTC'),
        email String,
        worker_id LowCardinality(String),
        worker_name String,
        judgments UInt16,
        seconds Float32
    ) ENGINE = MergeTree ORDER BY (project, unit_id, at)""",
    """CREATE TABLE {database}.unit_metrics_quality (
        project LowCardinality(String),
        at DateTime('UTC'),
        email String,
        worker_id Nullable(String),
        worker_name String,
        accuracy Float32,
        agreed UInt8
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (project, at)""",
    """CREATE TABLE {database}.unit_metrics_hourly (
        project LowCardinality(String),
        hour DateTime('UTC'),
        email String,
        worker_id String,
        worker_name String,
        units UInt64,
        seconds Float64
    ) ENGINE = MergeTree ORDER BY (project, hour)""",
    """CREATE MATERIALIZED VIEW {database}.unit_metrics_hourly_mv TO {database}.unit_metrics_hourly AS
        SELECT project, toStartOfHour(at) AS hour, email, worker_id, worker_name,
               count() AS units, sum(seconds) AS seconds
        FROM {database}.unit_metrics
        GROUP BY project, hour, email, worker_id, worker_name""",
)

PEOPLE = """CREATE TABLE {database}.seeding (
    n UInt32, email Array(String), worker_id String, name String
) ENGINE = Memory"""

# A worker does two units in an hour: the view makes one row of them. One thread and one block, so that no hour is
# cut in two and the same seed makes the same rows.
METRICS = """
INSERT INTO {database}.unit_metrics
WITH intDiv(number, 2) AS sitting, cityHash64(sitting, {seed}) AS dice
SELECT arrayElement([{projects}], dice % {project_count} + 1),
       concat('u', leftPad(toString(cityHash64(number, {seed}) % 40000), 5, '0')),
       toDateTime({start}, 'UTC') + (sitting % {hours}) * 3600 + cityHash64(number, {seed}) % 3600,
       p.email[{spelling}], p.worker_id, p.name,
       1 + number % 5, (cityHash64(number, {seed}) % 9000) / 100
FROM numbers({rows}) AS s
INNER JOIN {database}.seeding AS p ON p.n = intDiv(s.number, 2) * {step} % {people}
SETTINGS max_threads = 1, max_block_size = 1000000
"""

QUALITY = """
INSERT INTO {database}.unit_metrics_quality
WITH cityHash64(number, 'quality', {seed}) AS dice
SELECT arrayElement([{projects}], dice % {project_count} + 1),
       toDateTime({start}, 'UTC') + dice % ({hours} * 3600),
       p.email[{spelling}], if(dice % 20 = 0, NULL, p.worker_id), p.name,
       (dice % 1000) / 1000, dice % 2
FROM numbers({rows}) AS s
INNER JOIN {database}.seeding AS p ON p.n = s.number * {step} % {people}
SETTINGS max_threads = 1, max_block_size = 1000000
"""

SPELLING = "multiIf(dice % 64 = 0, 3, dice % 16 = 1, 2, 1)"
"""Mostly as stored, sometimes in lower case, seldom in upper case."""

STEP = 7919
"""A prime larger than the people are many: everybody comes up before anybody comes up twice."""


def quoted(identifier: str) -> str:
    """An identifier as SQL takes it literally."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


async def create(client: ChClient, database: str = "platform") -> None:
    """Makes the tables and the view; fails where they exist already.

    Args:
        client: Connected to the platform's server.
        database: Is made where it is missing.
    """
    for statement in SCHEMA:
        await client.execute(statement.format(database=quoted(database)))


async def drop(client: ChClient, database: str = "platform") -> None:
    """Drops the database."""
    await client.execute(f"DROP DATABASE IF EXISTS {quoted(database)} SYNC")


async def load(
    client: ChClient, people: Sequence[Person], size: Size, database: str = "platform", seed: int = SEED
) -> None:
    """Fills the tables; the server makes the rows by itself, out of a table of people that it gets first.

    Args:
        client: Connected to the platform's server.
        people: The contributors.
        size: Says how many rows.
        database: Where the tables are.
        seed: The same seed makes the same rows.
    """
    workers = [person for person in people if person.worker_id is not None]
    values = {
        "database": quoted(database),
        "seed": seed,
        "projects": ", ".join(f"'project-{project}'" for project in PROJECTS),
        "project_count": len(PROJECTS),
        "start": int((TODAY - timedelta(hours=HOURS)).timestamp()),
        "hours": HOURS,
        "spelling": SPELLING,
        "step": STEP,
        "people": len(workers),
    }
    await client.execute(PEOPLE.format_map(values))
    await client.execute(
        f"INSERT INTO {quoted(database)}.seeding VALUES",
        *(
            (
                number,
                [person.email, person.email.lower(), person.email.upper()],
                person.worker_id,
                person.full_name,
            )
            for number, person in enumerate(workers)
        ),
    )
    await client.execute(METRICS.format_map({**values, "rows": size.metric_rows}))
    await client.execute(QUALITY.format_map({**values, "rows": size.quality_rows}))
    await client.execute(f"DROP TABLE {quoted(database)}.seeding SYNC")
