"""Rows that a real Kafka brings into ClickHouse, and dictionaries that remember what was there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.stores.clickhouse.streams import Arrivals, Position, Stream
from activities.vault import BatchVault
from devstack.kafka import Kafka
from tests.stores.clickhouse_database import Database

ANN = Contributor("12", ("ann@x.io",))
MAP = {"arrivals": {"email": "email"}}

SETTINGS = (
    "kafka_topic_list = 'topic', kafka_group_name = 'group', kafka_format = 'JSONEachRow', "
    "kafka_flush_interval_ms = 300, kafka_poll_timeout_ms = 100, kafka_poll_max_batch_size = 1000"
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    server = Kafka(tmp_path_factory.mktemp("kafka"), tied=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ann(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN)


async def feed(database: Database, address: str) -> None:
    """A queue, and two tables that its rows end in: one by way of the other."""
    await database.run(
        "CREATE TABLE arrivals (n UInt32, email String) ENGINE = MergeTree ORDER BY n",
        "CREATE TABLE later (n UInt32, email String) ENGINE = MergeTree ORDER BY n",
        "CREATE TABLE queue (n UInt32, email String) ENGINE = Kafka "
        f"SETTINGS kafka_broker_list = '{address}', {SETTINGS}",
        "CREATE MATERIALIZED VIEW later_mv TO later AS SELECT * FROM arrivals",
        "CREATE MATERIALIZED VIEW arrivals_mv TO arrivals AS SELECT * FROM queue",
    )


async def test_rows_that_kafka_brings_during_and_after_a_mutation_are_masked_and_its_position_is_told(
    database: Database, kafka: Kafka, ann: Slice, vault: BatchVault
) -> None:
    await feed(database, kafka.address)
    await database.run("INSERT INTO queue SELECT number, if(number % 2 = 0, 'ann@x.io', 'jo@x.io') FROM numbers(500)")
    await arrived(database, 500)
    store = database.store({"queue": {"email": "email"}, "later": {"email": "email"}})
    health = await store.probe()
    assert (health.places, health.problems) == (["arrivals", "later"], []), "a stream is followed, and never mutated"
    await store.back_up(ann, vault)
    await database.run("SYSTEM STOP MERGES arrivals")
    erasing = asyncio.create_task(store.erase(ann, vault))
    await database.mutation_starts()
    await database.run("INSERT INTO queue SELECT 500 + number, 'ANN@x.io' FROM numbers(250)")
    await database.run(
        "SYSTEM START MERGES arrivals", "INSERT INTO queue SELECT 750 + number, 'Ann@x.io' FROM numbers(250)"
    )
    erased = await erasing

    await arrived(database, 1000)
    assert (await store.preview(ann)).places == {"arrivals": 0, "later": 0}
    assert erased.warnings == []
    (told,) = [place for place in erased.places if place.startswith("queue: ")]
    assert told == "queue: topic topic, partition 0, read to offset 1000"
    assert erased.places[told] == Tally()
    for table in ("arrivals", "later"):
        counted = "countIf(email = 'jo@x.io'), countIf(startsWith(email, 'DELETED_USER-')), count()"
        assert await database.texts(f"SELECT {counted} FROM {table}") == ["(250,750,1000)"]
    await store.restore(ann, vault)
    assert await database.texts("SELECT email, count() FROM arrivals GROUP BY email ORDER BY email") == [
        "('ANN@x.io',250)",
        "('Ann@x.io',250)",
        "('ann@x.io',250)",
        "('jo@x.io',250)",
    ]


async def arrived(database: Database, rows: int) -> None:
    async with asyncio.timeout(60):
        while await database.texts("SELECT count() FROM arrivals") != [f"({rows})"]:  # noqa: ASYNC110 - in the server
            await asyncio.sleep(0.05)


async def test_a_stream_that_nobody_reads_to_its_end_is_a_warning(database: Database, heartbeat: Heartbeat) -> None:
    await feed(database, "127.0.0.1:1")
    created = "kafka_flush_interval_ms = 300"
    streams = [Stream("queue", "Kafka", created), Stream("events", "NATS", created)]
    arrivals = Arrivals(database.client, streams, heartbeat, patience=0.5)
    await arrivals.settle()
    assert [(each.place, each.what) for each in arrivals.warnings] == [
        ("events", "is a NATS stream, of which ClickHouse does not say how far it was read"),
        ("queue", "no consumer of it reads"),
    ]
    assert arrivals.read_to == []
    arrivals.go_on()
    assert {each.what for each in arrivals.warnings[2:]} == {"still brings rows with an identity"}


def test_a_stream_was_read_where_every_known_end_was_reached() -> None:
    key, other = ("queue", "topic", 0), ("queue", "topic", 1)
    assert Position({key: 5, other: 9}).reached({key: 5, other: 7})
    assert not Position({key: 5, other: 6}).reached({key: 5, other: 7})
    assert not Position({key: 5}).reached({key: 5, other: 7})
    assert not Position({key: 5}).reached({})


async def test_a_dictionary_is_loaded_again_once_its_table_is_masked_and_once_it_is_restored(
    database: Database, ann: Slice, vault: BatchVault
) -> None:
    await database.run(
        "CREATE TABLE arrivals (n UInt64, email String) ENGINE = MergeTree ORDER BY n",
        "INSERT INTO arrivals VALUES (1, 'ann@x.io'), (2, 'jo@x.io')",
        "CREATE DICTIONARY people (n UInt64, email String) PRIMARY KEY n "
        f"SOURCE(CLICKHOUSE(TABLE 'arrivals' DB '{database.name}')) LAYOUT(HASHED()) LIFETIME(0)",
        "CREATE DICTIONARY queried (n UInt64, email String) PRIMARY KEY n "
        f"SOURCE(CLICKHOUSE(QUERY 'SELECT n, email FROM {database.name}.arrivals')) LAYOUT(HASHED()) LIFETIME(0)",
    )
    look = f"SELECT dictGet('{database.name}.people', 'email', 1), dictGet('{database.name}.queried', 'email', 1)"
    assert await database.texts(look) == ["('ann@x.io','ann@x.io')"]
    store = database.store(MAP)
    await store.back_up(ann, vault)
    assert (await store.erase(ann, vault)).warnings == []
    token = vault.masker.token("ann@x.io")
    assert await database.texts(look) == [f"('{token}','{token}')"]
    await store.restore(ann, vault)
    assert await database.texts(look) == ["('ann@x.io','ann@x.io')"]
    await store.erase(ann, vault)
    await database.run("ALTER TABLE arrivals RENAME COLUMN email TO mail")
    warned = (await store.erase(ann, vault)).warnings
    assert [each.place for each in warned] == [f"{database.name}.{name}" for name in ("people", "queried")]
    assert {each.what for each in warned} == {"this dictionary could not be loaded again (code 47)"}


async def test_detached_parts_and_outdated_ones_are_reported(database: Database, ann: Slice, vault: BatchVault) -> None:
    await database.run(
        "CREATE TABLE arrivals (n UInt64, email String) ENGINE = MergeTree PARTITION BY n ORDER BY n",
        "INSERT INTO arrivals VALUES (1, 'ann@x.io'), (2, 'ann@x.io')",
        "ALTER TABLE arrivals DETACH PARTITION 2",
    )
    store = database.store(MAP)
    detached = "1 detached parts may hold plain values"
    assert [(each.place, each.what) for each in (await store.probe()).warnings] == [("arrivals", detached)]
    await store.back_up(ann, vault)
    await store.erase(ann, vault)
    assert [each.what for each in (await store.purge(ann, vault)).warnings][-1] == detached
