"""Changes of what keys hold: planned, kept in the vault, carried out, and undone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

from redis.exceptions import ResponseError

from activities.errors import CriticalError
from activities.masking import Masker
from activities.stores.redis.contents import Item
from activities.stores.redis.data_map import Part
from activities.stores.redis.finding import Look, Match
from activities.stores.redis.keyspace import Command, Keyspace
from activities.stores.redis.scripts import ERASE, RESTORE

STREAM = 100_000
"""Entries of a stream that is written anew in one go, while the server does nothing else: about half a second."""

NEVER = -1
"""The end of what has no TTL."""


@dataclass(frozen=True)
class Change:
    """One item that is about to be masked or removed: its pre-image.

    Args:
        place: Of the rule.
        key: The key.
        kind: The key's type.
        item: The item as it is.
        mask: What it becomes; None where it goes.
        expires: When the key ends, in ms since 1970; kept for items that go, since the key may go with them.
        field_expires: When the field ends.
    """

    place: str
    key: bytes
    kind: str
    item: Item
    mask: str | None
    expires: int = NEVER
    field_expires: int = NEVER

    @property
    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "key": self.key.decode("utf-8", "surrogateescape"),
            "kind": self.kind,
            "item": asdict(self.item),
            "mask": self.mask,
            "expires": self.expires,
            "field_expires": self.field_expires,
        }

    @classmethod
    def of(cls, place: str, record: dict[str, Any]) -> Change:
        """Reads a record of a place."""
        item = Item(**{**record["item"], "part": Part(record["item"]["part"])})
        key = record["key"].encode("utf-8", "surrogateescape")
        return cls(place, key, record["kind"], item, record["mask"], record["expires"], record["field_expires"])

    @property
    def spot(self) -> tuple[bytes, str, str, str]:
        """Where it is: a later change of the same spot replaces an earlier one."""
        item = self.item
        named = item.text if item.part in (Part.FIELDS, Part.MEMBERS) else ""
        return self.key, item.field, item.at, named

    @property
    def arguments(self) -> tuple[bytes, str, bytes, str, bytes]:
        """Of the scripts: field, at, text, whether there is a mask, the mask."""
        item = self.item
        at = "value" if item.part is Part.VALUES else item.at
        return _raw(item.field), at, _raw(item.text), "0" if self.mask is None else "1", _raw(self.mask or "")


async def plan(keyspace: Keyspace, page: Sequence[Match], looks: Mapping[str, Look], masker: Masker) -> list[Change]:
    """What is to become of matches, with all that it takes to put them back.

    Args:
        keyspace: Where they are.
        page: The matches.
        looks: Of their rules, by place.
        masker: Of the batch.

    Raises:
        CriticalError: A stream is too long to be written anew.
    """
    changes = [
        Change(each.place, each.key, each.kind, each.item, looks[each.place].masked(each.item.text, masker))
        for each in page
    ]
    rewritten = [*dict.fromkeys(each.key for each in changes if each.kind == "stream" and each.mask is not None)]
    lengths = await keyspace.pipelined([("XLEN", key) for key in rewritten])
    if any(length > STREAM for length in lengths):
        raise CriticalError(
            next(each.place for each in changes if each.kind == "stream"),
            f"a stream has more than {STREAM:,} entries: to write it anew would stall the server",
            'Trim it, or say mask = "remove" there, and rollback = false for redis.',
        )
    if all(each.mask is not None for each in changes):
        return changes
    keys = [*dict.fromkeys(each.key for each in changes)]
    ends = dict(zip(keys, await keyspace.pipelined([("PTTL", key) for key in keys]), strict=True))
    fields = [each.item.field or each.item.text if each.kind == "hash" else "" for each in changes]
    asked: list[Command] = [
        ("HPTTL", each.key, "FIELDS", 1, _raw(field)) for each, field in zip(changes, fields, strict=True) if field
    ]
    answers = iter(await keyspace.pipelined(asked, strict=False))
    return [
        replace(each, expires=_end(ends[each.key]), field_expires=_field_end(next(answers)) if field else NEVER)
        for each, field in zip(changes, fields, strict=True)
    ]


async def carry_out(keyspace: Keyspace, changes: Sequence[Change]) -> list[int]:
    """Masks or removes items, each if it is still as it was read.

    Args:
        keyspace: Where they are.
        changes: What to do, one key's changes side by side.

    Returns:
        For each: 1 if it was carried out, 0 if the item is not as it was read.
    """
    commands: list[Command] = []
    for (key, kind), group in _by_key(changes):
        flat = [argument for each in group for argument in each.arguments]
        commands.append(("EVAL", ERASE, 1, key, kind, f"erased {secrets.token_hex(16)}", *flat))
    return [done for answer in await keyspace.pipelined(commands) for done in answer]


async def undo(keyspace: Keyspace, changes: Sequence[Change]) -> list[int]:
    """Puts items back, each if nobody wrote it since.

    Args:
        keyspace: Where they are.
        changes: What was done, one key's changes side by side.

    Returns:
        For each: 2 put back, 1 as it was already, 0 written or removed by somebody else since, or its time is over.
    """
    commands: list[Command] = []
    for (key, kind), group in _by_key(changes):
        flat = [
            argument
            for each in group
            for argument in (*each.arguments, _raw(each.item.payload), _left(each.field_expires))
        ]
        ends = {each.expires for each in group}
        commands.append(("EVAL", RESTORE, 1, key, kind, _left(max(ends)), *flat))
    return [outcome for answer in await keyspace.pipelined(commands) for outcome in answer]


def _by_key(changes: Sequence[Change]) -> Iterable[tuple[tuple[bytes, str], list[Change]]]:
    return ((owner, [*group]) for owner, group in groupby(changes, lambda each: (each.key, each.kind)))


def _end(ttl: int) -> int:
    """When something ends, in ms since 1970, from what is left of it."""
    return NEVER if ttl < 0 else time.time_ns() // 1_000_000 + ttl


def _field_end(answer: Any) -> int:
    """When a field ends; never, where the server knows of no such thing."""
    if isinstance(answer, ResponseError):
        if "unknown command" not in str(answer).lower():
            raise answer
        return NEVER
    return _end(answer[0])


def _left(end: int) -> int:
    """What is left, in ms; 0 where it is over."""
    return NEVER if end == NEVER else max(0, end - time.time_ns() // 1_000_000)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
