"""Reads Redis: the name of every key, and all that it holds.

keyspace  all keys of a node, scanned at bounded speed
contents  what keys hold, whatever their type, a bounded piece at a time
scanner   reads a node
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from activities.stores.redis.connection import RedisSettings
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import Keyspace
from activities.verification.contract import ScannerKind
from activities.verification.scanners.redis.scanner import RedisScanner

_PIECE = re.compile(r"\\(?P<literal>.)|\{\w+\}|\*|(?P<plain>.)", re.DOTALL)


def _open(keyspace: Keyspace, settings: RedisSettings) -> RedisScanner:
    return RedisScanner(keyspace, settings.keys_per_second)


def _mapped(data_map: RedisMap) -> list[str]:
    items = (item for group in data_map.root.values() for item in group)
    return ["".join(_glob(item if isinstance(item, str) else item.key)) for item in items]


def _glob(form: str) -> Iterator[str]:
    """A form of key with anything where it has an identity."""
    for piece in _PIECE.finditer(form):
        text = piece["literal"] or piece["plain"]
        yield "*" if text is None else f"[{text}]" if text in "*?[" else text


KIND: ScannerKind[Keyspace, RedisMap, RedisSettings] = ScannerKind(name="redis", open=_open, mapped=_mapped)
