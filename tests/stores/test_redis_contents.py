"""What Redis keys hold: masked, removed and put back on the real server, each test with keys of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from activities.contract import Contributor, Heartbeat, Recovery, Slice, Tally
from activities.errors import CriticalError
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.redis_keys import Keys

ODD = 'c*?[1]\\"\n%_é'
ANN = Contributor("c-12", ("Ann@x.io", "a+b@x.io"), ("12",))
BOB = Contributor(ODD, ("bob@x.io",), ("w'7",))

RULES: dict[str, list[Any]] = {
    "value": [{"key": "last:*", "values": "email"}],
    "gone": [{"key": "draft:*", "values": "contributor_id", "mask": "remove"}],
    "text": [{"key": "note:*", "values": ["email", "worker_id"], "mask": "text"}],
    "team": [
        {"key": "team:*", "values": "worker_id", "only": "lead"},
        {"key": "team:*", "values": "email", "only": ["mail", "cc"], "mask": "constant"},
        {"key": "team:*", "values": "contributor_id", "only": "owner", "mask": "remove"},
    ],
    "fields": [{"key": "seen", "fields": "contributor_id"}, {"key": "votes", "fields": "email", "mask": "token"}],
    "members": [
        {"key": "online:*", "members": ["worker_id", "email"]},
        {"key": "pairs", "members": "worker_id", "mask": "text"},
    ],
    "scores": [{"key": "rank", "members": "worker_id", "mask": "token"}, {"key": "rank:*", "members": "email"}],
    "list": [{"key": "turns:*", "elements": "worker_id"}, {"key": "log", "elements": "email", "mask": "text"}],
    "stream": [{"key": "events:*", "entries": ["worker_id", "email"], "only": ["who", "by"]}],
}

ITEMS = {
    "value: last:* (values)": 2,
    "gone: draft:* (values)": 1,
    "text: note:* (values)": 1,
    "team: team:* (values of lead)": 1,
    "team: team:* (values of mail, cc)": 2,
    "team: team:* (values of owner)": 1,
    "fields: seen (fields)": 2,
    "fields: votes (fields)": 1,
    "members: online:* (members)": 4,
    "members: pairs (members)": 1,
    "scores: rank (members)": 1,
    "scores: rank:* (members)": 1,
    "list: turns:* (elements)": 3,
    "list: log (elements)": 1,
    "stream: events:* (entries of who, by)": 3,
}
"""Items with an identity of Ann or Bob, by place."""


@pytest.fixture
async def keys(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    async with Redis.from_url(stack.env["ERASURE_REDIS__URL"]) as client:
        own = Keys(client, heartbeat, f"test-{secrets.token_hex(4)}:")
        yield own
        async for key in client.scan_iter(match=f"{own.prefix}*", count=1000):
            await client.unlink(key)


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def fill(keys: Keys) -> None:
    client, p = keys.client, keys.prefix
    pipe = client.pipeline(transaction=False)
    pipe.set(f"{p}last:1", " ANN@X.IO ", ex=900)
    pipe.set(f"{p}last:2", "A+B@x.io")
    pipe.set(f"{p}last:3", "joann@x.io")
    pipe.set(f"{p}draft:1", ODD, ex=900)
    pipe.set(f"{p}draft:2", "c-123", ex=900)
    pipe.set(f"{p}note:1", '{"by": "bob@x.io", "unit": 123, "worker": 12, "cc": "bob@x.io.uk"}')
    pipe.hset(f"{p}team:1", mapping={"lead": "12", "mail": "BOB@x.io", "cc": "ann@x.io", "owner": "c-12", "size": "12"})
    pipe.expire(f"{p}team:1", 900)
    pipe.hset(f"{p}team:2", mapping={"lead": "123", "mail": "notbob@x.io"})
    pipe.hset(f"{p}seen", mapping={"c-12": "yesterday", ODD: "", "c-123": "today"})
    pipe.hset(f"{p}votes", mapping={"Bob@x.io": "5", "bob@x.io.uk": "6"})
    pipe.sadd(f"{p}online:1", "12", "123", "a+b@X.io", "aab@x.io")
    pipe.sadd(f"{p}online:2", "12", "w'7")
    pipe.expire(f"{p}online:2", 900)
    pipe.sadd(f"{p}pairs", "12/13", "112/13")
    pipe.zadd(f"{p}rank", {"12": 1.1, "123": 2, "1": 0.1 + 0.2})
    pipe.zadd(f"{p}rank:eu", {"BOB@X.IO": float("inf"), "rob@x.io": -1})
    pipe.rpush(f"{p}turns:1", "12", "123", "w'7", "12", "1")
    pipe.expire(f"{p}turns:1", 900)
    pipe.rpush(f"{p}log", "ann@x.io came", "joann@x.io came")
    for who, by in (("12", "a"), ("123", "bob@x.io"), ("12", "b"), ("1", "c")):
        pipe.xadd(f"{p}events:1", {"who": who, "by": by, "what": "12"})
    pipe.expire(f"{p}events:1", 900)
    pipe.set(f"{p}other:1", "12")
    pipe.sadd(f"{p}othersonline:1", "12")
    await pipe.execute()


async def test_items_of_every_type_are_masked_or_removed_and_put_back_exactly(
    keys: Keys, both: Slice, vault: BatchVault
) -> None:
    await fill(keys)
    before = await keys.holds()
    store = keys.store(**RULES)
    expected = {_placed(keys, place): count for place, count in ITEMS.items()}
    assert (await store.preview(both)).places == expected
    assert (await store.back_up(both, vault)).places == expected
    assert await keys.holds() == before, "a back-up writes nothing"

    erased = await store.erase(both, vault)

    assert erased.places == {place: Tally(count, count) for place, count in expected.items()}
    assert erased.warnings == []
    assert await keys.holds() == _erased(before, vault)
    again = await store.erase(both, vault)
    assert again.places == {place: Tally(already_clean=count) for place, count in expected.items()}
    assert (await store.preview(both)).records == 0

    restored = await store.restore(both, vault)

    assert await keys.holds() == before
    assert restored.places == {place: Recovery(count, count) for place, count in expected.items()}
    assert (restored.warnings, restored.notes) == ([], [])
    once_more = await store.restore(both, vault)
    assert once_more.places == {place: Recovery(count, intact=count) for place, count in expected.items()}
    assert await keys.holds() == before


def _placed(keys: Keys, place: str) -> str:
    group, rest = place.split(": ", 1)
    return f"{group}: {keys.prefix}{rest}"


def _erased(before: dict[str, Any], vault: BatchVault) -> dict[str, Any]:
    """What is to be left: keys with their TTL, and their neighbours as they were."""

    def token(text: str) -> bytes:
        return vault.masker.token(text).encode()

    after = dict(before)
    del after["draft:1"], after["online:2"]
    after["last:1"] = "ends", token(" ANN@X.IO ")
    after["last:2"] = "lasts", token("A+B@x.io")
    text = b'{"by": "%b", "unit": 123, "worker": %b, "cc": "bob@x.io.uk"}'
    after["note:1"] = "lasts", text % (token("bob@x.io"), token("12"))
    team = {b"lead": token("12"), b"mail": b"DELETED_USER", b"cc": b"DELETED_USER", b"size": b"12"}
    after["team:1"] = "ends", team
    after["seen"] = "lasts", {b"c-123": b"today"}
    after["votes"] = "lasts", {token("Bob@x.io"): b"5", b"bob@x.io.uk": b"6"}
    after["online:1"] = "lasts", {b"123", b"aab@x.io"}
    after["pairs"] = "lasts", {token("12") + b"/13", b"112/13"}
    after["rank"] = "lasts", [(b"1", 0.1 + 0.2), (token("12"), 1.1), (b"123", 2.0)]
    after["rank:eu"] = "lasts", [(b"rob@x.io", -1.0)]
    after["turns:1"] = "ends", [token("12"), b"123", token("w'7"), token("12"), b"1"]
    after["log"] = "lasts", [token("ann@x.io") + b" came", b"joann@x.io came"]
    masked = {b"12": token("12"), b"bob@x.io": token("bob@x.io")}
    entries = [
        (number, {field: masked.get(value, value) if field != b"what" else value for field, value in entry.items()})
        for number, entry in before["events:1"][1]
    ]
    after["events:1"] = "ends", entries
    return after


GUARDED: dict[str, list[Any]] = {
    "g": [
        {"key": "text:*", "values": "worker_id"},
        {"key": "gone:*", "values": "worker_id", "mask": "remove"},
        {"key": "hash:*", "values": "worker_id"},
        {"key": "set:*", "members": "worker_id"},
        {"key": "masked:*", "members": "worker_id", "mask": "token"},
        {"key": "named:*", "fields": "worker_id"},
        {"key": "list:*", "elements": "worker_id"},
        {"key": "stream:*", "entries": "worker_id"},
    ]
}

SINCE: list[tuple[str, list[tuple[Any, ...]], list[tuple[Any, ...]], Any]] = [
    ("text:1", [("SET", "12")], [("SET", "newer")], ("lasts", b"newer")),
    ("text:2", [("SET", "12")], [("DEL",)], None),
    ("text:3", [("SET", "12")], [("DEL",), ("SADD", "x")], ("lasts", {b"x"})),
    ("gone:1", [("SET", "12")], [("SET", "newer")], ("lasts", b"newer")),
    ("gone:2", [("SET", "12", "PX", "1500")], [], None),
    ("hash:1", [("HSET", "f", "12")], [("HSET", "f", "newer")], ("lasts", {b"f": b"newer"})),
    ("hash:2", [("HSET", "f", "12", "g", "1")], [("HDEL", "f")], ("lasts", {b"g": b"1"})),
    ("set:1", [("SADD", "12", "a")], [("DEL",), ("SET", "x")], ("lasts", b"x")),
    ("masked:1", [("ZADD", "1", "12", "2", "a")], [("ZADD", "9", "12")], "both"),
    ("masked:2", [("ZADD", "1", "12")], [("DEL",)], None),
    ("named:1", [("HSET", "12", "old")], [("HSET", "12", "newer")], ("lasts", {b"12": b"newer"})),
    ("list:1", [("RPUSH", "12", "a")], [("LPOP",)], ("lasts", [b"a"])),
    ("stream:1", [("XADD", "1-1", "who", "12"), ("XADD", "2-2", "who", "a")], [("XDEL", "1-1")], "one entry"),
]
"""Key, how it is made, what somebody does after its erasure, and what is to stay."""


async def test_what_somebody_changed_since_is_kept_and_reported(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    part = slice_of(ANN)
    made = time.monotonic()
    await _send(keys, [(key, command) for key, commands, _, _ in SINCE for command in commands])
    await _send(keys, [("list:2", ("RPUSH", "a", "12", "12")), ("hash:3", ("HSET", "f", "12"))])
    store = keys.store(**GUARDED)
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total.changed == len(SINCE) + 3
    await _send(keys, [(key, command) for key, _, commands, _ in SINCE for command in commands])
    await _send(keys, [("list:2", ("LPUSH", "newer")), ("hash:3", ("HSET", "other", "newer"))])
    expected = {key: held for key, _, _, held in SINCE if held is not None}
    if (left := 1.5 - (time.monotonic() - made)) > 0:
        await asyncio.sleep(left)  # until the TTL of one key is over

    restored = await store.restore(part, vault)

    held = await keys.holds()
    assert held.pop("list:2") == ("lasts", [b"newer", b"a", b"12", b"12"]), "what moved is found"
    assert held.pop("hash:3") == ("lasts", {b"f": b"12", b"other": b"newer"})
    assert held.pop("masked:1") == ("lasts", [(vault.masker.token("12").encode(), 1.0), (b"a", 2.0), (b"12", 9.0)])
    assert held.pop("stream:1")[1] == [(b"2-2", {b"who": b"a"})]
    assert held == {key: what for key, what in expected.items() if key in held}
    assert expected.keys() - held.keys() == {"masked:1", "stream:1"}
    assert restored.total == Recovery(len(SINCE) + 3, restored=3, conflicted=len(SINCE))
    assert sum(int(warning.what.split()[0]) for warning in restored.warnings) == len(SINCE)


async def _send(keys: Keys, commands: list[tuple[str, tuple[Any, ...]]]) -> None:
    pipe = keys.client.pipeline(transaction=False)
    for key, (command, *rest) in commands:
        pipe.execute_command(command, f"{keys.prefix}{key}", *rest)
    await pipe.execute()


async def test_only_what_the_erasure_was_about_to_write_is_put_back(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    part = slice_of(ANN)
    store = keys.store(g=[{"key": "set", "members": "worker_id"}, {"key": "hash:*", "values": ["email", "worker_id"]}])
    await _send(keys, [("set", ("SADD", "12", "a")), ("hash:1", ("HSET", "f", "12"))])
    await store.back_up(part, vault)
    await _send(keys, [("set", ("SREM", "12")), ("hash:1", ("HSET", "f", "ANN@x.io")), ("hash:2", ("HSET", "f", "12"))])
    between = await keys.holds()

    erased = await store.erase(part, vault)
    assert (await store.restore(part, vault)).total == Recovery(2, restored=2)

    assert await keys.holds() == between, "neither is a removed member resurrected, nor a late one lost"
    assert erased.total == Tally(matched=2, changed=2, already_clean=1)


async def test_a_value_that_is_written_while_it_is_erased_is_read_again(
    keys: Keys, stack: HasEnv, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    part = slice_of(ANN)
    place = f"g: {keys.prefix}hash (values)"
    await _send(keys, [("hash", ("HSET", "f", "ann@x.io"))])
    with SyncRedis.from_url(stack.env["ERASURE_REDIS__URL"]) as other:
        spellings = iter(["Ann@x.io", "ANN@X.IO"])

        def interfere(told: str, _: int) -> None:
            if told == place and (value := next(spellings, None)):
                other.hset(f"{keys.prefix}hash", "f", value)

        store = Keys(keys.client, interfere, keys.prefix).store(g=[{"key": "hash", "values": "email"}])
        await keys.store(g=[{"key": "hash", "values": "email"}]).back_up(part, vault)
        erased = await store.erase(part, vault)
    token = vault.masker.token("ANN@X.IO").encode()
    assert await keys.holds() == {"hash": ("lasts", {b"f": token})}, "the value that was there last, not an older one"
    assert erased.places == {place: Tally(1, 1)}
    await store.restore(part, vault)
    assert await keys.holds() == {"hash": ("lasts", {b"f": b"ANN@X.IO"})}


async def test_what_is_larger_than_a_page_is_read_to_its_end(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    part = slice_of(ANN)
    strangers = [f"{number}0" for number in range(2, 1_200)]
    await keys.client.set(f"{keys.prefix}text", f"12 {'x' * 70_000} 12")
    await keys.client.sadd(f"{keys.prefix}set", "12", *strangers)
    await keys.client.zadd(f"{keys.prefix}rank", {"12": 1, **dict.fromkeys(strangers, 2)})
    await keys.client.hset(f"{keys.prefix}hash", mapping={**dict.fromkeys(strangers, "1"), "last": "12"})
    await keys.client.rpush(f"{keys.prefix}list", "12", *strangers, "12")
    pipe = keys.client.pipeline(transaction=False)
    for number in range(1, 1_100):
        pipe.xadd(f"{keys.prefix}stream", {"who": "12" if number in (1, 1_099) else "1"}, id=f"{number}-0")
    await pipe.execute()
    before = await keys.holds()
    store = keys.store(
        g=[
            {"key": "text", "values": "worker_id", "mask": "text"},
            {"key": "set", "members": "worker_id"},
            {"key": "rank", "members": "worker_id", "mask": "token"},
            {"key": "hash", "values": "worker_id"},
            {"key": "list", "elements": "worker_id"},
            {"key": "stream", "entries": "worker_id"},
        ]
    )
    assert (await store.preview(part)).records == 8
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total == Tally(8, 8)
    assert (await store.preview(part)).records == 0
    assert (await store.restore(part, vault)).total == Recovery(8, restored=8)
    assert await keys.holds() == before


async def test_a_text_that_two_rules_mask_is_put_back_through_both(keys: Keys, both: Slice, vault: BatchVault) -> None:
    await _send(keys, [("note", ("SET", "bob@x.io and 12"))])
    before = await keys.holds()
    store = keys.store(
        a=[{"key": "note", "values": "email", "mask": "text"}], b=[{"key": "n*", "values": "worker_id", "mask": "text"}]
    )
    await store.back_up(both, vault)
    await store.erase(both, vault)
    masked = str(await keys.holds())
    assert "bob" not in masked
    assert "12" not in masked
    assert (await store.restore(both, vault)).total.conflicted == 0
    assert await keys.holds() == before


async def test_a_stream_keeps_its_groups_its_pending_entries_and_its_numbers(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    client, key = keys.client, f"{keys.prefix}events"
    for number in range(1, 5):
        await client.xadd(key, {"who": "12" if number % 2 else "a"}, id=f"{number}-0")
    await client.xdel(key, "4-0")
    await client.xgroup_create(key, "readers", id="0")
    await client.xreadgroup("readers", "one", {key: ">"}, count=2)
    await client.xgroup_createconsumer(key, "readers", "idle")
    await client.xack(key, "readers", "2-0")

    async def state() -> Any:
        info = await client.xinfo_stream(key)
        (group,) = await client.xinfo_groups(key)
        consumers = [(each["name"], each["pending"]) for each in await client.xinfo_consumers(key, "readers")]
        pending = await client.xpending_range(key, "readers", "-", "+", 10)
        waiting = [(each["message_id"], each["consumer"], each["times_delivered"]) for each in pending]
        numbers = [info[name] for name in ("length", "last-generated-id", "entries-added", "max-deleted-entry-id")]
        return numbers, group, consumers, waiting

    before, content = await state(), await keys.holds()
    store = keys.store(g=[{"key": "events", "entries": "worker_id"}])
    part = slice_of(ANN)
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total == Tally(2, 2)
    assert await state() == before
    assert await keys.holds() != content
    await store.restore(part, vault)
    assert (await state(), await keys.holds()) == (before, content)

    fill_up = "for i = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'who', '12') end"
    await client.eval(fill_up, 1, key)
    with pytest.raises(CriticalError, match="more than 100,000 entries"):
        await store.erase(part, vault)
    assert (await state())[2:] == before[2:]


async def test_the_time_of_a_field_is_kept(keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault) -> None:
    part = slice_of(ANN)
    hashes = ["masked", "renamed", "gone"]
    fields = {"masked": "f", "renamed": "12", "gone": "f"}
    await _send(keys, [(key, ("HSET", fields[key], "12", "other", "1")) for key in hashes])
    await _send(keys, [(key, ("HEXPIRE", "900", "FIELDS", "1", fields[key])) for key in hashes])
    store = keys.store(
        g=[
            {"key": "masked", "values": "worker_id"},
            {"key": "renamed", "fields": "worker_id", "mask": "token"},
            {"key": "gone", "values": "worker_id", "mask": "remove"},
        ]
    )
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total.changed == 3
    token = vault.masker.token("12")
    await _assert_ends(keys, {"masked": "f", "renamed": token})
    await store.restore(part, vault)
    await _assert_ends(keys, fields)
    assert await keys.client.httl(f"{keys.prefix}gone", "other") == [-1]


async def _assert_ends(keys: Keys, fields: dict[str, str]) -> None:
    for key, field in fields.items():
        (left,) = await keys.client.httl(f"{keys.prefix}{key}", field)
        assert 800 < left <= 900, key


async def test_what_cannot_be_undone_goes_for_good(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await _send(keys, [("list", ("RPUSH", "12", "a", "12", "12", "b"))])
    await _send(keys, [("stream", ("XADD", f"{n}-1", "who", who, "by", "12")) for n, who in enumerate(("12", "a"), 1)])
    await _send(keys, [("stream", ("XADD", "3-1", "who", "a"))])
    store = keys.store(
        g=[
            {"key": "list", "elements": "worker_id", "mask": "remove"},
            {"key": "stream", "entries": "worker_id", "mask": "remove"},
        ]
    )
    part = slice_of(ANN)
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total == Tally(6, 6)
    assert await keys.holds() == {"list": ("lasts", [b"a", b"b"]), "stream": ("lasts", [(b"3-1", {b"who": b"a"})])}


async def test_keys_of_another_type_are_not_looked_into_and_that_is_said(
    keys: Keys, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await _send(keys, [("on:1", ("RPUSH", "12")), ("on:2", ("SADD", "12")), ("on:3", ("RPUSH", "12"))])
    store = keys.store(g=[{"key": "on:*", "members": "worker_id"}])
    part = slice_of(ANN)
    await store.back_up(part, vault)
    erased = await store.erase(part, vault)
    assert [warning.what for warning in erased.warnings] == [
        "2 keys of this form are of type list, and were not looked into"
    ]
    assert erased.total == Tally(1, 1)
