"""What the check says of a Redis user with few rights, and of a server in trouble: on a real one of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from activities.contract import Contributor, Heartbeat, Recovery, Slice
from activities.errors import CriticalError, TransientError
from activities.stores.redis.connection import RedisSettings, connect
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.store import RedisStore
from activities.vault import BatchVault
from devstack.valkey import Valkey
from tests.stores.redis_keys import Keys

ANN = Contributor("c-12", ("Ann@x.io",), ("12",))

GONE = {"auth": ["auth:{contributor_id}", "session:{contributor_id}:*"]}

KEPT: dict[str, list[Any]] = {
    "rules": [
        {"key": "text:*", "values": "worker_id"},
        {"key": "hash", "values": "worker_id", "only": "f"},
        {"key": "hash", "fields": "worker_id"},
        {"key": "set:*", "members": "worker_id"},
        {"key": "rank:*", "members": "worker_id", "mask": "token"},
        {"key": "list:*", "elements": "worker_id"},
        {"key": "stream:*", "entries": "worker_id"},
    ]
}

FOR_GONE = ["SCAN", "UNLINK", "EXISTS"]

FOR_KEPT = [
    *("SCAN", "TYPE", "PTTL", "EVAL"),
    *(
        "STRLEN",
        "GET",
        "SET",
        "DEL",
        "HSCAN",
        "HPTTL",
        "HGET",
        "HSET",
        "HDEL",
        "HPEXPIRETIME",
        "HPEXPIREAT",
        "HPEXPIRE",
    ),
    *("SSCAN", "SISMEMBER", "SADD", "SREM", "ZSCAN", "ZSCORE", "ZADD", "ZREM", "PEXPIRE"),
    *("LRANGE", "LINDEX", "LSET", "LREM", "LPOS"),
    *("XLEN", "XRANGE", "XDEL", "XINFO STREAM", "XINFO GROUPS", "XINFO CONSUMERS", "XPENDING", "XADD", "XSETID"),
    *("XGROUP CREATE", "XGROUP CREATECONSUMER", "XCLAIM"),
]

KEYS_GONE = ["~auth:*", "~session:*:*"]
KEYS_KEPT = ["~text:*", "~hash", "~set:*", "~rank:*", "~list:*", "~stream:*"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"), tied=True)
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
async def keys(server: Valkey, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    async with Redis(port=server.port) as client:
        await client.flushall()
        yield Keys(client, heartbeat)


def settings(server: Valkey, user: str = "") -> RedisSettings:
    return RedisSettings(url=SecretStr(f"redis://{user}127.0.0.1:{server.port}/0"))


async def _limit(keys: Keys, rights: list[str]) -> None:
    commands = [f"+{right.lower().replace(' ', '|')}" if right[0] not in "~%" else right for right in rights]
    await keys.client.execute_command("ACL", "SETUSER", "few", "reset", "on", ">secret", *commands)


@pytest.mark.parametrize(
    ("data_map", "commands", "patterns"), [(GONE, FOR_GONE, KEYS_GONE), (KEPT, FOR_KEPT, KEYS_KEPT)]
)
async def test_each_right_that_is_missing_is_named_with_its_remedy_and_no_other(
    keys: Keys, server: Valkey, data_map: Any, commands: list[str], patterns: list[str]
) -> None:
    everything = [*commands, *patterns]
    async with connect(settings(server, "few:secret@")) as keyspace:
        store = RedisStore(keyspace, RedisMap.model_validate(data_map), keys.heartbeat)
        await _limit(keys, everything)
        health = await store.probe()
        assert health.problems == []
        assert [note.what for note in health.notes] == ["its version is not known: the user may not call INFO"]
        for lacking in everything:
            await _limit(keys, [right for right in everything if right != lacking])
            problems = (await store.probe()).problems
            said = f"ACL SETUSER ... {lacking if lacking[0] == '~' else '+' + lacking.lower().replace(' ', '|')}."
            assert {problem.remedy for problem in problems} == {f"Grant it: {said}"}, lacking
            places = {problem.place for problem in problems}
            assert places == {"redis"} or (lacking[0] == "~" and all(f" {lacking[1:5]}" in each for each in places))
        await _limit(keys, [])
        assert len((await store.probe()).problems) >= len(FOR_GONE) - 1
    assert await keys.client.dbsize() == 0, "the check leaves nothing behind"


async def test_a_user_with_just_these_rights_erases_and_restores(
    keys: Keys, server: Valkey, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    client = keys.client
    await client.set("text:1", "12", ex=900)
    await client.hset("hash", mapping={"f": "12", "12": "x", "g": "12"})
    await client.sadd("set:1", "12")
    await client.zadd("rank:1", {"12": 1})
    await client.rpush("list:1", "12")
    await client.xadd("stream:1", {"who": "12"})
    kept = await keys.holds()
    await client.set("auth:c-12", "x")
    await client.set("session:c-12:1", "x")
    await _limit(keys, [*FOR_GONE, *FOR_KEPT, *KEYS_GONE, *KEYS_KEPT])
    part = slice_of(ANN)
    async with connect(settings(server, "few:secret@")) as keyspace:
        store = RedisStore(keyspace, RedisMap.model_validate({**GONE, **KEPT}), keys.heartbeat)
        assert (await store.preview(part)).records == 9
        await store.back_up(part, vault)
        assert (await store.erase(part, vault)).total.changed == 9
        restored = await store.restore(part, vault)
        await _limit(keys, [*FOR_GONE, *KEYS_GONE])
        with pytest.raises(CriticalError, match="map check") as raised:
            await store.preview(part)
    assert "12" not in str(raised.value)
    assert restored.total == Recovery(7, restored=7)
    assert await keys.holds() == kept


async def test_the_check_names_what_keeps_a_server_from_writing(keys: Keys, server: Valkey) -> None:
    client = keys.client
    async with connect(settings(server)) as keyspace:
        store = RedisStore(keyspace, RedisMap.model_validate(KEPT), keys.heartbeat)
        await client.config_set("maxmemory", 1)
        with pytest.raises(TransientError, match=r"out of memory \(maxmemory\)"):
            await store.probe()
        await client.config_set("maxmemory", 0)
        await client.config_set("min-replicas-to-write", 1)
        with pytest.raises(TransientError, match="too few replicas"):
            await store.probe()
        await client.config_set("min-replicas-to-write", 0)
        await client.execute_command("REPLICAOF", "127.0.0.1", 1)
        await client.config_set("replica-serve-stale-data", "yes")
        with pytest.raises(CriticalError, match=r"is a read-only replica\. Point ERASURE_REDIS__URL to the primary"):
            await store.probe()
        await client.config_set("replica-serve-stale-data", "no")
        with pytest.raises(TransientError, match="down or on the move"):
            await store.probe()
        await client.execute_command("REPLICAOF", "NO", "ONE")
        await client.config_set("replica-serve-stale-data", "yes")
        assert (await store.probe()).problems == []


async def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path, heartbeat: Heartbeat) -> None:
    valkey = Valkey(tmp_path, tied=True, options=["--rdbcompression", "no"])
    valkey.start()
    async with Redis(port=valkey.port) as client:
        await client.mset({f"key:{number}": "x" * 200 for number in range(500)})
        await client.save()
    valkey.stop()
    valkey.options = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]
    valkey.spawn()
    try:
        async with connect(settings(valkey)) as keyspace:
            error = await _trouble(RedisStore(keyspace, RedisMap.model_validate(GONE), heartbeat))
    finally:
        valkey.kill()
    assert str(error) == "redis: is loading its data. Wait; it is tried again."


async def _trouble(store: RedisStore) -> TransientError:
    """What the check says of a server once it listens."""
    while True:
        with pytest.raises(TransientError) as raised:
            await store.probe()
        if "cannot be reached" not in str(raised.value):
            return raised.value


async def test_a_server_that_is_no_cluster_is_named(server: Valkey, heartbeat: Heartbeat) -> None:
    async with connect(settings(server).model_copy(update={"cluster": True})) as keyspace:
        with pytest.raises(CriticalError, match="is not a Cluster"):
            await RedisStore(keyspace, RedisMap.model_validate(GONE), heartbeat).probe()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://x"}, "must start with redis://"),
        ({"url": "redis://h/0", "sentinels": "a"}, "write host:port"),
        ({"url": "redis://h/0", "sentinels": "a:1", "cluster": True}, "set CLUSTER or SENTINELS, not both"),
        ({"url": "redis://h/1", "cluster": True}, "a Cluster has database 0 only"),
        ({"url": "unix:///x", "sentinels": "a:1"}, "the URL's host is the name of the primary"),
        ({"url": "redis://h/0", "keys_per_second": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RedisSettings(**given)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "URL": "redis://user:pass@main/3",
        "SENTINELS": "a:1, [::1]:2",
        "SENTINEL_PASSWORD": "hidden",
        "KEYS_PER_SECOND": "500",
        "TIMEOUT": "3",
    }.items():
        monkeypatch.setenv(f"ERASURE_REDIS__{name}", value)
    read = RedisSettings()
    assert read.sentinel_addresses == [("a", 1), ("::1", 2)]
    assert (read.keys_per_second, read.timeout) == (500, 3)
    assert not any(secret in repr(read) for secret in ("pass@", "hidden"))
