"""What a fetch says of the database: an index that is missing, and a data map that does not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from activities.errors import CriticalError
from tests.fetching.register import PEOPLE, Register

MANY = """
    INSERT INTO people (id, status, seen, email)
    SELECT n::text, CASE WHEN n % 100 = 0 THEN 'INACTIVE' ELSE 'ACTIVE' END,
           timestamptz '2026-02-28 00:00Z' - n * interval '1 min', repeat('x', 60) || n || '@x.io'
    FROM generate_series(1, 45000) AS n;
    CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job int, who text, note text);
    INSERT INTO jobs (job, who, note)
    SELECT n % 7, (n % 45000)::text, repeat('x', 60) FROM generate_series(1, 60000) AS n;
    ANALYZE people;
    ANALYZE jobs
"""

PEOPLE_INDEX = 'CREATE INDEX CONCURRENTLY ON "public"."people" ("status", "seen");'
JOBS_INDEX = 'CREATE INDEX CONCURRENTLY ON "public"."jobs" ("who");'


async def test_a_missing_index_is_named_by_the_statement_that_makes_it_and_not_once_it_is_there(
    people: Register,
) -> None:
    await people.sql(MANY)
    counted = people.data_map(projects={"table": "public.jobs", "by": "who", "count": "job"})

    async def missing(**criteria: Any) -> list[str]:
        found = await people.fetch(counted, days=20, limit=100, **criteria)
        assert found.fetched.contributors == 100
        return found.fetched.missing_indexes

    assert await missing() == [PEOPLE_INDEX]
    assert await missing(min_projects=1) == [PEOPLE_INDEX, JOBS_INDEX]
    await people.sql(PEOPLE_INDEX)
    assert await missing(min_projects=1) == [JOBS_INDEX]
    await people.sql(JOBS_INDEX)
    assert await missing(min_projects=1) == []
    assert await missing(status="ACTIVE") == [], "nearly all are that: to read all is the best plan, index or not"


async def test_partitions_lack_the_index_that_their_table_lacks(bare: Register) -> None:
    await bare.sql(PEOPLE + " PARTITION BY HASH (id)")
    for number in range(2):
        await bare.sql(
            f"CREATE TABLE part_{number} PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER {number})"
        )
    await bare.sql(MANY)
    await bare.sql(MANY.partition(";")[0].replace("1, 45000", "45001, 90000"))
    await bare.sql("ANALYZE people")
    assert (await bare.fetch()).fetched.missing_indexes == ['CREATE INDEX ON "public"."people" ("status", "seen");']


COUNTED = {"table": "public.jobs", "by": "who", "count": "job"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"status": "state"}, "fetch.status: public.people has no column state"),
    ({"last_activity": "projects"}, "fetch.last_activity: projects is integer; it has to be one of timestamp"),
    ({"created": "email"}, "fetch.created: email is text"),
    ({"projects": "email"}, "fetch.projects: email is text, no number"),
    ({"projects": None}, "fetch.projects: is not said"),
    ({"projects": COUNTED}, "fetch.projects.table: there is no table public.jobs"),
    ({"projects": COUNTED | {"table": "public.tasks"}}, "fetch.projects.by: public.tasks has no column who"),
    (
        {"projects": {"table": "public.tasks", "by": "number", "count": "job"}},
        "fetch.projects.by: number is integer",
    ),
    ({"table": "public.everybody"}, "fetch.table: there is no table public.everybody"),
    ({"table": "public.tasks"}, "fetch.status: public.tasks has no column status"),
    ({"table": "public.seen_twice", "id": "who"}, "fetch.id: no unique index on public.seen_twice (who)"),
    ({"id": "email"}, "fetch.id: email is not identity.id, though both name the same table"),
    ({"timezone": "Europe/Atlantis"}, "fetch.timezone: PostgreSQL knows no time zone Europe/Atlantis"),
    ({"timezone": "UTC+3"}, "fetch.timezone: PostgreSQL knows no time zone UTC+3"),
    ({"identity": {"emails": ["mail"]}}, "identity.emails: public.people has no column mail"),
    ({"identity": {"table": "people"}}, "identity.table: name schema and table"),
]


async def test_a_data_map_that_does_not_fit_is_refused_by_its_key(people: Register) -> None:
    await people.sql("""
        CREATE TABLE tasks (number int, job int);
        CREATE TABLE seen_twice (who text, status text, seen timestamptz, projects int)
    """)
    for change, named in REFUSED:
        with pytest.raises(CriticalError, match=re.escape(named)):
            await people.fetch(people.data_map(**change), min_projects=1)


async def test_a_status_that_the_column_cannot_have_is_refused(bare: Register) -> None:
    await bare.sql("""
        CREATE TYPE state AS ENUM ('WORKING', 'INACTIVE');
        CREATE TABLE people (id int PRIMARY KEY, email text, worker_id text, status state, seen timestamptz)
    """)
    with pytest.raises(CriticalError, match=r"fetch.status: status is .*state, and cannot be GONE"):
        await bare.fetch(status="GONE")
    await bare.sql("ALTER TABLE people ALTER status TYPE text")
    assert (await bare.fetch(status="GONE")).ids == []
