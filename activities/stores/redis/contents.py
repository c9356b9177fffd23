"""What keys hold: strings, hashes, sets, sorted sets, lists and streams, read in pages as items of one kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from activities.stores.redis.data_map import Part
from activities.stores.redis.keyspace import CHUNK, Keyspace

KEYS = 100
"""Keys whose first page is read in one go: together with `CHUNK` it bounds what is in memory."""

READ = """
local key, from, size = KEYS[1], ARGV[1], ARGV[2]
local kind = redis.call('TYPE', key).ok
if kind == 'string' then
  if from == '0' and redis.call('STRLEN', key) > 65536 then return {kind, false, 'whole'} end
  return {kind, redis.call('GET', key)}
elseif kind == 'hash' then return {kind, redis.call('HSCAN', key, from, 'COUNT', size)}
elseif kind == 'set' then return {kind, redis.call('SSCAN', key, from, 'COUNT', size)}
elseif kind == 'zset' then return {kind, redis.call('ZSCAN', key, from, 'COUNT', size)}
elseif kind == 'list' then return {kind, redis.call('LRANGE', key, -from - size, -from - 1)}
elseif kind == 'stream' then
  return {kind, redis.call('XRANGE', key, from == '0' and '-' or '(' .. from, '+', 'COUNT', size)}
end
return {kind}
"""
"""One page of a key, whatever its type; the first of a large string is empty, so that few of them are in memory.

A list is read from its end: what is removed there moves nothing that is still to be read.
"""


@dataclass(frozen=True)
class Item:
    """One piece of what a key holds.

    Args:
        part: What it is.
        text: Its text: a value, a name, a member, an element.
        field: Of a value, the name of its field; of a string, nothing.
        at: Where an element is, counted from the list's end; a value's entry and number in it, of a stream.
        payload: What belongs to it: the value of a hash's field, the score of a member.
    """

    part: Part
    text: str
    field: str = ""
    at: str = ""
    payload: str = ""


@dataclass(frozen=True)
class Page:
    """What was read of a key in one go.

    Args:
        key: The key.
        kind: Its type, in Redis's words; ``none`` where it is not there.
        items: Its items.
        following: Where to read on; nothing at the end.
    """

    key: bytes
    kind: str
    items: list[Item]
    following: str | None


async def first_pages(keyspace: Keyspace, keys: Sequence[bytes], size: int = CHUNK) -> list[Page]:
    """Reads the first page of several keys.

    Args:
        keyspace: Where they are.
        keys: At most `KEYS`.
        size: Of a page, about.
    """
    answers = await keyspace.pipelined([("EVAL", READ, 1, key, 0, size) for key in keys])
    return [_page(key, answer, "0", size) for key, answer in zip(keys, answers, strict=True)]


async def further_pages(keyspace: Keyspace, page: Page) -> AsyncIterator[Page]:
    """Reads the rest of a key.

    Args:
        keyspace: Where it is.
        page: Its first page.
    """
    while (following := page.following) is not None:
        await keyspace.pace.take(CHUNK)
        (answer,) = await keyspace.pipelined([("EVAL", READ, 1, page.key, following, CHUNK)])
        page = _page(page.key, answer, following, CHUNK)
        yield page


def _page(key: bytes, answer: Any, cursor: str, size: int) -> Page:
    kind = _text(answer[0])
    held: Any = answer[1] if len(answer) > 1 else None
    items: list[Item] = []
    following: str | None = None
    match kind:
        case "string":
            items = [] if held is None else [Item(Part.VALUES, _text(held))]
            following = _text(answer[2]) if len(answer) > 2 else None
        case "hash" | "set" | "zset":
            following, flat = _text(held[0]), [_text(each) for each in held[1]]
            items = [*_MEMBERS[kind](flat)]
            following = None if following == "0" else following
        case "list":
            read = int(cursor) + len(held)
            items = [Item(Part.ELEMENTS, _text(each), at=str(number - read)) for number, each in enumerate(held)]
            following = str(read) if len(held) == size else None
        case "stream":
            items = [*_entries(held)]
            following = _text(held[-1][0]) if len(held) == size else None
    return Page(key, kind, items, following)


def _set(flat: Sequence[str]) -> Iterator[Item]:
    for member in flat:
        yield Item(Part.MEMBERS, member)


def _sorted_set(flat: Sequence[str]) -> Iterator[Item]:
    for member, score in _pairs(flat):
        yield Item(Part.MEMBERS, member, payload=score)


def _hash(flat: Sequence[str]) -> Iterator[Item]:
    for field, value in _pairs(flat):
        yield Item(Part.FIELDS, field, payload=value)
        yield Item(Part.VALUES, value, field=field)


_MEMBERS = {"hash": _hash, "set": _set, "zset": _sorted_set}


def _pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _entries(found: Any) -> Iterator[Item]:
    for entry_id, flat in found:
        for number in range(0, len(flat), 2):
            at = f"{_text(entry_id)}/{number + 2}"
            yield Item(Part.ENTRIES, _text(flat[number + 1]), field=_text(flat[number]), at=at)


def _text(data: Any) -> str:
    """Bytes as text, whatever they are, and without loss."""
    return str(data.decode("utf-8", "surrogateescape")) if isinstance(data, bytes) else str(data)
