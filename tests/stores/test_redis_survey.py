"""Redis's drift gate: keys that look as if they were somebody's, on a real server of its own."""

from __future__ import annotations

import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from activities import drift
from activities.contract import Heartbeat
from activities.identities import IdentityKind
from activities.stores.redis import KIND
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import Keyspace
from activities.stores.redis.store import RedisStore
from activities.suspicion import Suspicion
from devstack.valkey import Valkey
from starter.draft import Drafted, compose
from tests.stores.redis_keys import FAST, Keys

SHAPE = {IdentityKind.CONTRIBUTOR_ID: r"c-\d{4}", IdentityKind.WORKER_ID: r"w-\d{3}"}
IDS = [f"c-{number:04}" for number in range(8)]
WORKERS = [f"w-{number:03}" for number in range(8)]
MAILS = [f"p{number}@x.io" for number in range(8)]

FOUND = {
    "profile:*": ["profile:{contributor_id}"],
    "cart:\\{*\\}:*": ["cart:\\{{contributor_id}\\}:*"],
    "by-mail:*": ["by-mail:{email}"],
    "worker:*": ["worker:{worker_id}"],
    "online:* (members)": [{"key": "online:*", "members": "worker_id"}],
    "score (members)": [{"key": "score", "members": "contributor_id"}],
    "ids (fields)": [{"key": "ids", "fields": "email"}],
    "team:* (values of lead)": [{"key": "team:*", "values": "worker_id", "only": ["lead"]}],
    "team:* (values of owner_email)": [{"key": "team:*", "values": "email", "only": ["owner_email"]}],
    "turns (elements)": [{"key": "turns", "elements": "worker_id"}],
    "events:* (entries of who)": [{"key": "events:*", "entries": "worker_id", "only": ["who"]}],
    "note:* (values)": [{"key": "note:*", "values": "email", "mask": "text"}],
    "*": [],
}
"""What is to be suspected, and how it could be named."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"), tied=True, options=("--enable-debug-command", "local"))
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
async def keys(server: Valkey, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    async with Redis.from_url(server.env["ERASURE_REDIS__URL"]) as client:
        await client.flushall()
        yield Keys(client, heartbeat)


async def fill(client: Redis) -> None:
    pipe = client.pipeline(transaction=False)
    for number, (own, worker, mail) in enumerate(zip(IDS, WORKERS, MAILS, strict=True)):
        pipe.hset(f"profile:{own}", mapping={"email": mail})
        pipe.set(f"cart:{{{own}}}:{number}", "x")
        pipe.set(f"by-mail:{mail}", "x")
        pipe.set(f"worker:{number}", "x")
        pipe.sadd(f"online:{number}", worker)
        pipe.zadd("score", {own: 1})
        pipe.hset("ids", mail, number)
        pipe.hset(f"team:{number}", mapping={"lead": worker, "owner_email": "?", "size": 4})
        pipe.rpush("turns", worker)
        pipe.xadd(f"events:{number}", {"who": worker, "what": "opened"})
        pipe.set(f"note:{number}", f"call {mail}, please")
        pipe.set(f"stats:job:{number}", number)
        pipe.rpush(f"queue:{number}", "unit-7", "unit-8")
        pipe.set(f"mail_{mail}_x", "x")
    await pipe.execute()


def suspicion(*ignore: str) -> Suspicion:
    return Suspicion(SHAPE, ("redis *",), ignore)


async def test_forms_of_keys_that_hold_identities_are_suspected_unless_the_data_map_names_them(keys: Keys) -> None:
    await fill(keys.client)
    empty: Any = drift.nothing(KIND)
    suspects = await RedisStore(Keyspace(keys.client, FAST), empty, keys.heartbeat).survey(suspicion())

    found = {suspect.place: [item for items in suspect.entry.values() for item in items] for suspect in suspects}
    assert found == FOUND
    assert not any(value in repr(suspects) for value in (*IDS, *WORKERS, *MAILS, "x.io", "opened"))

    draft = tomllib.loads(compose({"redis": Drafted(suspects)}, []))["redis"]
    named = RedisMap.model_validate(draft)
    again = await RedisStore(Keyspace(keys.client, FAST), named, keys.heartbeat).survey(suspicion())
    assert [suspect.place for suspect in again] == ["*"], "what has no form of its own has to be named by hand"
    ignoring = suspicion("redis [*]", "redis profile:[*]", "redis team:*")
    kept = await RedisStore(Keyspace(keys.client, FAST), empty, keys.heartbeat).survey(ignoring)
    assert {suspect.place for suspect in kept} == {place for place in FOUND if not place.startswith(("*", "p", "team"))}


async def test_names_that_are_words_are_not_shown_where_many_share_a_spot(keys: Keys) -> None:
    names = [f"{first}{second}zq" for first in "abcdefgh" for second in "klm"]
    pipe = keys.client.pipeline(transaction=False)
    for name in names:
        for thing in ("mails", "more", "rest"):
            pipe.sadd(f"{name}:{thing}", "who@x.io")
    await pipe.execute()
    suspects = await keys.store().survey(suspicion())
    assert {suspect.place for suspect in suspects} == {f"*:{thing} (members)" for thing in ("mails", "more", "rest")}
    assert not any(name in repr(suspects) for name in names)


async def test_a_survey_looks_at_a_bounded_number_of_keys(keys: Keys) -> None:
    await keys.client.execute_command("DEBUG", "POPULATE", 30_000, "blob")
    await keys.client.config_resetstat()
    assert await keys.store().survey(suspicion()) == []
    stats = await keys.client.info("commandstats")
    assert stats["cmdstat_scan"]["calls"] == 20
    assert stats["cmdstat_type"]["calls"] == 20


async def test_what_a_user_may_not_look_into_is_not_called_clean(keys: Keys, server: Valkey) -> None:
    await fill(keys.client)
    await keys.client.execute_command("ACL", "SETUSER", "few", "reset", "on", ">secret", "~profile:*", "+scan")
    async with Redis(port=server.port, username="few", password="secret") as few:
        suspects = await keys.store(few).survey(suspicion())
        ignoring = await keys.store(few).survey(suspicion("redis (contents)"))
    unread, *by_name = sorted(suspects, key=lambda suspect: suspect.place)
    assert (unread.place, unread.entry) == ("(contents)", {})
    assert "may not read what some keys hold" in unread.why
    assert sorted(ignoring, key=lambda suspect: suspect.place) == by_name != []


async def test_a_scan_keeps_to_its_pace(keys: Keys) -> None:
    await keys.client.execute_command("DEBUG", "POPULATE", 3_000, "blob")
    started = time.monotonic()
    found = [key async for page in Keyspace(keys.client, 10_000).scan(b"blob:*") for key in page]
    assert len(set(found)) == 3_000
    assert time.monotonic() - started >= 2 * 1_000 / 10_000
