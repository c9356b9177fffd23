"""Redis as a cluster, behind a Sentinel, with few rights, and in trouble: real servers of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from activities.contract import Contributor, Health, Heartbeat, Recovery, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.stores.redis.connection import RedisSettings, connect, translate
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import Keyspace, MovedWhileScannedError
from activities.stores.redis.store import RedisStore
from activities.suspicion import Suspicion
from activities.vault import BatchVault
from devstack.valkey_topologies import ValkeyCluster, WatchedValkey
from tests.stores.redis_keys import Keys

ANN = Contributor("c-12", ("Ann@x.io",), ("12",))

DATA_MAP: dict[str, list[Any]] = {
    "auth": ["auth:{contributor_id}", "session:{contributor_id}:*", "mail:{email}"],
    "on": [{"key": "on:*", "members": "worker_id", "mask": "token"}, {"key": "h:{{x}}", "values": "email"}],
}
DATA_MAP["on"][1]["key"] = r"h:\{x\}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    made = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def part(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN)


def settings(env: Any, **more: Any) -> RedisSettings:
    """Settings of an environment, as the worker reads them."""
    named = {key.removeprefix("ERASURE_REDIS__").lower(): value for key, value in env.items()}
    return RedisSettings(**named, **more)


async def fill(client: Any) -> None:
    for number in range(30):
        await client.sadd(f"on:{number}", "12", "123")
        await client.set(f"session:c-12:{number}", "x")
        await client.set(f"session:c-123:{number}", "x")
    await client.set("auth:c-12", "x")
    await client.set("mail:ANN@x.io", "x")
    await client.hset("h:{x}", "mail", "ann@x.io")


async def erased_and_restored(keyspace: Keyspace, heartbeat: Heartbeat, part: Slice, vault: BatchVault) -> None:
    """Runs the verbs, and compares what they leave."""
    keys = Keys(keyspace.client, heartbeat)
    await fill(keyspace.client)
    before = await keys.holds()
    store = RedisStore(keyspace, RedisMap.model_validate(DATA_MAP), heartbeat)
    assert (await store.probe()).problems == []
    expected = dict(zip(await _places(store), (1, 30, 1, 30, 1), strict=True))
    assert (await store.preview(part)).places == expected
    assert (await store.back_up(part, vault)).places == expected
    assert (await store.erase(part, vault)).places == {place: Tally(each, each) for place, each in expected.items()}
    stays = {key: held for key, held in before.items() if not key.startswith(("auth:c-12", "session:c-12:", "mail:"))}
    token = vault.masker.token
    masked = {key: ("lasts", {token("12").encode(), b"123"}) for key in stays if key.startswith("on:")}
    assert await keys.holds() == {**stays, **masked, "h:{x}": ("lasts", {b"mail": token("ann@x.io").encode()})}
    restored = await store.restore(part, vault)
    assert restored.total == Recovery(31, restored=31)
    assert await keys.holds() == stays


async def _places(store: RedisStore) -> list[str]:
    return (await store.probe()).places


async def test_all_nodes_of_a_cluster_are_erased_and_restored(
    cluster: ValkeyCluster, heartbeat: Heartbeat, part: Slice, vault: BatchVault
) -> None:
    async with connect(settings(cluster.env)) as keyspace:
        await keyspace.client.flushall()
        await erased_and_restored(keyspace, heartbeat, part, vault)
        suspects = await RedisStore(keyspace, RedisMap.model_construct(root={}), heartbeat).survey(Suspicion())
        assert [suspect.place for suspect in suspects] == ["*:\\{*\\} (values of mail)"]


async def test_a_user_of_a_cluster_needs_two_rights_more(cluster: ValkeyCluster, heartbeat: Heartbeat) -> None:
    env = {**cluster.env, "ERASURE_REDIS__URL": f"redis://few:secret@127.0.0.1:{cluster.nodes[0].port}/0"}
    data_map = RedisMap.model_validate({"auth": ["auth:{contributor_id}"]})

    async def probed(*more: str) -> Health:
        for number in range(3):
            with cluster.client(number) as node:
                node.acl_deluser("few")
                rights = ["reset", "on", ">secret", "~auth:*", "+scan", "+exists", "+unlink", *more]
                node.execute_command("ACL", "SETUSER", "few", *rights)
        async with connect(settings(env)) as keyspace:
            return await RedisStore(keyspace, data_map, heartbeat).probe()

    assert (await probed("+cluster|slots", "+command")).problems == []
    (lacking,) = (await probed("+cluster|slots")).problems
    assert lacking.remedy == "Grant it: ACL SETUSER ... +command."
    with pytest.raises(CriticalError, match=r"may not call CLUSTER SLOTS.*\+cluster\|slots"):
        await probed("+command")


async def test_a_scan_during_which_slots_move_is_not_believed(cluster: ValkeyCluster) -> None:
    async with connect(settings(cluster.env)) as keyspace:
        owners = []
        for number in range(3):
            with cluster.client(number) as node:
                owners.append(node.execute_command("CLUSTER MYID").decode())
        pages = keyspace.scan(b"*")
        await anext(pages)
        _give(cluster, owners, 0, 1)
        with pytest.raises(MovedWhileScannedError) as raised:
            async for _ in pages:
                pass
        _give(cluster, owners, 1, 0)
    known = translate(raised.value)
    assert isinstance(known, TransientError)
    assert "moved" in known.what


def _give(cluster: ValkeyCluster, owners: Sequence[str], giver: int, taker: int) -> None:
    """Moves the first slot, which is empty, from one node to another; each node is told, so that nobody waits."""
    for number in (giver, taker, 2):
        with cluster.client(number) as node:
            node.execute_command("CLUSTER SETSLOT", 0, "NODE", owners[taker])
            if number == taker:
                node.execute_command("CLUSTER BUMPEPOCH")


async def test_the_primary_that_a_sentinel_names_is_used_also_after_a_switch(
    tmp_path: Path, heartbeat: Heartbeat, part: Slice, vault: BatchVault
) -> None:
    watched = WatchedValkey(tmp_path)
    watched.start()
    try:
        async with connect(settings(watched.env)) as keyspace:
            await erased_and_restored(keyspace, heartbeat, part, vault)
            watched.switch()
            store = RedisStore(keyspace, RedisMap.model_validate(DATA_MAP), heartbeat)
            with pytest.raises(TransientError):
                await store.erase(part, vault)  # the connection is still that of the former primary
            assert (await store.erase(part, vault)).total.changed == 31
            async with Redis(port=watched.replica.port) as new:
                assert await new.smembers("on:1") == {b"123", vault.masker.token("12").encode()}
        other = {**watched.env, "ERASURE_REDIS__URL": "redis://nobody/0"}
        async with connect(settings(other)) as keyspace:
            with pytest.raises(TransientError, match="no Sentinel knows the primary"):
                await RedisStore(keyspace, RedisMap.model_validate(DATA_MAP), heartbeat).probe()
    finally:
        watched.stop()
