"""The scan of ClickHouse, on the real server: identities in columns, parts and tables that no data map names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.contract import Contributor
from activities.errors import CriticalError, TransientError
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.verification import scanning
from activities.verification.contract import Scope
from activities.verification.scanners import kinds
from activities.verification.scanners.clickhouse.scanner import ClickHouseScanner
from tests.bench import HasEnv
from tests.stores import clickhouse_database
from tests.stores.clickhouse_database import Database
from tests.stores.elasticsearch_cluster import until
from tests.verification.residuals import ANN, NEIGHBOURS, People, found, scanned, uncertain, unproven

COLUMNS = {
    "plain": ("String", "'x (Ann@x.io) x'"),
    "fixed": ("FixedString(12)", "'ann@x.io'"),
    "low": ("LowCardinality(Nullable(String))", "'w-7'"),
    "kind": ("Enum8('other' = 1, 'w-7' = 2)", "'w-7'"),
    "list": ("Array(Array(String))", "[['x'], ['it''s', 'w-7\\n']]"),
    "pairs": ("Map(String, UInt64)", "map('worker', 4711)"),
    "keys": ("Map(String, UInt64)", "map('w-7', 1)"),
    "who": ("Tuple(name String, worker_id UInt64)", "('x', 4711)"),
    "people": ("Nested(mail String, n UInt8)", "['ann@x.io'], [1]"),
    "document": ("JSON", '\'{"a": {"by": ["ann@x.io"]}}\''),
    "text": ("String", '\'{"a": "{\\\\"by\\\\": \\\\"ann%40x.io\\\\"}"}\''),
    "id": ("UUID", "'6f1c2a9e-2b7d-4c6f-9a53-0d1e8f7b6c5a'"),
    "worker_id": ("UInt64", "4711"),
    "n": ("UInt64", "4711"),
    "score": ("Float64", "1.5"),
    "made": ("String MATERIALIZED concat('by ', low)", ""),
    "seen": ("String ALIAS plain", ""),
    "zéro": ("String", "'\\0ann@x.io'"),
}
PLACES = {
    "plain email": 1,
    "fixed email": 1,
    "low worker_id": 1,
    "kind worker_id": 1,
    "list worker_id": 1,
    "pairs worker_id": 1,
    "keys worker_id": 1,
    "who worker_id": 1,
    "people.mail email": 1,
    "document email": 1,
    "text email": 1,
    "id contributor_id": 1,
    "worker_id worker_id": 1,
    "made worker_id": 1,
    "zéro email": 1,
    "its definition worker_id": 1,
}


@pytest.fixture
async def database(stack: HasEnv) -> AsyncIterator[Database]:
    async with clickhouse_database.database(stack.env["ERASURE_CLICKHOUSE__URL"], lambda *_: None) as opened:
        yield opened


def scope(database: Database, depth: Any = "catalogue", *mapped: str) -> Scope:
    return Scope(depth, mapped, (f"clickhouse {database.name}.*",))


async def canaries(database: Database) -> set[str]:
    return {name for name in await database.tables() if name.startswith("erasure_canary")}


async def test_identities_are_found_in_columns_of_every_type(database: Database) -> None:
    columns = ", ".join(f"`{name}` {kind}" for name, (kind, _) in COLUMNS.items())
    values = ", ".join(value for _, value in COLUMNS.values() if value)
    neighbours = ", ".join(f"('{each.replace(chr(39), chr(39) * 2)}', 'DELETED_USER-x')" for each in NEIGHBOURS)
    await database.run(
        f"CREATE TABLE `a.b` ({columns}) ENGINE = MergeTree ORDER BY n",
        f"INSERT INTO `a.b` VALUES ({values})",
        "CREATE TABLE clean (worker String, email String) ENGINE = MergeTree ORDER BY tuple()",
        f"INSERT INTO clean VALUES {neighbours}, ('', 'DELETED_USER')",
    )
    scanner = ClickHouseScanner(database.client)
    async with ClickHouseScanner(database.client).planted("somebody else's"):
        scan = await scanned("clickhouse", scanner, scope(database))
    prefix = f"{database.name}.a.b: "
    assert found(scan, prefix) == PLACES
    assert scan.proven == [f"{database.name}.clean"]
    assert scan.masked == {f"{database.name}.clean": len(NEIGHBOURS) + 1}
    assert scan.records == 1 + len(NEIGHBOURS) + 1
    assert list(unproven(scan, prefix)) == [
        f"{database.name}.a.b: numbers that may be ids, in columns that this depth leaves out: people.n, n"
    ] or [f"{database.name}.a.b: numbers that may be ids, in columns that this depth leaves out: n"]
    deep = await scanned("clickhouse", scanner, scope(database, "deep"))
    assert found(deep, prefix) == PLACES
    assert uncertain(deep, prefix)["n"] == 1
    in_passes = await scanned("clickhouse", scanner, scope(database), at_once=1)
    assert (in_passes.passes, found(in_passes, prefix)) == (2, PLACES)


async def test_tables_of_every_engine_are_read_or_named(database: Database) -> None:
    rows = "(n UInt8, who String)"
    await database.run(
        f"CREATE TABLE base {rows} ENGINE = MergeTree ORDER BY n SETTINGS old_parts_lifetime = 3600",
        "INSERT INTO base VALUES (1, 'x')",
        "CREATE MATERIALIZED VIEW seen ENGINE = MergeTree ORDER BY n AS SELECT n, concat('by ', who) AS who FROM base",
        "CREATE VIEW view AS SELECT * FROM base",
        *(f"CREATE TABLE {engine} {rows} ENGINE = {engine}" for engine in ("Memory", "Log", "TinyLog", "StripeLog")),
        *(f"INSERT INTO {engine} VALUES (1, 'w-7')" for engine in ("Memory", "Log", "TinyLog", "StripeLog")),
        f"CREATE TABLE buffer {rows} ENGINE = Buffer({database.name}, base, 1, 3600, 3600, 100, 100, 10000, 10000)",
        "INSERT INTO buffer VALUES (2, 'ann@x.io')",
        "CREATE TABLE source (id UInt8, who String) ENGINE = MergeTree ORDER BY id",
        "INSERT INTO source VALUES (1, 'w-7')",
        "CREATE DICTIONARY known (who String, id UInt8) PRIMARY KEY who LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)"
        f" SOURCE(CLICKHOUSE(DB '{database.name}' TABLE source))",
        "SYSTEM RELOAD DICTIONARY known",
        "TRUNCATE TABLE source",
        f"CREATE TABLE queue {rows} ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'JSONEachRow')",
        f"CREATE TABLE `set` {rows} ENGINE = Set",
        f"CREATE TABLE url {rows} ENGINE = URL('http://127.0.0.1:1/x', 'CSV')",
        "CREATE TABLE state (n UInt8, s AggregateFunction(any, String)) ENGINE = AggregatingMergeTree ORDER BY n",
        "CREATE TABLE hidden (n UInt8, who String) ENGINE = MergeTree ORDER BY n",
        "INSERT INTO hidden VALUES (1, 'w-7'), (2, 'x')",
        "DELETE FROM hidden WHERE n = 1",
    )
    scan = await scanned("clickhouse", ClickHouseScanner(database.client), scope(database))
    assert found(scan, f"{database.name}.") == {
        **{f"{engine}: who worker_id": 1 for engine in ("Memory", "Log", "TinyLog", "StripeLog")},
        "buffer: who email": 1,
        "known: who worker_id": 1,
        "hidden: who worker_id": 1,
    }
    told = sorted(place.removeprefix(f"{database.name}.") for place in unproven(scan))
    assert [each.split(" ", 1)[0] for each in told if "outdated" not in each] == ["queue:", "set:", "state:", "url:"]
    assert f"{database.name}.base" in scan.proven
    assert any(".inner" in place for place in scan.proven)
    assert f"{database.name}.view" not in scan.proven


async def test_what_lies_beside_the_rows_of_a_table_is_not_proven(database: Database) -> None:
    await database.run(
        "CREATE TABLE parts (n UInt8, who String) ENGINE = MergeTree PARTITION BY n ORDER BY n"
        " SETTINGS old_parts_lifetime = 3600",
        "INSERT INTO parts VALUES (1, 'w-7')",
        "INSERT INTO parts VALUES (2, 'w-7')",
        "ALTER TABLE parts DETACH PARTITION 1",
        "CREATE TABLE gone (who String) ENGINE = MergeTree ORDER BY who",
        "INSERT INTO gone VALUES ('w-7')",
        "DROP TABLE gone",
        "CREATE TABLE patched (n UInt8, who String) ENGINE = MergeTree ORDER BY n"
        " SETTINGS enable_block_number_column = 1, enable_block_offset_column = 1",
        "INSERT INTO patched VALUES (1, 'w-7')",
        "UPDATE patched SET who = 'DELETED_USER' WHERE n = 1",
        "ALTER TABLE parts UPDATE who = 'DELETED_USER' WHERE n = 2 SETTINGS mutations_sync = 2",
    )
    scan = await scanned("clickhouse", ClickHouseScanner(database.client), scope(database))
    assert found(scan) == {}
    told = sorted(each.removeprefix(f"{database.name}.").split(": there are ")[0] for each in unproven(scan))
    assert told == [
        "gone (dropped tables of this name)",
        "parts (detached parts)",
        "parts (outdated parts)",
        "patched (patch parts)",
    ]
    assert scan.proven == [f"{database.name}.parts", f"{database.name}.patched"]
    assert scan.masked == {f"{database.name}.parts": 1, f"{database.name}.patched": 1}


async def test_a_query_that_is_cut_off_is_not_proven(database: Database) -> None:
    await database.run(
        "CREATE TABLE large (who String) ENGINE = MergeTree ORDER BY tuple()",
        "INSERT INTO large SELECT hex(randomString(50)) FROM numbers(600000)",
        "CREATE TABLE small (who String) ENGINE = MergeTree ORDER BY tuple()",
    )
    kill = f"KILL QUERY WHERE query LIKE 'SELECT toString(%{database.name}`.`large`%' SYNC"
    kills: list[asyncio.Task[None]] = []

    def heartbeat(place: str, _: int) -> None:
        if place.endswith(".large") and not kills:
            kills.append(asyncio.create_task(database.run(kill)))

    scanner = ClickHouseScanner(database.client)
    scan = await scanning.scan("clickhouse", scanner, scope(database), People([ANN]), heartbeat)
    await asyncio.gather(*kills)
    (told,) = unproven(scan, f"{database.name}.")
    assert told.startswith(("large: could not be read whole", "large: "))
    assert scan.records < 600_000
    assert scan.proven == [f"{database.name}.small"]


async def test_the_mapped_depth_says_what_it_leaves_out(database: Database) -> None:
    await database.run(
        *(f"CREATE TABLE {name} (who String) ENGINE = MergeTree ORDER BY tuple()" for name in ("unit_a", "other")),
        "INSERT INTO unit_a VALUES ('w-7')",
        "INSERT INTO other VALUES ('w-7')",
    )
    scanner = ClickHouseScanner(database.client)
    scan = await scanned("clickhouse", scanner, scope(database, "mapped", "unit_*"))
    assert found(scan, f"{database.name}.") == {"unit_a: who worker_id": 1}
    assert [each.what for each in scan.not_proven if database.name in each.what and "data map" in each.what] == [
        f"1 tables are not named in the data map, and this depth leaves them out: {database.name}.other"
    ]
    estimate = await scanning.estimate(scanner, scope(database), lambda *_: None)
    assert (estimate.places, estimate.records) == (2, 2)
    data_map = ClickHouseMap.model_validate({"unit_*": {"a": "email"}})
    assert kinds()["clickhouse"].mapped(data_map) == ["unit_*"]


async def test_a_scan_that_proves_nothing_is_an_error(database: Database) -> None:
    scanner = ClickHouseScanner(database.client)
    with pytest.raises(CriticalError, match="has no place within the scope"):
        await scanned("clickhouse", scanner, scope(database))
    await database.run("CREATE TABLE a (who String) ENGINE = Memory")
    with pytest.raises(CriticalError, match="did not find the canary"):
        await scanned("clickhouse", scanner, Scope("catalogue", reach=(f"clickhouse {database.name}.a",)))
    assert await canaries(database) == set()


async def test_no_canary_stays(database: Database, stack: HasEnv) -> None:
    await database.run(
        "CREATE TABLE a (who String) ENGINE = MergeTree ORDER BY tuple()",
        "INSERT INTO a SELECT toString(number) FROM numbers(500000)",
    )
    scanner = ClickHouseScanner(database.client)
    beats: list[str] = []

    def heartbeat(place: str, _: int) -> None:
        beats.append(place)
        time.sleep(0.05)

    run = asyncio.create_task(scanning.scan("clickhouse", scanner, scope(database), People([ANN]), heartbeat))
    await until(lambda: bool(beats))
    assert len(await canaries(database)) == 1
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await canaries(database) == set()
    killed = scanner.planted("canary-cut")
    left = {(await killed.__aenter__()).removeprefix(f"{database.name}."), f"erasure_canary_{'0' * 16}_1000"}
    await database.run(f"CREATE TABLE erasure_canary_{'0' * 16}_1000 (a String) ENGINE = Memory")
    await asyncio.sleep(1)
    async with scanner.planted("canary-cut") as name:
        assert {f"{database.name}.{each}" for each in await canaries(database)} == {name}
        assert left
    assert await canaries(database) == set()
    await killed.__aexit__(None, None, None)
    settings = ClickHouseSettings(url=stack.env["ERASURE_CLICKHOUSE__URL"], database=f"{database.name}_none")
    async with connect(settings) as client:
        with pytest.raises(CriticalError, match="the database does not exist"):
            await scanned("clickhouse", ClickHouseScanner(client), scope(database), Contributor("c-1"))
    async with connect(ClickHouseSettings(url="http://127.0.0.1:1/")) as client:
        with pytest.raises(TransientError, match="cannot be reached"):
            await scanned("clickhouse", ClickHouseScanner(client), scope(database))
