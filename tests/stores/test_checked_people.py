"""Whom a CSV names, counted in the real identity table by one statement, and compared with the policy's limits."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from activities import submission
from activities.checking import contributors
from activities.checking.messages import People
from activities.contract import Contributor
from activities.datamap import DataMap
from activities.errors import CriticalError
from activities.holds import Holds
from activities.vault import BatchVault
from tests.stores.postgres_schema import Database

PEOPLE = [
    # id, state, who
    ("12", "ACTIVE", "Ann"),
    ("123", "INACTIVE", "Bob"),
    ("13", "INACTIVE", "Cay"),
    ("14", None, "Dan"),
    ("15", "dan@x.io", "Eve"),
    ("16", "ACTIVE", "Fay"),
]


@pytest.fixture
async def table(db: Database) -> dict[str, Any]:
    await db.run("CREATE TABLE people (id text PRIMARY KEY, state text, who text)")
    await db.pool.copy_records_to_table("people", schema_name=db.schema, records=PEOPLE)
    return {"table": db.place("people"), "id": "id"}


async def counted(
    db: Database, vault: BatchVault, table: dict[str, Any], *ids: str, status: str | None = "state", **policy: Any
) -> People:
    source = tomllib.loads((Path(__file__).parents[2] / "erasure.toml").read_text())
    source["identity"] = table
    source["policy"] |= policy
    del source["fetch"]
    if status is not None:
        source["fetch"] = {"status": status, "last_activity": "seen"}
    data_map = DataMap.parse(source, "x")
    await submission.write(vault, data_map, [Contributor(each) for each in ids])
    return await contributors.count(vault, db.pool, data_map, Holds(db.pool), db.heartbeat)


async def test_each_is_counted_once_by_state_whatever_stands_in_the_file(
    db: Database, vault: BatchVault, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contributors, "AT_ONCE", 2)  # several pages of few people
    held = f"held-{db.schema}"
    holds = Holds(db.pool)
    await holds.add([held], "dana", "case 17")
    try:
        ids = ("12", "12", "123", "nobody", "13", "12", "14", "15", "1%_*?[a]'", held)
        people = await counted(db, vault, table, *ids, max_share_of_contributors=1.0)
    finally:
        await holds.remove([held])
    assert (people.contributors, people.known, people.unknown, people.held, people.everybody) == (8, 5, 3, 1, 6)
    assert people.by_status == {"INACTIVE": 2, "ACTIVE": 1, "without status": 1, "other": 1}, "no address is shown"
    assert people.problems == []


@pytest.mark.parametrize(
    ("policy", "problems"),
    [
        ({}, []),
        ({"max_contributors": 3}, []),
        ({"max_contributors": 2}, ["the CSV names 3 contributors, and the policy allows 2"]),
        ({"max_share_of_contributors": 0.49}, ["the CSV names 3 of 6 contributors, and the policy allows 49% of them"]),
        (
            {"max_contributors": 1, "max_share_of_contributors": 0.1},
            [
                "the CSV names 3 contributors, and the policy allows 1",
                "the CSV names 3 of 6 contributors, and the policy allows 10% of them",
            ],
        ),
    ],
)
async def test_more_than_the_policy_allows_is_a_problem(
    db: Database, vault: BatchVault, table: dict[str, Any], policy: dict[str, Any], problems: list[str]
) -> None:
    people = await counted(db, vault, table, "12", "13", "16", **policy)
    assert [problem.what for problem in people.problems] == problems


async def test_ids_that_are_numbers_are_compared_as_numbers(db: Database, vault: BatchVault) -> None:
    await db.run("CREATE TABLE numbered (id bigint PRIMARY KEY); INSERT INTO numbered VALUES (12), (13), (14), (15)")
    table = {"table": db.place("numbered"), "id": "id"}
    people = await counted(db, vault, table, "12", "13", "x", "99999999999999999999", status=None)
    assert (people.known, people.unknown, people.everybody, people.by_status) == (2, 2, 4, {})


async def test_a_column_that_is_no_status_is_refused_before_any_of_it_is_shown(
    db: Database, vault: BatchVault, table: dict[str, Any]
) -> None:
    rows = [(f"c-{number}", "ACTIVE", f"Person {number}") for number in range(20)]
    await db.pool.copy_records_to_table("people", schema_name=db.schema, records=rows)
    with pytest.raises(CriticalError, match="has more than 20 distinct values: it is no status"):
        await counted(db, vault, table, "12", status="who")


async def test_an_identity_table_that_cannot_be_read_is_no_answer(db: Database, vault: BatchVault) -> None:
    with pytest.raises(CriticalError, match="has no such column, or it may not be read"):
        await counted(db, vault, {"table": db.place("nothing"), "id": "id"}, "12")
