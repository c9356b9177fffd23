"""All keys of a node, scanned at bounded speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from activities.stores.redis.keyspace import Keyspace

STEP = 1_000
"""Keys, or members of a large key, that one step asks for."""


class Pace:
    """Keeps a scan at a number of keys a second.

    Args:
        per_second: The number.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._next = time.monotonic()

    async def spend(self, keys: int) -> None:
        """Waits until so many keys may be looked at."""
        now = time.monotonic()
        due = max(now, self._next)
        self._next = due + keys / self._per_second
        await asyncio.sleep(max(0.0, due - now))


async def pages(keyspace: Keyspace, node: Any, pace: Pace) -> AsyncIterator[list[bytes]]:
    """Yields the keys of a node; a key may come twice, as Redis says of SCAN.

    Args:
        keyspace: The connection.
        node: Of `Keyspace.nodes`.
        pace: How fast.
    """
    cursor: Any = 0
    while True:
        await pace.spend(STEP)
        cursor, page = _of_node(await keyspace.ask(node, "SCAN", cursor, "COUNT", STEP))
        cursor = _of_node(cursor)
        yield page
        if int(cursor) == 0:
            return


async def layout(keyspace: Keyspace, node: Any) -> Any:
    """Which node has which slots now; nothing where there is one server only."""
    return None if node is None else repr(await keyspace.ask(node, "CLUSTER SLOTS"))


async def facts(keyspace: Keyspace, node: Any) -> dict[str, Any]:
    """What a node says of itself."""
    answer = await keyspace.ask(node, "INFO")
    return dict(_of_node(answer) if node is not None else answer)


async def size(keyspace: Keyspace, node: Any) -> int:
    """How many keys a node has."""
    return int(await keyspace.ask(node, "DBSIZE"))


async def answers(keyspace: Keyspace, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """What some commands with one key each are answered with; an error is among the answers."""
    return await keyspace.pipelined(commands, strict=False)


def _of_node(answer: Any) -> Any:
    """An answer that a cluster's client may give by node."""
    if isinstance(answer, dict) and len(answer) == 1:
        (answer,) = answer.values()
    return answer
