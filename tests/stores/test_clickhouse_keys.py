"""ClickHouse tables whose keys hold identities, and engines that merge rows: on the real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from activities.contract import Contributor, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.stores.clickhouse.connection import Client
from activities.stores.clickhouse.store import ClickHouseStore
from activities.vault import BatchVault
from tests.stores.clickhouse_database import Database
from tests.stores.conftest import People

ANN = Contributor("12", ("ann@x.io",), ("7",))
MAP = {"k_*": {"email": "email", "worker": "worker_id"}}

FAMILY = {
    "k_plain": (
        "email String, worker UInt64, v UInt32) ENGINE = MergeTree PARTITION BY worker % 2 ORDER BY (email, worker)",
        "VALUES ('ann@x.io', 7, 1), ('Ann@x.io', 7, 2), ('jo@x.io', 7, 3), ('jo@x.io', 8, 4)",
        "VALUES ('ann@x.io', 7, 1), ('zoe@x.io', 9, 1)",
    ),
    "k_replacing": (
        "email LowCardinality(String), v UInt32) ENGINE = ReplacingMergeTree ORDER BY email",
        "VALUES ('ann@x.io', 9), ('Ann@x.io', 2), ('jo@x.io', 3)",
        "VALUES ('ann@x.io', 1), ('jo@x.io', 2)",
        "VALUES ('ann@x.io', 5), ('jo@x.io', 1)",
    ),
    "k_versions": (
        "email String, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY email",
        "VALUES ('ann@x.io', 9), ('Ann@x.io', 2), ('jo@x.io', 3)",
        "VALUES ('ann@x.io', 10), ('ann@x.io', 1), ('jo@x.io', 2)",
    ),
    "k_summing": (
        "email String, day UInt8, v UInt32) ENGINE = SummingMergeTree ORDER BY (email, day)",
        "VALUES ('ann@x.io', 1, 1), ('Ann@x.io', 1, 2), ('jo@x.io', 1, 3)",
        "VALUES ('ann@x.io', 1, 10), ('ann@x.io', 2, 10)",
    ),
    "k_aggregating": (
        "email String, v SimpleAggregateFunction(max, UInt32), u AggregateFunction(sum, UInt8))"
        " ENGINE = AggregatingMergeTree ORDER BY email",
        "SELECT arrayJoin(['ann@x.io', 'Ann@x.io', 'jo@x.io']) AS email, 1, sumState(toUInt8(5)) GROUP BY email",
        "SELECT arrayJoin(['ann@x.io', 'jo@x.io']) AS email, 3, sumState(toUInt8(2)) GROUP BY email",
    ),
    "k_collapsing": (
        "email String, v UInt32, sign Int8) ENGINE = CollapsingMergeTree(sign) ORDER BY email",
        "VALUES ('ann@x.io', 1, 1), ('Ann@x.io', 5, 1), ('jo@x.io', 1, 1)",
        "VALUES ('ann@x.io', 1, -1), ('ann@x.io', 2, 1), ('jo@x.io', 1, -1)",
    ),
    "k_not_in_key": (
        "email String, worker Nullable(UInt64), n UInt8, v UInt32) ENGINE = SummingMergeTree(v) ORDER BY n",
        "VALUES ('ann@x.io', 7, 1, 1), ('jo@x.io', 7, 2, 2)",
        "VALUES ('ann@x.io', 7, 1, 10), ('zoe@x.io', 8, 3, 1)",
    ),
}
"""Tables, and inserts into them: each makes a part of its own."""


@pytest.fixture
def ann(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN)


async def merged(database: Database, table: str) -> list[dict[str, Any]]:
    """What a table holds once all that can be merged is merged."""
    shown = "* EXCEPT u, finalizeAggregation(u) AS u" if table == "k_aggregating" else "*"
    final = "" if table == "k_plain" else "FINAL"
    query = f"SELECT hex(formatRowNoNewline('JSONEachRow', *)) AS line FROM (SELECT {shown} FROM {table} {final})"
    rows = await database.client.fetch(f"{query} SETTINGS output_format_json_quote_64bit_integers = 0")
    return sorted((json.loads(bytes.fromhex(row["line"])) for row in rows), key=str)


async def test_masks_merge_no_rows_that_did_not_merge_and_the_newest_stays_the_newest(
    database: Database, ann: Slice, vault: BatchVault
) -> None:
    before: dict[str, list[dict[str, Any]]] = {}
    for table, (columns, *inserts) in FAMILY.items():
        await database.run(f"CREATE TABLE {table} ({columns}", *(f"INSERT INTO {table} {rows}" for rows in inserts))
        before[table] = await merged(database, table)
    store = database.store(MAP)
    health = await store.probe()
    assert (health.problems, health.places) == ([], sorted(FAMILY))
    await store.back_up(ann, vault)
    erased = await store.erase(ann, vault)
    assert erased.warnings == []
    assert not [tally for tally in erased.places.values() if tally.conflicted or not tally.changed]

    def masked(row: dict[str, Any]) -> dict[str, Any]:
        ours = {"email": vault.masker.token(row["email"])} if row["email"].lower() == "ann@x.io" else {}
        worker = {"worker": vault.masker.number(7, 64, signed=False)} if row.get("worker") == 7 else {}
        return {**row, **ours, **worker}

    for table, rows in before.items():
        expected = sorted((masked(row) for row in rows), key=str)
        assert await merged(database, table) == expected, table
        await database.run(f"OPTIMIZE TABLE {table} FINAL")
        assert await merged(database, table) == expected, table
    assert await database.tables() == sorted(FAMILY)
    restored = await store.restore(ann, vault)
    assert not [each for each in restored.places.values() if each.conflicted]
    for table, rows in before.items():
        assert await merged(database, table) == rows, table
    assert await database.tables() == sorted(FAMILY)


LIVE = """CREATE TABLE k_live (
    n UInt32, email String, at DateTime64(6) MATERIALIZED now64(6), low String MATERIALIZED lower(email),
    INDEX quick low TYPE bloom_filter GRANULARITY 1,
    PROJECTION few (SELECT {kept}, count() GROUP BY {kept})
) ENGINE = MergeTree ORDER BY {key}
SETTINGS max_bytes_to_merge_at_max_space_in_pool = 1000000, index_granularity = 64"""


@pytest.mark.parametrize(("key", "kept"), [("n", "email"), ("n", "low"), ("email", "low")])
async def test_what_is_computed_from_a_masked_column_follows_it_and_the_rest_stays(
    database: Database, ann: Slice, vault: BatchVault, key: str, kept: str
) -> None:
    await database.run(
        LIVE.replace("{key}", key).replace("{kept}", kept),
        "INSERT INTO k_live (n, email) SELECT number, 'Jo@x.io' FROM numbers(500)",
    )
    await database.run("INSERT INTO k_live (n, email) VALUES (1000, 'Ann@x.io')")
    (times,) = await database.texts("SELECT groupArray((n, at)) FROM (SELECT n, at FROM k_live ORDER BY n)")
    store = database.store(MAP)
    await store.back_up(ann, vault)
    await store.erase(ann, vault)

    token = vault.masker.token("Ann@x.io")
    indexed = "SELECT n, email, low FROM k_live WHERE low = '{}' SETTINGS force_data_skipping_indices = 'quick'"
    assert await database.texts(indexed.format(token.lower())) == [f"(1000,'{token}','{token.lower()}')"]
    assert await database.texts(indexed.format("ann@x.io")) == []
    projected = f"SELECT {kept}, count() FROM k_live GROUP BY {kept} SETTINGS force_optimize_projection = 1"
    mask, jo = (token, "Jo@x.io") if kept == "email" else (token.lower(), "jo@x.io")
    assert sorted(await database.texts(projected)) == sorted([f"('{mask}',1)", f"('{jo}',500)"])
    assert await database.texts("SELECT groupArray((n, at)) FROM (SELECT n, at FROM k_live ORDER BY n)") == [times]
    (created,) = await database.texts("SELECT create_table_query FROM system.tables WHERE database = currentDatabase()")
    assert "max_bytes_to_merge_at_max_space_in_pool = 1000000" in created
    await store.restore(ann, vault)
    assert await database.texts(indexed.format("ann@x.io")) == ["(1000,'Ann@x.io','ann@x.io')"]


async def test_no_insert_is_lost_or_seen_twice_while_a_table_is_written_anew(
    database: Database, ann: Slice, vault: BatchVault
) -> None:
    await database.run(
        "CREATE TABLE k_live (n UInt32, email String) ENGINE = MergeTree PARTITION BY n % 3 ORDER BY email",
        "CREATE TABLE seen (n UInt32) ENGINE = MergeTree ORDER BY n",
        "CREATE MATERIALIZED VIEW seen_mv TO seen AS SELECT n FROM k_live",
        "INSERT INTO k_live SELECT number, if(number % 2 = 0, 'ann@x.io', 'jo@x.io') FROM numbers(5000)",
    )
    store = database.store(MAP)
    await store.back_up(ann, vault)
    erasing = asyncio.create_task(store.erase(ann, vault))
    n = 5000
    while not erasing.done():
        await database.run(f"INSERT INTO k_live SELECT {n} + number, 'new@x.io' FROM numbers(3)")
        n += 3
    assert (await erasing).places["k_live"] == Tally(matched=2500, changed=2500)
    assert n > 5010, "rows came in meanwhile"
    for table in ("k_live", "seen"):
        assert await database.texts(f"SELECT count(), uniqExact(n), max(n) FROM {table}") == [f"({n},{n},{n - 1})"]
    assert (await store.preview(ann)).places == {"k_live": 0}
    await database.run(f"INSERT INTO k_live VALUES ({n}, 'new@x.io')")
    assert await database.texts(f"SELECT n FROM seen WHERE n = {n}") == [f"({n})"], "the view goes on"
    assert await database.tables() == ["k_live", "seen", "seen_mv"]


class CutError(Exception):
    """The end of a run."""


class CutShort(Client):
    """A client that goes away before one of its statements.

    Args:
        client: The client.
        statements: How many it lets pass.
    """

    def __init__(self, client: Client, statements: int) -> None:
        self.__dict__.update(client.__dict__)
        self._left = statements

    async def execute(self, statement: str) -> None:
        self._pass()
        await super().execute(statement)

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._pass()
        await super().insert(table, columns, rows)

    def _pass(self) -> None:
        if self._left == 0:
            raise CutError
        self._left -= 1


async def test_a_rewrite_that_is_cut_before_any_of_its_statements_is_taken_up_or_undone(
    database: Database, ann: Slice, vault: BatchVault
) -> None:
    made = (
        "DROP TABLE IF EXISTS k_live SYNC",
        "CREATE TABLE k_live (n UInt32, email String) ENGINE = MergeTree ORDER BY email",
        "INSERT INTO k_live VALUES (1, 'ann@x.io'), (2, 'jo@x.io'), (3, ' Ann@x.io')",
    )
    rows = ["(1,'ann@x.io')", "(2,'jo@x.io')", "(3,' Ann@x.io')", "(4,'new@x.io')"]
    await database.run(*made)
    store, token = database.store(MAP), vault.masker.token
    await store.back_up(ann, vault)
    masked = [f"(1,'{token('ann@x.io')}')", rows[1], f"(3,'{token(' Ann@x.io')}')", rows[3]]
    cut, done = 1, False  # before that the batch's own table is made
    while not done:
        await database.run(*made)
        dying = ClickHouseStore(CutShort(database.client, cut), store._data_map, database.heartbeat)
        with suppress(CriticalError):
            await dying.erase(ann, vault)
            done = True
        await database.run("INSERT INTO k_live VALUES (4, 'new@x.io')")
        await (store.erase if cut % 2 else store.restore)(ann, vault)
        expected = masked if cut % 2 else rows
        assert await database.texts("SELECT n, email FROM k_live ORDER BY n") == expected, cut
        assert await database.tables() == ["k_live"], cut
        cut += 1
    assert cut > 13


async def test_a_table_is_written_anew_for_one_batch_at_a_time(
    database: Database, ann: Slice, vault: BatchVault
) -> None:
    await database.run(
        "CREATE TABLE k_live (n UInt32, email String) ENGINE = MergeTree ORDER BY email",
        "INSERT INTO k_live VALUES (1, 'ann@x.io')",
    )
    store = database.store(MAP)
    await store.back_up(ann, vault)
    dying = ClickHouseStore(CutShort(database.client, 5), store._data_map, database.heartbeat)
    with pytest.raises(CriticalError):
        await dying.erase(ann, vault)
    with pytest.raises(TransientError, match="k_live: is being written anew by another batch"):
        await store.erase(People([ANN], batch_id="other"), vault)
    assert await database.texts("SELECT * FROM k_live") == ["(1,'ann@x.io')"]
    (note, *_) = (await store.probe()).notes
    assert note.what == "is a table of this tool, of another batch"
    await store.purge(ann, vault)
    await store.purge(People([ANN], batch_id="other"), vault)
    assert await database.tables() == ["k_live"]
    assert (await store.erase(ann, vault)).places == {"k_live": Tally(matched=1, changed=1)}


@pytest.mark.parametrize(
    ("columns", "rule", "place", "what"),
    [
        (") ENGINE = MergeTree ORDER BY email", {"holds": "email", "mask": "constant"}, "k.email", "would merge rows"),
        (
            ", h UInt64 MATERIALIZED cityHash64(email)) ENGINE = MergeTree ORDER BY h",
            {"holds": "email", "mask": "constant"},
            "k.email",
            "would merge rows",
        ),
        (") ENGINE = ReplacingMergeTree(email) ORDER BY n", "email", "k.email", "by which the table's engine merges"),
    ],
)
async def test_what_would_merge_rows_is_refused_before_anything_is_touched(
    database: Database, columns: str, rule: Any, place: str, what: str
) -> None:
    version = columns.startswith(") ENGINE = Replacing")
    await database.run(f"CREATE TABLE k (n UInt32, email {'UInt32' if version else 'String'}{columns}")
    rule = {"holds": "worker_id"} if version else rule
    (problem,) = (await database.store({"k": {"email": rule}}, rollback=False).probe()).problems
    assert (problem.place, what in problem.what) == (place, True), problem.what
