"""Streams that feed a table: waiting until what was on its way has arrived, and saying how far they were read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.contract import Finding, Heartbeat
from activities.stores.clickhouse.connection import Client

CONSUMERS = """
    SELECT table, assignments.topic AS topics, assignments.partition_id AS partitions,
        assignments.current_offset AS offsets, rdkafka_stat AS statistics
    FROM {consumers} WHERE database = {database} AND table IN {tables}
"""

FLUSH = "SELECT toUInt64(value) AS flush FROM system.settings WHERE name = 'stream_flush_interval_ms'"

PATIENCE = 120.0
"""Seconds that the end of a stream is waited for."""

MARGIN = 0.5
"""Seconds beyond a stream's own flush interval after which what it read stands in its tables."""

_OWN_FLUSH = re.compile(r"kafka_flush_interval_ms = (\d+)")


@dataclass(frozen=True)
class Stream:
    """A table whose engine reads a stream.

    Args:
        name: Its name.
        engine: Its engine.
        created: The statement that makes it.
    """

    name: str
    engine: str
    created: str


@dataclass(frozen=True)
class Position:
    """How far streams were read.

    Args:
        offsets: By stream, topic and partition: the next message.
        ends: The messages that there were, where ClickHouse keeps the library's statistics.
    """

    offsets: dict[tuple[str, str, int], int] = field(default_factory=dict)
    ends: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def reached(self, ends: dict[tuple[str, str, int], int]) -> bool:
        """Whether every partition was read to an end that is known."""
        return bool(ends) and all(self.offsets.get(key, -1) >= end for key, end in ends.items())


class Arrivals:
    """What streams bring to one table.

    Args:
        client: The client.
        streams: Those that feed it.
        heartbeat: Told how far they are.
        patience: Seconds that their end is waited for, all times together.
    """

    def __init__(
        self, client: Client, streams: Sequence[Stream], heartbeat: Heartbeat, patience: float = PATIENCE
    ) -> None:
        self._client = client
        self._streams = streams
        self._heartbeat = heartbeat
        self._left = patience
        self.warnings: list[Finding] = []
        self.read_to: list[str] = []

    async def settle(self) -> None:
        """Waits until all rows that were on their way when it was called stand in their tables.

        A stream is at its end where its position stays for as long as it collects rows before it writes them; one
        that never rests, where it was read beyond the end that was known at first.
        """
        kafka = [stream for stream in self._streams if stream.engine == "Kafka"]
        self.warnings = [_blind(stream) for stream in self._streams if stream.engine != "Kafka"]
        if not self._streams:
            return
        pause = await self._pause()
        position = await self._position(kafka)
        ends, settled = position.ends, False
        while not settled and self._left > 0:
            await asyncio.sleep(pause)
            self._left -= pause
            earlier, position = position, await self._position(kafka)
            rests = set(earlier.offsets) == set(position.offsets) and earlier.offsets == position.offsets
            settled = not self._unread(kafka, position) and (rests or earlier.reached(ends))
        self.read_to = [
            f"{stream}: topic {topic}, partition {partition}, read to offset {offset}"
            for (stream, topic, partition), offset in sorted(position.offsets.items())
        ]
        if not settled:
            self.warnings += [
                Finding(
                    stream.name,
                    "no consumer of it reads" if stream in self._unread(kafka, position) else "was not read to its end",
                    "Rows that it brings later are not masked: look after it, then submit again.",
                )
                for stream in kafka
            ]

    def go_on(self) -> None:
        """Says that they still brought identities when nobody looked any more."""
        what, remedy = "still brings rows with an identity", "Stop their source, then submit again."
        self.warnings += [Finding(stream.name, what, remedy) for stream in self._streams]

    def _unread(self, kafka: Sequence[Stream], position: Position) -> list[Stream]:
        read = {name for name, _, _ in position.offsets}
        return [stream for stream in kafka if stream.name not in read]

    async def _pause(self) -> float:
        (row,) = await self._client.fetch(FLUSH)
        own = [int(found[1]) for stream in self._streams if (found := _OWN_FLUSH.search(stream.created))]
        flush = max(own) if len(own) == len(self._streams) else max([row["flush"], *own])
        return float(flush) / 1000 + MARGIN

    async def _position(self, kafka: Sequence[Stream]) -> Position:
        position = Position()
        if not kafka:
            return position
        tables = [stream.name for stream in kafka]
        consumers = CONSUMERS.replace("{consumers}", self._client.cluster.system("kafka_consumers"))
        for row in await self._client.fetch(consumers, database=self._client.database, tables=tables):
            _read(position, row)
        self._heartbeat("messages read from streams", sum(position.offsets.values()))
        return position


def _read(position: Position, row: dict[str, Any]) -> None:
    for topic, partition, offset in zip(row["topics"], row["partitions"], row["offsets"], strict=True):
        position.offsets[row["table"], topic, partition] = max(0, offset)
    if row["statistics"]:
        for topic, known in json.loads(row["statistics"]).get("topics", {}).items():
            for partition, each in known["partitions"].items():
                key = (row["table"], topic, int(partition))
                if key in position.offsets and each["hi_offset"] >= 0:
                    position.ends[key] = each["hi_offset"]


def _blind(stream: Stream) -> Finding:
    what = f"is a {stream.engine} stream, of which ClickHouse does not say how far it was read"
    return Finding(stream.name, what, "Rows that it brings later are not masked: look after it, then submit again.")
