"""Columns of every type in ClickHouse, on the real server; and texts that are JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from activities.contract import Contributor, Recovery, Slice, Tally
from activities.errors import CriticalError
from activities.stores.clickhouse.json_text import NotJSONError, spliced, values
from activities.stores.clickhouse.shapes import ArrayOf, Leaf, MapOf, TupleOf, parse
from activities.vault import BatchVault
from tests.stores.clickhouse_database import Database

PEOPLE = (
    Contributor("12", ("Ann@x.io", "a+b@x.io"), ("77", "w-1")),
    Contributor("Зоя", ("зоя@почта.рф",), ("it's \\ a\n[id]?%_*",)),
)

KINDS = """CREATE TABLE kinds (
    n UInt32, fixed FixedString(48), low LowCardinality(Nullable(String)), latest SimpleAggregateFunction(max, String),
    list Array(String), opt Array(Nullable(String)), deep Array(Array(LowCardinality(String))),
    attrs Map(String, String), by_mail Map(LowCardinality(String), UInt8), who Tuple(email String, `full name` String),
    team Array(Tuple(email String, name String)), reviewers Nested(email String, name String),
    worker UInt64, workers Array(UInt32), small Nullable(Int16), payload String, comment String, comments Array(String)
) ENGINE = MergeTree ORDER BY n"""

KINDS_MAP: dict[str, Any] = {
    "kinds": {
        "fixed": "email",
        "low": "worker_id",
        "latest": "email",
        "list": "email",
        "opt": "worker_id",
        "deep": "email",
        "attrs.email": "email",
        "attrs.name": {"beside": "attrs.email"},
        "by_mail": "email",
        "who.email": "email",
        "who.full name": {"beside": "who.email"},
        "team.email": "email",
        "team.name": {"beside": "team.email"},
        "reviewers.email": "email",
        "reviewers.name": {"beside": "reviewers.email"},
        "worker": "worker_id",
        "workers": "worker_id",
        "small": "worker_id",
        "payload.by.email": "email",
        "payload.by.name": {"beside": "payload.by.email"},
        "payload.by.id": "worker_id",
        "comment": {"holds": ["email", "worker_id"], "mask": "text"},
        "comments": {"holds": ["email", "worker_id"], "mask": "text"},
    }
}

PAYLOAD = """{ "by": [{"email":"\\u0041nn@x.io", "name": "Ann", "id": 77},
    {"email": "jo@x.io","name":"Jo","id":7}],  "f": 1.10}"""
COMMENT = "Ask Ann@x.io. or a+b@x.io, not notann@x.io, ann@x.io.uk or 777; 77 knows, w-1 not w-12"
ODD = "it's \\ a\n[id]?%_*"

OURS = {
    "n": 1,
    "fixed": "ann@x.io",
    "low": "w-1",
    "latest": "A+B@x.io",
    "list": ["jo@x.io", " ann@x.io", "ann@x.io.uk"],
    "opt": [None, "w-1", "w-12"],
    "deep": [["ann@x.io"], [], ["jo@x.io", "ann@x.io"]],
    "attrs": {"email": "ann@x.io", "name": "Ann", "other": "ann@x.io"},
    "by_mail": {"ann@x.io": 1, "jo@x.io": 2},
    "who": {"email": "ann@x.io", "full name": "Ann"},
    "team": [{"email": "ann@x.io", "name": "Ann"}, {"email": "jo@x.io", "name": "Ann"}],
    "reviewers.email": ["jo@x.io", "ann@x.io"],
    "reviewers.name": ["Ann", "Ann"],
    "worker": 77,
    "workers": [7, 77, 777],
    "small": 77,
    "payload": PAYLOAD,
    "comment": COMMENT,
    "comments": ["nothing", "Зоя: Зоя@почта.рф!", '{"A\\u004eN@x.io": ["77", 77, "ann@x.io.uk"]}'],
}
OTHER = {
    "n": 2,
    "fixed": "bann@x.io",
    "low": None,
    "latest": "ab@x.io",
    "list": ["notann@x.io"],
    "opt": [None],
    "deep": [],
    "attrs": {"name": "Ann"},
    "by_mail": {"bob@x.io": 1},
    "who": {"email": "jo@x.io", "full name": "Ann"},
    "team": [],
    "reviewers.email": [],
    "reviewers.name": [],
    "worker": 7,
    "workers": [777],
    "small": None,
    "payload": "{ann@x.io",
    "comment": "w-12 and 770",
    "comments": [],
}
ZOYA = {**OTHER, "n": 3, "low": ODD, "payload": json.dumps({"by": {"email": "зоя@почта.рф", "name": None}})}


@pytest.fixture
def people(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(*PEOPLE)


async def insert(database: Database, table: str, *rows: dict[str, Any]) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    await database.run(f"INSERT INTO {table} FORMAT JSONEachRow\n{lines}")


async def read(database: Database, table: str) -> dict[int, dict[str, Any]]:
    options = "output_format_json_quote_64bit_integers = 0"
    query = f"SELECT hex(formatRowNoNewline('JSONEachRow', *)) AS line FROM {table} ORDER BY n SETTINGS {options}"
    lines = [bytes.fromhex(row["line"]).decode() for row in await database.client.fetch(query)]
    return {row["n"]: row for row in (json.loads(line.replace("\\u0000", "")) for line in lines)}


async def test_columns_of_every_type_are_masked_and_put_back_and_what_only_resembles_stays(
    database: Database, people: Slice, vault: BatchVault
) -> None:
    await database.run(KINDS)
    await insert(database, "kinds", OURS, OTHER, ZOYA)
    before = await read(database, "kinds")
    store = database.store(KINDS_MAP)
    assert (await store.probe()).problems == []
    assert (await store.preview(people)).places == {"kinds": 2}
    await store.back_up(people, vault)
    assert await read(database, "kinds") == before
    assert (await store.erase(people, vault)).places == {"kinds": Tally(matched=2, changed=2)}

    after = await read(database, "kinds")
    token, number = vault.masker.token, vault.masker.number
    ann, name = token("ann@x.io"), token("Ann")
    payload = PAYLOAD.replace('"\\u0041nn@x.io"', f'"{token("Ann@x.io")}"').replace('"Ann"', f'"{name}"')
    comment = COMMENT.replace("Ann@x.io", token("Ann@x.io")).replace("a+b@x.io", token("a+b@x.io"))
    comment = comment.replace("; 77", f"; {token('77')}").replace("w-1 ", f"{token('w-1')} ")
    assert after[1] == {
        "n": 1,
        "fixed": ann,
        "low": token("w-1"),
        "latest": token("A+B@x.io"),
        "list": ["jo@x.io", token(" ann@x.io"), "ann@x.io.uk"],
        "opt": [None, token("w-1"), "w-12"],
        "deep": [[ann], [], ["jo@x.io", ann]],
        "attrs": {"email": ann, "name": name, "other": "ann@x.io"},
        "by_mail": {ann: 1, "jo@x.io": 2},
        "who": {"email": ann, "full name": name},
        "team": [{"email": ann, "name": name}, {"email": "jo@x.io", "name": "Ann"}],
        "reviewers.email": ["jo@x.io", ann],
        "reviewers.name": ["Ann", name],
        "worker": number(77, 64, signed=False),
        "workers": [7, number(77, 32, signed=False), 777],
        "small": number(77, 16, signed=True),
        "payload": payload.replace('"id": 77', f'"id": {number(77, 64, signed=True)}'),
        "comment": comment,
        "comments": [
            "nothing",
            f"Зоя: {token('Зоя@почта.рф')}!",
            f'{{"{token("ANN@x.io")}": ["{token("77")}", {number(77, 64, signed=True)}, "ann@x.io.uk"]}}',
        ],
    }
    assert after[2] == before[2]
    zoya = json.dumps({"by": {"email": "#", "name": None}}).replace("#", token("зоя@почта.рф"))
    assert after[3] == before[3] | {"low": token(ODD), "payload": zoya}

    assert (await store.erase(people, vault)).places == {"kinds": Tally(already_clean=2)}
    assert await read(database, "kinds") == after
    assert (await store.restore(people, vault)).places == {"kinds": Recovery(found=2, restored=2)}
    assert await read(database, "kinds") == before
    assert await database.tables() == ["kinds"]


async def test_masks_without_a_way_back_are_made_where_the_data_map_says_so(
    database: Database, people: Slice, vault: BatchVault
) -> None:
    await database.run(
        "CREATE TABLE kinds (n UInt32, email String, mail Nullable(String), list Array(String), "
        "attrs Map(String, String), worker Nullable(UInt64), name String, payload String) ENGINE = MergeTree ORDER BY n"
    )
    ours = {
        "n": 1,
        "email": "ann@x.io",
        "mail": "ANN@x.io",
        "list": ["jo@x.io", "ann@x.io"],
        "attrs": {"a": "ann@x.io", "b": "jo@x.io"},
        "worker": 77,
        "name": "Ann",
        "payload": '{"email": "ann@x.io", "n": "Ann"}',
    }
    other = {**ours, "n": 2, "email": "jo@x.io", "mail": "j@x.io", "list": [], "attrs": {}, "worker": 7, "payload": ""}
    await insert(database, "kinds", ours, other)
    rules = {
        "email": {"holds": "email", "mask": "constant"},
        "mail": {"holds": "email", "mask": "null"},
        "list": {"holds": "email", "mask": "remove"},
        "attrs": {"holds": "email", "mask": "remove"},
        "worker": {"holds": "worker_id", "mask": "null"},
        "name": {"beside": "email", "mask": "constant"},
        "payload.email": {"holds": "email", "mask": "null"},
        "payload.n": {"beside": "payload.email", "mask": "constant"},
    }
    store = database.store({"kinds": rules}, rollback=False)
    assert (await store.probe()).problems == []
    await store.back_up(people, vault)
    assert (await store.erase(people, vault)).places == {"kinds": Tally(matched=1, changed=1)}
    assert await read(database, "kinds") == {
        1: {
            "n": 1,
            "email": "DELETED_USER",
            "mail": None,
            "list": ["jo@x.io"],
            "attrs": {"b": "jo@x.io"},
            "worker": None,
            "name": "DELETED_USER",
            "payload": '{"email": null, "n": "DELETED_USER"}',
        },
        2: other,
    }
    assert (await store.preview(people)).places == {"kinds": 0}
    restored = await store.restore(people, vault)
    assert restored.places == {"kinds": Recovery(found=1, conflicted=1)}
    assert restored.warnings[0].what == "was masked in a way that cannot be undone, as the data map says"


@pytest.mark.parametrize(
    ("columns", "field", "rule", "what"),
    [
        ("email UInt64", "email", "email", "holds no address"),
        ("w UInt8", "w", "worker_id", "is of type UInt8, which takes no token"),
        ("w Map(UInt64, DateTime)", "w", {"holds": "worker_id", "mask": "text"}, "is a number"),
        ("w AggregateFunction(uniq, String)", "w", "worker_id", "takes no token"),
        ("email FixedString(38)", "email", "email", "too narrow"),
        ("email FixedString(99)", "email", {"holds": "email", "mask": "text"}, "too narrow"),
        ("email String", "email", {"holds": "email", "mask": "null"}, "is not Nullable"),
        ("email String", "email", {"holds": "email", "mask": "remove"}, "no element of an array"),
        ("r Nested(email String)", "r.email", {"holds": "email", "mask": "remove"}, "no element of an array"),
        ("r Array(Tuple(email String))", "r.email", {"holds": "email", "mask": "remove"}, "no element of an array"),
        ("email String, k String MATERIALIZED email", "k", "email", "a column of kind MATERIALIZED"),
    ],
)
async def test_the_probe_names_what_a_type_cannot_take(
    database: Database, columns: str, field: str, rule: Any, what: str
) -> None:
    await database.run(f"CREATE TABLE kinds (n UInt32, {columns}) ENGINE = MergeTree ORDER BY n")
    (problem,) = (await database.store({"kinds": {field: rule}}, rollback=False).probe()).problems
    assert problem.place == f"kinds.{field}"
    assert what in problem.what
    assert problem.remedy


async def test_a_number_that_no_mask_can_stand_for_stops_the_back_up(
    database: Database, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await database.run("CREATE TABLE kinds (n UInt32, worker Int16) ENGINE = MergeTree ORDER BY n")
    await database.run("INSERT INTO kinds VALUES (1, 20000)")
    with pytest.raises(CriticalError, match=r"kinds\.worker: a number is outside of the 14 bits") as raised:
        await database.store({"kinds": {"worker": "worker_id"}}).back_up(
            slice_of(Contributor("1", (), ("20000",))), vault
        )
    assert "20000" not in str(raised.value)


def test_a_type_is_read_with_all_that_it_is_made_of() -> None:
    text = Leaf("String", text=True)
    assert parse("Array(Tuple(\n    email String,\n    `full name` LowCardinality(Nullable(String))))") == ArrayOf(
        TupleOf(("email", "full name"), (text, Leaf("LowCardinality(Nullable(String))", text=True, nullable=True)))
    )
    assert parse("Tuple(String, Enum8('a, (' = 1))") == TupleOf(("1", "2"), (text, Leaf("Enum8('a, (' = 1)")))
    assert parse("Map(FixedString(3), Int32)") == MapOf(
        Leaf("FixedString(3)", text=True, width=3), Leaf("Int32", bits=32, signed=True)
    )


def test_values_of_json_are_found_where_they_stand_and_all_else_is_kept() -> None:
    text = ' {"a" : [1.10, {"b": "x\\"y"}], "a": null,"c":{}, "d": [] , "e": -1E+5} '
    found = [value for value in values(text) if not value.is_name]
    assert [(value.names, text[value.start : value.end]) for value in found] == [
        (("a",), "1.10"),
        (("a", "b"), '"x\\"y"'),
        (("a",), "null"),
        (("e",), "-1E+5"),
    ]
    assert spliced(text, {(found[1].start, found[1].end): '"z"'}) == text.replace('"x\\"y"', '"z"')
    for other in ("", "12", '"a"', "{", '{"a": 1} x', "{'a': 1}", "[" * 100_000):
        with pytest.raises(NotJSONError):
            values(other)
