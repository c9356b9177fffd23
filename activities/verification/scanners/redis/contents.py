"""What keys hold, whatever their type, a bounded piece at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from activities.stores.redis.keyspace import Keyspace
from activities.verification.content import Content
from activities.verification.packing import OPENERS
from activities.verification.scanners.redis.keyspace import STEP, Pace, answers

TOGETHER = 100
"""Keys whose first pieces are asked for in one go."""

PIECE = 256 * 1024
"""Bytes of a string that are read at once."""

OVERLAP = 4 * 1024
"""Bytes that two pieces of a string share: an identity is shorter, however it is escaped."""

FIRST = {
    b"string": ("GETRANGE", 0, PIECE - 1),
    b"hash": ("HSCAN", 0, "COUNT", STEP),
    b"set": ("SSCAN", 0, "COUNT", STEP),
    b"zset": ("ZSCAN", 0, "COUNT", STEP),
    b"list": ("LRANGE", 0, STEP - 1),
    b"stream": ("XRANGE", "-", "+", "COUNT", STEP),
}
"""What is asked of a key first, by its type."""

OPENED = 16 * 1024 * 1024
"""Characters that a compressed value may come to; a larger one is not looked at."""

ZLIB = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How values begin that zlib compressed; nothing here opens these."""

_WORD = r"[\w\udc80-\udcff.'+%@\\&;-]"
_WORD_AT_START = re.compile(rf"{_WORD}{{1,{OVERLAP // 2}}}(?!{_WORD})")
_WORD_AT_END = re.compile(rf"(?<!{_WORD}){_WORD}+\Z")

Value = tuple[str, str, str]
"""The part of the key (``value``, ``members``), the name of the field if it has one, and the text."""


@dataclass(frozen=True)
class Piece:
    """A bounded piece of what a key holds.

    Args:
        key: The key.
        values: What was read.
        unread: Why something was not, if so: never a value.
    """

    key: bytes
    values: list[Value]
    unread: str | None = None


class Contents:
    """Reads what keys hold.

    Args:
        keyspace: The connection.
        pace: How fast members of large keys are read.
    """

    def __init__(self, keyspace: Keyspace, pace: Pace) -> None:
        self._keyspace = keyspace
        self._pace = pace

    async def of(self, keys: Sequence[bytes]) -> AsyncIterator[Piece]:
        """Yields all that some keys hold, in pieces; a key that has gone meanwhile holds nothing.

        Args:
            keys: The keys.
        """
        for start in range(0, len(keys), TOGETHER):
            some = keys[start : start + TOGETHER]
            types = dict(zip(some, await answers(self._keyspace, [("TYPE", key) for key in some]), strict=True))
            known = [key for key in some if types[key] in FIRST]
            first = await answers(self._keyspace, [_with_key(FIRST[types[key]], key) for key in known])
            for key, answer in zip(known, first, strict=True):
                async for piece in self._pieces(key, types[key], answer):
                    yield piece
            for key in some:
                if types[key] not in FIRST and types[key] != b"none":
                    yield Piece(key, [], _unread(types[key]))

    async def _pieces(self, key: bytes, kind: bytes, answer: Any) -> AsyncIterator[Piece]:
        """Reads a key on from the answer to what was asked first."""
        position: Any = 0
        while True:
            if isinstance(answer, Exception):
                if not isinstance(answer, ResponseError):
                    raise answer
                yield Piece(key, [], _unread(answer))
                return
            packed = kind == b"string" and position == 0 and answer.startswith((*OPENERS, *ZLIB))
            position, values = _READERS[kind](position, answer)
            if packed:
                opened, unread = _opened(answer) if position is None else ([], "are compressed, and too large to open")
                yield Piece(key, [*values, *opened], unread)
            else:
                yield Piece(key, values)
            if (command := _next(kind, position)) is None:
                break
            await self._pace.spend(STEP)
            (answer,) = await answers(self._keyspace, [_with_key(command, key)])
        if kind == b"stream":
            yield await self._consumers(key)

    async def _consumers(self, key: bytes) -> Piece:
        """The names of a stream's groups and of their consumers."""
        (groups,) = await answers(self._keyspace, [("XINFO GROUPS", key)])
        if isinstance(groups, Exception):
            return Piece(key, [], _unread(groups))
        names = [_named(group) for group in groups]
        found = await answers(self._keyspace, [("XINFO CONSUMERS", key, name) for name in names])
        values: list[Value] = [("groups", "", _text(name)) for name in names]
        for consumers in found:
            if isinstance(consumers, Exception):
                return Piece(key, values, _unread(consumers))
            values += [("consumers", "", _text(_named(consumer))) for consumer in consumers]
        return Piece(key, values)


def _with_key(command: Sequence[str | bytes | int], key: bytes) -> tuple[str | bytes | int, ...]:
    return (command[0], key, *command[1:])


def _unread(answer: Any) -> str:
    """Why a key was not read: its type, or what the server refused; never its text, which may quote a value."""
    if isinstance(answer, NoPermissionError):
        return "may not be read by this user"
    if isinstance(answer, Exception):
        return f"could not be read ({type(answer).__name__}): they changed meanwhile, or the server refused it"
    kind = answer.decode("ascii", "replace")
    return f"are of the type {kind if kind.replace('-', '').isalnum() else '?'}, which no command shows"


def _opened(value: bytes) -> tuple[list[Value], str | None]:
    """What a compressed value holds, and why not all of it is there, if so."""
    values: list[Value] = []
    unread: list[str] = []
    size = 0

    def look(texts: Sequence[str], _: Sequence[str]) -> None:
        nonlocal size
        size += sum(map(len, texts))
        if size <= OPENED:
            values.extend(("value", "", text) for text in texts)

    if value.startswith(ZLIB):
        unread.append("zlib")
    content = Content(look, unread.append)
    content.feed(value)
    content.end()
    if size > OPENED:
        return values, "are compressed, and too large to open"
    return values, f"are compressed ({unread[0]}), and not opened" if unread else None


def _next(kind: bytes, position: Any) -> tuple[str | bytes | int, ...] | None:
    """What is asked of a key next; nothing at its end."""
    match kind:
        case b"string" if position is not None:
            return "GETRANGE", position, position + PIECE - 1
        case b"hash" | b"set" | b"zset" if int(position) != 0:
            return f"{kind[0:1].decode().upper()}SCAN", position, "COUNT", STEP
        case b"list" if position is not None:
            return "LRANGE", position, position + STEP - 1
        case b"stream" if position is not None:
            return "XRANGE", b"(" + position, "+", "COUNT", STEP
    return None


def _string(position: int, answer: bytes) -> tuple[Any, list[Value]]:
    """Where the next piece begins, and what was read without words that are cut: the other piece has them whole."""
    text = _text(answer)
    following = position + PIECE - OVERLAP if len(answer) == PIECE else None
    if position > 0 and (cut := _WORD_AT_START.match(text)):
        text = text[cut.end() :]
    if following is not None and (cut := _WORD_AT_END.search(text, max(0, len(text) - OVERLAP // 2))):
        text = text[: cut.start()]
    return following, [("value", "", text)] if text else []


def _hash(_: Any, answer: Any) -> tuple[Any, list[Value]]:
    position, held = answer
    values: list[Value] = []
    for field, value in held.items():
        values += [("names of fields", "", _text(field)), ("value", _text(field), _text(value))]
    return position, values


def _set(_: Any, answer: Any) -> tuple[Any, list[Value]]:
    position, members = answer
    return position, [("members", "", _text(member)) for member in members]


def _sorted_set(_: Any, answer: Any) -> tuple[Any, list[Value]]:
    position, held = answer
    return position, [("members", "", _text(member)) for member, _ in held]


def _list(position: int, answer: Any) -> tuple[Any, list[Value]]:
    following = position + len(answer) if len(answer) == STEP else None
    return following, [("elements", "", _text(element)) for element in answer]


def _stream(_: Any, answer: Any) -> tuple[Any, list[Value]]:
    values: list[Value] = []
    for _, entry in answer:
        for field, value in (entry or {}).items():
            values += [("names of fields", "", _text(field)), ("entry", _text(field), _text(value))]
    return (answer[-1][0] if len(answer) == STEP else None), values


_READERS: dict[bytes, Callable[[Any, Any], tuple[Any, list[Value]]]] = {
    b"string": _string,
    b"hash": _hash,
    b"set": _set,
    b"zset": _sorted_set,
    b"list": _list,
    b"stream": _stream,
}


def _named(entry: Any) -> bytes:
    """The name of a group or consumer."""
    name: bytes = entry["name"]
    return name


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
