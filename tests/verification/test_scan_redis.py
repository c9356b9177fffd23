"""The scan of Redis, on the real server: identities in names and contents of keys that no data map names."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
import string
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from activities.errors import CriticalError, TransientError
from activities.stores.redis.connection import RedisSettings, connect
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import Keyspace
from activities.verification import scanning
from activities.verification.contract import Scope
from activities.verification.scanners import kinds
from activities.verification.scanners.redis.scanner import RedisScanner
from devstack.valkey_topologies import ValkeyCluster
from tests.bench import HasEnv
from tests.stores.elasticsearch_cluster import until
from tests.stores.redis_keys import FAST
from tests.verification.residuals import ANN, NEIGHBOURS, People, found, scanned, uncertain, unproven

MANY = 3_000
"""Members of a key that is read in several pieces."""


@dataclass(frozen=True)
class Keys:
    """Keys of a test's own."""

    keyspace: Keyspace
    prefix: str

    @property
    def client(self) -> Any:
        return self.keyspace.client

    @property
    def scanner(self) -> RedisScanner:
        return RedisScanner(self.keyspace, FAST)

    def scope(self, depth: Any = "catalogue", *mapped: str) -> Scope:
        return Scope(
            depth, [f"{self.prefix}{each}" for each in mapped], (f"redis {self.prefix}*", "redis erasure-canary:*")
        )

    async def canaries(self) -> set[bytes]:
        return {key async for key in self.client.scan_iter(match="erasure-canary:*", count=1000)}


@pytest.fixture
async def keys(stack: HasEnv) -> AsyncIterator[Keys]:
    settings = RedisSettings(url=SecretStr(stack.env["ERASURE_REDIS__URL"]))
    async with connect(settings) as keyspace:
        prefix = "t" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12)) + ":"
        yield Keys(keyspace, prefix)
        client: Any = keyspace.client
        async for key in client.scan_iter(match=f"{prefix}*", count=1000):
            await client.unlink(key)


async def fill(client: Any, prefix: str = "") -> dict[str, int]:
    """Plants identities; answers where they are found."""
    many = {f"m{number}": number for number in range(MANY)}
    key = prefix.__add__
    await client.set(key("auth:w-7"), "x")
    await client.set(key("session:4711:a1"), "x")
    await client.set(key("note:1"), json.dumps({"by": json.dumps({"mail": "ann@x.io"})}))
    await client.set(key("large:1"), "x, " * 200_000 + "ann@x.io" + " y," * 200_000)
    await client.set(key("pickled"), b"\x80\x04\x95\x0c\x8c\x08ann@x.io\x94\xff\xfe.")
    await client.hset(key("team:1"), mapping={"lead": "w-7", "w-7": "1", "cc": "ANN%40x.io"})
    await client.hset(key("seen"), mapping={**many, "last": "ann@x.io"})
    await client.sadd(key("online:1"), "w-7", "x")
    await client.sadd(key("set"), *many, "w-7")
    await client.zadd(key("rank"), {**many, "w-7": 1})
    await client.rpush(key("turns"), *many, "w-7")
    for number in range(1_100):
        await client.xadd(
            key("events"), {"who": "w-7" if number == 1_050 else "x", "w-7": 1} if number > 1_049 else {"n": 1}
        )
    await client.xgroup_create(key("events"), "readers", id="0")
    await client.xreadgroup("readers", "ann@x.io", {key("events"): ">"}, count=1)
    await client.set(key("packed:1"), gzip.compress(b"to ann@x.io"))
    await client.set(key("sealed:1"), zlib.compress(b"to ann@x.io"))
    return {
        "auth:* (key) worker_id": 1,
        "session:*:* (key) worker_id": 1,
        "note:* (value) email": 1,
        "large:* (value) email": 1,
        "pickled (value) email": 1,
        "team:* (value of lead) worker_id": 1,
        "team:* (names of fields) worker_id": 1,
        "team:* (value of cc) email": 1,
        "seen (value of last) email": 1,
        "online:* (members) worker_id": 1,
        "set (members) worker_id": 1,
        "rank (members) worker_id": 1,
        "turns (elements) worker_id": 1,
        "events (entry of who) worker_id": 1,
        "events (names of fields) worker_id": 1,
        "events (consumers) email": 1,
        "packed:* (value) email": 1,
    }


async def test_identities_are_found_in_names_and_contents_of_keys_of_every_type(keys: Keys) -> None:
    places = await fill(keys.client, keys.prefix)
    for number, value in enumerate(NEIGHBOURS):
        await keys.client.set(f"{keys.prefix}clean:{value}", value)
        await keys.client.hset(f"{keys.prefix}masked", str(number), f"DELETED_USER-{'a' * 26}")
    await keys.client.set(f"{keys.prefix}count:worker:1", 471100)
    await keys.client.set(f"{keys.prefix}jobcache:4711", 1)
    scan = await scanned("redis", keys.scanner, keys.scope())
    assert found(scan, keys.prefix) == places
    assert scan.masked == {"database 0": len(NEIGHBOURS)}
    assert scan.records == 14 + len(NEIGHBOURS) + 3
    (sealed,) = unproven(scan, keys.prefix)
    assert sealed == "sealed:*: 1 keys are compressed (zlib), and not opened"
    assert uncertain(scan, keys.prefix) == {"jobcache:* (key)": 1}
    assert scan.proven == []
    in_passes = await scanned("redis", keys.scanner, keys.scope(), at_once=1)
    assert (in_passes.passes, found(in_passes, keys.prefix)) == (2, places)
    await keys.client.unlink(*[key async for key in keys.client.scan_iter(match=f"{keys.prefix}*", count=1000)])
    await keys.client.set(f"{keys.prefix}auth:x", "y")
    assert (await scanned("redis", keys.scanner, keys.scope())).proven == ["database 0"]
    estimate = await scanning.estimate(keys.scanner, keys.scope(), lambda *_: None)
    assert estimate.records >= 1


async def test_a_word_at_the_edge_of_a_piece_is_read_whole(keys: Keys) -> None:
    """Cut anywhere else, neighbours would seem to be who they are not."""
    size = 256 * 1024
    after = " " * size
    for shift in range(-12, 13):
        await keys.client.set(f"{keys.prefix}ours:{shift}", " " * (size + shift) + "ann@x.io" + after)
        await keys.client.set(f"{keys.prefix}others:{shift}", " " * (size - 4096 + shift) + "notann@x.io" + " " * size)
        await keys.client.set(f"{keys.prefix}cut:{shift}", " " * (size + shift) + "ann@x.io.uk" + after)
    scan = await scanned("redis", keys.scanner, keys.scope())
    assert found(scan, keys.prefix) == {"ours:* (value) email": 25}


async def test_the_mapped_depth_says_what_it_leaves_out(keys: Keys) -> None:
    await keys.client.set(f"{keys.prefix}auth:w-7", "x")
    await keys.client.set(f"{keys.prefix}other:w-7", "x")
    scan = await scanned("redis", keys.scanner, keys.scope("mapped", "auth:*"))
    assert found(scan, keys.prefix) == {"auth:* (key) worker_id": 1}
    left_out = [each.what for each in scan.not_proven if each.place == "redis"]
    assert "1 keys are not named in the data map, and this depth leaves them out" in left_out
    assert all("out of the reach" in each or "data map" in each for each in left_out)
    data_map = RedisMap.model_validate({"a": ["auth:{contributor_id}", {"key": r"h:\{[*", "values": "email"}]})
    assert kinds()["redis"].mapped(data_map) == ["auth:*", "h:{[[]*"]


async def test_a_canary_that_is_out_of_reach_is_an_error_and_none_stays(keys: Keys) -> None:
    await keys.client.set(f"{keys.prefix}auth:1", "x")
    with pytest.raises(CriticalError, match="did not find the canary"):
        await scanned("redis", keys.scanner, Scope("catalogue", reach=(f"redis {keys.prefix}*",)))
    with pytest.raises(CriticalError, match="there is nobody to look for"):
        await scanning.scan("redis", keys.scanner, keys.scope(), People([]), lambda *_: None)
    async with connect(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as keyspace:
        with pytest.raises(TransientError, match="cannot be reached"):
            await scanned("redis", RedisScanner(keyspace, FAST), keys.scope())
    before = await keys.canaries()
    beats: list[str] = []
    slow = RedisScanner(keys.keyspace, 1_000)
    run = asyncio.create_task(
        scanning.scan("redis", slow, keys.scope(), People([ANN]), lambda place, _: beats.append(place), canary="cut")
    )
    await until(lambda: bool(beats) or run.done())
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert await keys.canaries() <= before
    killed = keys.scanner.planted("killed")
    await killed.__aenter__()
    (left,) = await keys.canaries() - before
    assert 0 < await keys.client.ttl(left) <= 24 * 60 * 60
    async with keys.scanner.planted("killed"):
        assert await keys.client.xlen(left) == 1
    assert left not in await keys.canaries()
    await killed.__aexit__(None, None, None)


async def test_keys_that_the_user_may_not_read_are_not_proven(keys: Keys, stack: HasEnv) -> None:
    user = keys.prefix.rstrip(":")
    allowed = [f"~{keys.prefix}ok:*", "~erasure-canary:*", "+@all"]
    await keys.client.execute_command("ACL SETUSER", user, "on", ">secret", *allowed)
    try:
        await keys.client.set(f"{keys.prefix}ok:1", "w-7")
        await keys.client.set(f"{keys.prefix}no:1", "w-7")
        url = stack.env["ERASURE_REDIS__URL"].replace("redis://", f"redis://{user}:secret@")
        async with connect(RedisSettings(url=SecretStr(url))) as keyspace:
            scan = await scanned("redis", RedisScanner(keyspace, FAST), keys.scope())
            assert found(scan, keys.prefix) == {"ok:* (value) worker_id": 1}
            assert unproven(scan, keys.prefix) == ["no:*: 1 keys may not be read by this user"]
            await keys.client.execute_command("ACL SETUSER", user, "resetkeys", f"~{keys.prefix}ok:*")
            with pytest.raises(CriticalError, match="the scan may not plant its canary"):
                await scanned("redis", RedisScanner(keyspace, FAST), keys.scope())
    finally:
        await keys.client.execute_command("ACL DELUSER", user)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    made = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    made.start()
    yield made
    made.stop()


async def test_all_nodes_of_a_cluster_are_read(cluster: ValkeyCluster) -> None:
    named: dict[str, Any] = {key.removeprefix("ERASURE_REDIS__").lower(): value for key, value in cluster.env.items()}
    async with connect(RedisSettings(**named)) as keyspace:
        client: Any = keyspace.client
        await client.flushall()
        scanner = RedisScanner(keyspace, FAST)
        empty = await scanned("redis", scanner, Scope("catalogue"))
        assert (empty.records, empty.residuals, empty.not_proven) == (0, [], [])
        assert len(empty.proven) == len(await keyspace.nodes())
        places = await fill(client)
        for number in range(30):
            await client.set(f"many:{number}", "w-7" if number % 3 == 0 else "x")
        scan = await scanned("redis", scanner, Scope("catalogue"))
        assert found(scan) == {**places, "many:* (value) worker_id": 10}
        assert scan.records == 14 + 30
