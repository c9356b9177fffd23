"""What the probes say of what else goes on in a server: replicas, locks, mutations, disks, memory."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from activities.contract import Finding
from activities.stores.clickhouse import server_state as clickhouse
from activities.stores.elasticsearch import server_state as elasticsearch
from activities.stores.postgres import server_state as postgres
from activities.stores.redis import server_state as redis
from activities.stores.redis.keyspace import Keyspace
from devstack.valkey import Valkey
from tests.stores import clickhouse_database
from tests.stores.elasticsearch_cluster import Cluster
from tests.stores.postgres_schema import Database

NOW = timedelta()


async def test_postgres_names_a_replica_that_is_behind_an_open_transaction_and_a_lock(filled: Database) -> None:
    place, slot = filled.place("payments"), f"behind_{secrets.token_hex(4)}"
    oid = await filled.pool.fetchval("SELECT to_regclass($1)::oid::bigint", place)
    async with filled.pool.acquire() as holder, holder.transaction():
        await holder.execute(f"UPDATE {place} SET amount = 0 WHERE id = 1")
        await filled.pool.execute("SELECT pg_create_physical_replication_slot($1, true)", slot)
        try:
            async with filled.pool.acquire() as asking, asking.transaction():
                found = await postgres.notes(asking, {oid: place}, behind=-1, open_for=NOW, locked_for=NOW)
                quiet = await postgres.notes(asking, {oid: place})
        finally:
            await filled.pool.execute("SELECT pg_drop_replication_slot($1)", slot)
    said = {each.what for each in found}
    assert any(what.startswith(f"the replica {slot} is ") for what in said)
    assert any("transactions are open, the oldest for 0:00:0" in what for what in said)
    (lock,) = [each for each in found if each.place == place]
    assert lock.what.startswith("1 other transactions hold locks on it, for 0:00:0")
    assert [each for each in quiet if each.place == place or slot in each.what] == [], "not for long"


async def test_clickhouse_notes_a_mutation_that_waits_and_refuses_where_one_fails(
    database: clickhouse_database.Database,
) -> None:
    await database.fill()
    await database.run("SYSTEM STOP MERGES metrics", "ALTER TABLE metrics UPDATE judgments = 1 WHERE n = 1")
    (note,) = (await database.store().probe()).notes
    assert (note.place, note.what) == ("metrics", "has 1 unfinished mutations")
    await database.run("SYSTEM START MERGES metrics", "ALTER TABLE metrics UPDATE judgments = throwIf(1) WHERE n = 2")
    async with asyncio.timeout(30):
        while not (found := (await database.store().probe()).problems):  # noqa: ASYNC110 - happens in the server
            await asyncio.sleep(0.02)
    assert (found[0].place, found[0].what) == ("metrics", "a mutation of it fails again and again (code 395)")
    assert "KILL MUTATION" in found[0].remedy


def disk(free: int) -> dict[str, Any]:
    return {"host": "ch-1", "disk": "default", "free": free, "largest": 1000, "whole": 5000}


@pytest.mark.parametrize(("free", "full"), [(999, [True]), (1000, [False]), (4999, [False]), (5000, [])])
def test_clickhouse_needs_room_for_its_largest_part_and_better_for_all(free: int, full: list[bool]) -> None:
    assert [is_full for is_full, _ in clickhouse.of_disk(disk(free))] == full


async def test_clickhouse_tells_how_much_room_there_is(database: clickhouse_database.Database) -> None:
    await database.fill()
    query = clickhouse._room(database.client)
    (row,) = await database.client.fetch(query, database=database.name, tables=["metrics"])
    assert row.keys() == disk(0).keys()
    assert row["free"] > row["whole"] >= row["largest"] > 0
    (full,) = clickhouse.of_disk({**row, "free": 0})
    assert full[0]


WATERMARKS = {
    "cluster.routing.allocation.disk.threshold_enabled": "true",
    "cluster.routing.allocation.disk.watermark.high": "90%",
    "cluster.routing.allocation.disk.watermark.high.max_headroom": "150GB",
    "cluster.routing.allocation.disk.watermark.flood_stage": "95%",
    "cluster.routing.allocation.disk.watermark.flood_stage.max_headroom": "100GB",
}
GB = 2**30


@pytest.mark.parametrize(
    ("total", "free", "changed", "full"),
    [
        (100 * GB, 11 * GB, {}, []),
        (100 * GB, 9 * GB, {}, [False]),
        (100 * GB, 4 * GB, {}, [True]),
        (100 * GB, 0, {"threshold_enabled": "false"}, []),
        (10_000 * GB, 200 * GB, {}, []),  # large disks need no more than the headroom
        (10_000 * GB, 120 * GB, {}, [False]),
        (10_000 * GB, 99 * GB, {}, [True]),
        (100 * GB, 9 * GB, {"watermark.high": "0.8", "watermark.flood_stage": "0.85"}, [True]),
        (100 * GB, 400 * 2**20, {"watermark.high": "1gb", "watermark.flood_stage": "500mb"}, [True]),
        (100 * GB, 600 * 2**20, {"watermark.high": "1gb", "watermark.flood_stage": "500mb"}, [False]),
        (100 * GB, 2 * GB, {"watermark.high": "1gb", "watermark.flood_stage": "500mb"}, []),
    ],
)
def test_elasticsearch_refuses_beyond_the_flood_stage_and_notes_the_high_watermark(
    total: int, free: int, changed: dict[str, str], full: list[bool]
) -> None:
    settings = WATERMARKS | {f"cluster.routing.allocation.disk.{name}": value for name, value in changed.items()}
    disk = {"total_in_bytes": total, "available_in_bytes": free}
    assert [is_full for is_full, _ in elasticsearch.of_disk("n-1", disk, settings)] == full


async def test_elasticsearch_tells_its_health_its_disks_and_its_watermarks(cluster: Cluster) -> None:
    health = (await cluster.client.cluster.health()).body
    health["number_of_pending_tasks"] = 0
    (red,) = elasticsearch.of_cluster({**health, "status": "red"})
    assert red.what.startswith("the cluster is red")
    assert [*elasticsearch.of_cluster({**health, "status": "yellow"})] == []
    (waits,) = elasticsearch.of_cluster({**health, "status": "green", "number_of_pending_tasks": 101})
    assert "101 changes" in waits.what
    settings = (await cluster.client.cluster.get_settings(include_defaults=True, flat_settings=True)).body
    nodes = (await cluster.client.nodes.stats(metric="fs")).body["nodes"]
    known = {**settings["defaults"], **settings["persistent"], **settings["transient"]}
    known["cluster.routing.allocation.disk.threshold_enabled"] = "true"
    for node in nodes.values():
        full = {**node["fs"]["total"], "available_in_bytes": 0}
        assert [is_full for is_full, _ in elasticsearch.of_disk(node["name"], full, known)] == [True]


async def test_redis_notes_that_its_memory_is_nearly_used_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = Valkey(tmp_path_factory.mktemp("valkey"), tied=True)
    server.start()
    try:
        async with Redis(port=server.port) as client:
            keyspace = Keyspace(client, 1_000)
            assert await redis.notes(keyspace, [None]) == []
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", used + 2**16)
            (note,) = await redis.notes(keyspace, [None])
            assert "nothing is evicted" in note.what
            await client.config_set("maxmemory-policy", "allkeys-lru")
            assert await redis.notes(keyspace, [None]) == []
    finally:
        server.stop()


def test_redis_notes_replicas_that_are_behind() -> None:
    replicas = {
        "connected_slaves": 3,
        "slave0": {"state": "online", "lag": 1},
        "slave1": {"state": "online", "lag": 60},
        "slave2": {"state": "wait_bgsave", "lag": 0},
    }
    (note,) = redis.of_replicas(replicas)
    assert isinstance(note, Finding)
    assert note.what == "2 of 3 replicas are behind"
    assert [*redis.of_replicas({"connected_slaves": 0})] == []
