"""Arrays, JSON, free text and numbers in PostgreSQL, on the real server: masked inside, and back to the letter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.contract import Contributor, Recovery, Tally
from activities.errors import CriticalError
from activities.vault import BatchVault
from tests.stores.postgres_schema import ANN, Database, SliceOf, back_up_and_erase, tallies

HELD = """
    CREATE TABLE docs (id int PRIMARY KEY, body jsonb, raw json);
    CREATE TABLE lists (id int PRIMARY KEY, reviewers text[], watchers text[], numbers bigint[], mails varchar(60)[]);
    CREATE TABLE owned (id int PRIMARY KEY, who text NOT NULL, tags text[], doc jsonb, note text, payee int UNIQUE,
                        small smallint, big bigint);
"""

DOCS: list[tuple[int, Any, str]] = [
    (
        1,
        {
            "judges": [
                {"w": "w-12", "name": "Ann", "n": 1.50},
                {"w": "w-123", "name": "Jo", "tags": ["w-12"]},
            ],
            "w": "w-12",
        },
        '{"mail" : "ann@x.io.uk", "mail":" ANN@x.io" , "k": {"deep": ["x"]}}',
    ),
    (2, {"judges": {"w": "w-12", "name": None}}, '{"mail":["a\\u0041","Ann@x.io"]}'),
    (3, {"judges": [{"w": "w-1"}, {"w": "W-12"}, "w-12", 12]}, '{"other": "ann@x.io"}'),
    (4, None, "null"),
]

LISTS = [
    (1, ["w-12", "w-123", "w-12"], ["w-12", None, 'a"\\,{}'], [12, 13], ["Ann@X.io\n", "joann@x.io"]),
    (2, ["w-123"], ["w-12"], [123], []),
    (3, [["w-12", "NULL"], ["", None]], None, [12], None),
]


async def _fill(db: Database) -> None:
    await db.run(HELD)
    async with db.pool.acquire() as connection:
        rows = [(number, body if body is None else json.dumps(body), raw) for number, body, raw in DOCS]
        await connection.copy_records_to_table("docs", schema_name=db.schema, records=rows)
        await connection.copy_records_to_table("lists", schema_name=db.schema, records=LISTS)
    await db.run(
        """
        INSERT INTO owned VALUES
            (1, '12', '{a,NULL,"b c"}', '{"x": {"y": ["p", 7, true, null], "z": 1}, "gone": {"a": 1}, "keep": "k"}',
             'Ann (ANN@x.io, w-12) wrote to joann@x.io.', 7, 3, 4611686018427387903),
            (2, '123', '{a}', '{"x": "p"}', 'ann@x.io', 8, 3, 1);
        """
    )


ENTRIES: dict[str, Any] = {
    "mask": [
        {
            "table": "docs",
            "by": "body.judges.w",
            "holds": "worker_id",
            "columns": {"body.judges.w": "token", "body.judges.name": "constant", "body.judges.tags": "null"},
        },
        {"table": "docs", "by": "raw.mail", "holds": "email", "columns": {"raw.mail": "token"}},
        {"table": "lists", "by": "reviewers", "holds": "worker_id", "columns": {"reviewers": "token"}},
        {"table": "lists", "by": "watchers", "holds": "worker_id", "columns": {"watchers": "remove"}},
        {"table": "lists", "by": "numbers", "columns": {"numbers": "token"}},
        {"table": "lists", "by": "mails", "holds": "email", "columns": {"mails": "null"}},
        {
            "table": "owned",
            "by": "who",
            "columns": {
                "tags": "token",
                "doc.x": "token",
                "doc.gone": "remove",
                "note": {"mask": "text", "holds": ["email", "worker_id"]},
                "payee": "token",
                "small": "token",
                "big": "token",
            },
        },
    ]
}


async def _dump(db: Database) -> dict[str, list[str]]:
    return {
        table: [row[0] for row in await db.pool.fetch(f"SELECT t::text FROM {db.place(table)} AS t ORDER BY id")]
        for table in ("docs", "lists", "owned")
    }


async def test_what_holds_an_identity_is_masked_inside_and_comes_back_to_the_letter(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await _fill(db)
    store, part, before = db.store(**ENTRIES), slice_of(ANN), await _dump(db)
    token, number = vault.masker.token, vault.masker.number
    assert (await store.probe()).problems == []
    assert (await store.preview(part)).records == 6
    erased = await back_up_and_erase(store, part, vault)
    assert erased == {"docs": Tally(2, 2), "lists": Tally(3, 3), "owned": Tally(1, 1)}
    docs = await db.pool.fetch(f"SELECT body, raw::text FROM {db.place('docs')} ORDER BY id")
    assert (
        [json.loads(row["body"] or "null") for row in docs]
        == [
            {
                "judges": [
                    {"w": token("w-12"), "name": "DELETED_USER", "n": 1.5},
                    {"w": "w-123", "name": "Jo", "tags": ["w-12"]},  # hers; what is in it is at no path of the map
                ],
                "w": "w-12",
            },
            {"judges": {"w": token("w-12"), "name": None}},
            *[body for _, body, _ in DOCS[2:]],
        ]
    )
    assert [row["raw"] for row in docs] == [
        DOCS[0][2].replace(" ANN@x.io", token(" ANN@x.io")),
        DOCS[1][2].replace("Ann@x.io", token("Ann@x.io")),
        *[raw for _, _, raw in DOCS[2:]],
    ]
    assert await db.rows("lists") == [
        (
            1,
            [token("w-12"), "w-123", token("w-12")],
            [None, 'a"\\,{}'],
            [number(12, 64, signed=True), 13],
            [None, "joann@x.io"],
        ),
        (2, ["w-123"], [], [123], []),
        (3, [[token("w-12"), "NULL"], ["", None]], None, [number(12, 64, signed=True)], None),
    ]
    (first, second) = await db.rows("owned")
    assert json.loads(first[3]) == {
        "x": {"y": [token("p"), number(7, 64, signed=True), True, None], "z": number(1, 64, signed=True)},
        "keep": "k",
    }
    assert (first[2], first[4:]) == (
        [token("a"), None, token("b c")],
        (
            f"Ann ({token('ANN@x.io')}, {token('w-12')}) wrote to joann@x.io.",
            number(7, 32, signed=True),
            number(3, 16, signed=True),
            number(2**62 - 1, 64, signed=True),
        ),
    )
    assert str(second) == str((2, "123", ["a"], '{"x": "p"}', "ann@x.io", 8, 3, 1))

    after = await _dump(db)
    assert (await store.preview(part)).records == 0
    again = tallies(await store.erase(part, vault))
    assert again == {table: Tally(already_clean=tally.matched) for table, tally in erased.items()}
    assert await _dump(db) == after

    await db.run("UPDATE owned SET doc = doc || '{\"since\": 1}', note = NULL WHERE id = 1")
    await db.run("UPDATE lists SET numbers = numbers || 9::bigint WHERE id = 3")
    restored = await store.restore(part, vault)
    assert restored.total == Recovery(6, restored=4, conflicted=2)
    assert (await _dump(db))["docs"] == before["docs"]
    assert (await _dump(db))["lists"][:2] == before["lists"][:2]
    (first, _) = await db.rows("owned")
    assert (first[2], first[4:]) == (["a", None, "b c"], (None, 7, 3, 2**62 - 1))
    assert json.loads(first[3])["since"] == 1, "what others wrote since is kept"


async def test_rows_are_deleted_by_an_element_and_a_path_and_come_back(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await _fill(db)
    entries = [{"table": "docs", "by": "body.judges.w", "holds": "worker_id"}, {"table": "lists", "by": "numbers"}]
    store, part, before = db.store(delete=entries), slice_of(ANN), await _dump(db)
    erased = await back_up_and_erase(store, part, vault)
    assert erased == {"docs": Tally(2, 2), "lists": Tally(2, 2)}
    assert {table: len(rows) for table, rows in (await _dump(db)).items()} == {"docs": 2, "lists": 1, "owned": 2}
    assert (await store.restore(part, vault)).total == Recovery(4, restored=4)
    assert await _dump(db) == before


async def test_a_number_that_no_mask_can_stand_for_is_refused_before_anything_is_written(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await _fill(db)
    await db.run("UPDATE owned SET small = 16384 WHERE id = 1")
    before = await _dump(db)
    with pytest.raises(CriticalError, match=r"owned.* 14 bits .* Mask it with null") as failure:
        await db.store(**ENTRIES).back_up(slice_of(ANN, Contributor("x")), vault)
    assert "16384" not in str(failure.value)
    assert await _dump(db) == before
