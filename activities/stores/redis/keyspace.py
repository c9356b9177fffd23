"""All keys of a Redis, wherever they are: scanned at bounded speed, and worked on in pipelines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError

Client = Redis | RedisCluster

Command = tuple[str | bytes | int, ...]

CHUNK = 1_000
"""Keys a pipeline, and what one step of a scan is asked for."""


class MovedWhileScannedError(RedisConnectionError):
    """Slots changed their node during a scan: keys may have been missed."""


class Keyspace:
    """The keys of one server, or of all nodes of a cluster.

    Args:
        client: The client.
        keys_per_second: How many keys a scan looks at in a second.
    """

    def __init__(self, client: Client, keys_per_second: int) -> None:
        self.client = client
        self.pace = Pace(keys_per_second)

    async def scan(self, match: bytes, steps: int | None = None) -> AsyncIterator[list[bytes]]:
        """Yields keys of a form, in pages; a key may come twice, as Redis says of SCAN.

        Args:
            match: A glob in Redis's own notation.
            steps: Of each node's scan, at most; all of them unless said.

        Raises:
            MovedWhileScannedError: Only a new scan can tell.
        """
        layout = await self._layout()
        for node in await self.nodes():
            cursor = taken = 0
            while steps is None or taken < steps:
                await self.pace.take(CHUNK)
                cursor, page = await self._step(node, "SCAN", cursor, "MATCH", match, "COUNT", CHUNK)
                taken += 1
                yield [*dict.fromkeys(page)]
                if cursor == 0:
                    break
        if await self._layout() != layout:
            raise MovedWhileScannedError

    async def nodes(self) -> list[Any]:
        """The primaries of a cluster; of a single server, that it is the only one."""
        if isinstance(self.client, RedisCluster):
            await self.client.initialize()
            return sorted(self.client.get_primaries(), key=lambda node: str(node.name))
        return [None]

    async def ask(self, node: Any, *command: str | bytes | int) -> Any:
        """Sends one command without a key.

        Args:
            node: Of `nodes`.
            command: The command.
        """
        client: Any = self.client
        return await client.execute_command(*command, **({"target_nodes": node} if node is not None else {}))

    async def pipelined(self, commands: Sequence[Command], *, strict: bool = True) -> list[Any]:
        """Sends commands with one key each in one go.

        Args:
            commands: The commands.
            strict: Whether the first error is raised; else it is among the answers.
        """
        if not commands:
            return []
        async with self.client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute(raise_on_error=strict)
        return answers

    async def _step(self, node: Any, *command: str | bytes | int) -> tuple[int, list[bytes]]:
        answer = await self.ask(node, *command)
        if isinstance(answer, dict):  # a cluster's client answers by node
            (answer,) = answer.values()
        cursor, page = answer
        if isinstance(cursor, dict):
            (cursor,) = cursor.values()
        return int(cursor), page

    async def _layout(self) -> Any:
        """Which node has which slots now."""
        if not isinstance(self.client, RedisCluster):
            return None
        node = (await self.nodes())[0]
        return await self.client.execute_command("CLUSTER SLOTS", target_nodes=node)


class Pace:
    """Keeps work at a number of units a second.

    Args:
        per_second: The units.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    async def take(self, units: int) -> None:
        """Waits until so many units may be spent.

        Args:
            units: How many.
        """
        now = time.monotonic()
        wait = self._free_at - now
        self._free_at = max(now, self._free_at) + units / self._per_second
        if wait > 0:
            await asyncio.sleep(wait)
