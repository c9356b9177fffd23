"""Redis, on the real server (Valkey): each test has keys of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.stores.redis.connection import RedisSettings, connect
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.forms import KeyTemplate
from activities.stores.redis.keyspace import Keyspace
from activities.stores.redis.store import RedisStore
from activities.vault import BatchVault
from tests.bench import HasEnv

ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("b[o]*?\\b", ("bob@x.io",), ())

OURS = (
    "auth:12",
    "auth:b[o]*?\\b",
    "mail:Ann@x.io",
    "mail:ann@x.io",
    "mail:ANN@X.IO",
    "session:12:a1",
    "session:12:a2:more",
    "session:b[o]*?\\b:b1",
    "jobcache:7:12",
    "jobcache:8:x:12",
    "jobcache:7:b[o]*?\\b",
)
OTHERS = (
    "auth:123",
    "auth:012",
    "auth:1",
    "auth:bo*?b",
    "auth:boob",
    "mail:joann@x.io",
    "session:123:a1",
    "session:1:12",
    "session:12",
    "jobcache:12:7",
    "jobcache:7:112",
    "jobcache:7:123",
    "queue:12",
    "stats",
)


@dataclass(frozen=True)
class Keys:
    """The test's own part of the real server."""

    client: Redis
    prefix: str
    heartbeat: Heartbeat

    async def fill(self) -> None:
        for name in (*OURS, *OTHERS):
            await self.client.set(self.prefix + name, f"value of {name}")

    async def there(self) -> dict[str, str]:
        keys = [key async for key in self.client.scan_iter(match=f"{self.prefix}*")]
        return {key.decode().removeprefix(self.prefix): str(await self.client.get(key)) for key in keys}

    @property
    def data_map(self) -> RedisMap:
        templates = {
            "auth": ["auth:{contributor_id}", "mail:{email}"],
            "session": ["session:{contributor_id}:*"],
            "job": ["jobcache:*:{contributor_id}"],
        }
        return RedisMap.model_validate(
            {group: [self.prefix + text for text in texts] for group, texts in templates.items()}
        )

    def place(self, group: str, template: str) -> str:
        return f"{group}: {self.prefix}{template}"

    def store(self, client: Redis | None = None) -> RedisStore:
        return RedisStore(Keyspace(client or self.client, 1_000_000), self.data_map, self.heartbeat)

    def tallies(self, auth: Tally, mail: Tally, session: Tally, job: Tally) -> dict[str, Tally]:
        return {
            self.place("auth", "auth:{contributor_id}"): auth,
            self.place("auth", "mail:{email}"): mail,
            self.place("session", "session:{contributor_id}:*"): session,
            self.place("job", "jobcache:*:{contributor_id}"): job,
        }


@pytest.fixture
async def keys(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    async with Redis.from_url(stack.env["ERASURE_REDIS__URL"]) as client:
        own = Keys(client, f"test-{secrets.token_hex(4)}:", heartbeat)
        yield own
        async for key in client.scan_iter(match=f"{own.prefix}*"):
            await client.unlink(key)


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_keys_of_the_slice_go_and_neighbours_stay(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    before = await keys.there()
    store = keys.store()
    impact = await store.preview(both)
    assert impact.records == len(OURS)
    assert (await store.back_up(both, vault)).places == impact.places
    assert await keys.there() == before, "a back-up writes nothing"

    erased = await store.erase(both, vault)

    assert await keys.there() == {name: value for name, value in before.items() if name in OTHERS}
    assert erased.places == keys.tallies(Tally(2, 2), Tally(3, 3), Tally(3, 3), Tally(3, 3))
    assert (await store.preview(both)).records == 0


async def test_a_second_run_changes_nothing_and_says_so(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    store = keys.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    again = await store.erase(both, vault)
    clean = [Tally(already_clean=count) for count in (2, 3, 3, 3)]
    assert again.places == keys.tallies(*clean)


async def test_the_back_up_holds_neither_keys_nor_values(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    await keys.store().back_up(both, vault)
    records = [record async for _, record in vault.records("pre-image/redis/000000")]
    assert len(records) == len(OURS)
    assert {tuple(record) for record in records} == {("key",)}
    assert all(record["key"].startswith("DELETED_USER-") for record in records)


async def test_a_run_that_was_cut_is_taken_up(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    store = keys.store()
    await store.back_up(both, vault)
    await keys.client.client_pause(300, all=False)
    cut = asyncio.create_task(store.erase(both, vault))
    await asyncio.sleep(0.1)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    assert cut.cancelled()
    again = await store.erase(both, vault)
    assert again.total.changed + again.total.already_clean == len(OURS)
    assert set(await keys.there()) == set(OTHERS)


async def test_a_session_opened_after_the_back_up_goes_as_well(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    store = keys.store()
    await store.back_up(both, vault)
    await keys.client.set(f"{keys.prefix}session:12:late", "x")
    erased = await store.erase(both, vault)
    assert erased.total == Tally(len(OURS) + 1, len(OURS) + 1)
    assert set(await keys.there()) == set(OTHERS)


async def test_a_rollback_resurrects_nothing_and_says_so(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    store = keys.store()
    assert (await store.restore(both, vault)).notes == [], "nothing was erased"
    await store.back_up(both, vault)
    await store.erase(both, vault)
    restored = await store.restore(both, vault)
    assert set(await keys.there()) == set(OTHERS)
    assert restored.warnings == []
    (note,) = restored.notes
    assert "never resurrected" in note.what
    assert (await store.purge(both, vault)).places == {}


async def test_every_kind_of_value_is_unlinked(keys: Keys, both: Slice, vault: BatchVault) -> None:
    client, prefix = keys.client, keys.prefix
    await client.hset(f"{prefix}session:12:hash", "a", "1")
    await client.rpush(f"{prefix}session:12:list", "a", "b")
    await client.sadd(f"{prefix}session:12:set", "a")
    await client.zadd(f"{prefix}session:12:zset", {"a": 1})
    await client.xadd(f"{prefix}session:12:stream", {"a": "1"})
    store = keys.store()
    await store.back_up(both, vault)
    assert (await store.erase(both, vault)).total == Tally(5, 5)


async def test_nothing_is_erased_without_a_back_up(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await keys.fill()
    before = await keys.there()
    with pytest.raises(CriticalError, match="has no back-up"):
        await keys.store().erase(both, vault)
    assert await keys.there() == before


async def test_one_scan_serves_the_whole_batch(keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault) -> None:
    crowd = [Contributor(f"c{number}", (), ()) for number in range(500)]
    async with keys.client.pipeline(transaction=False) as pipeline:
        for contributor in crowd:
            pipeline.set(f"{keys.prefix}session:{contributor.contributor_id}:s", "x")
        await pipeline.execute()
    store = keys.store()
    part = slice_of(*crowd)
    await store.back_up(part, vault)
    before = await keys.client.info("commandstats")
    assert (await store.erase(part, vault)).total == Tally(500, 500)
    after = await keys.client.info("commandstats")

    def calls(info: dict[str, Any], command: str) -> int:
        return int(info.get(f"cmdstat_{command}", {}).get("calls", 0))

    size = await keys.client.dbsize() + 500
    assert calls(after, "scan") - calls(before, "scan") <= 3 + size // 500, "cost follows the keys, not the people"
    assert calls(after, "keys") == calls(before, "keys")


async def test_the_probe_names_a_command_that_the_user_may_not_call(keys: Keys, stack: HasEnv) -> None:
    user, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)
    await keys.client.acl_setuser(
        user, enabled=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"], commands=["-unlink"]
    )
    address = stack.env["ERASURE_REDIS__URL"].removeprefix("redis://")
    try:
        async with connect(RedisSettings(url=SecretStr(f"redis://{user}:{password}@{address}"))) as client:
            health = await RedisStore(client, keys.data_map, keys.heartbeat).probe()
    finally:
        await keys.client.acl_deluser(user)
    (problem,) = health.problems
    assert "UNLINK" in problem.what
    assert (await keys.store().probe()).problems == []


async def test_a_server_that_is_away_is_transient_and_a_refused_login_critical(
    keys: Keys, both: Slice, stack: HasEnv
) -> None:
    async with connect(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as client:
        with pytest.raises(TransientError, match="redis: cannot be reached"):
            await RedisStore(client, keys.data_map, keys.heartbeat).preview(both)
    address = stack.env["ERASURE_REDIS__URL"].removeprefix("redis://")
    async with connect(RedisSettings(url=SecretStr(f"redis://nobody:secret-word@{address}"))) as client:
        with pytest.raises(CriticalError, match="the login is refused") as raised:
            await RedisStore(client, keys.data_map, keys.heartbeat).preview(both)
    assert "secret-word" not in str(raised.value)


@pytest.mark.parametrize(
    "template",
    ["auth:*", "auth:{id}", "auth:{contributor_id}:{email}", "auth:*{contributor_id}", "auth:{contributor_id}*"],
)
def test_a_template_that_would_find_strangers_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="auth"):
        KeyTemplate.parse(template)
    with pytest.raises(ValidationError):
        RedisMap.model_validate({"auth": [template]})
