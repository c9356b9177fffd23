"""The census of Redis: one pass over all keys, their values read in pipelines."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from devstack.platform.redis import BATCH, KINDS
from devstack.platform.tally import MASK, Batch, Count, Tally


async def count(client: Redis, key_prefix: str, batch: Batch) -> list[Count]:
    """Counts the keys of each kind.

    Args:
        client: Connected to the platform's database.
        key_prefix: What each key starts with.
        batch: Whom to look for.
    """
    tallies = {kind: Tally() for kind in KINDS}
    for kind, tally in tallies.items():
        start = f"{key_prefix}{kind}:"
        found = [key async for key in client.scan_iter(match=f"{start}*", count=BATCH)]
        for first in range(0, len(found), BATCH):
            keys = found[first : first + BATCH]
            for key, value in zip(keys, await _values(client, kind, keys), strict=True):
                rest = key.decode().removeprefix(start)
                ours = batch.has(_owner(kind, rest))
                whole = f"{rest}\0{value!r}"
                tally.add(batch=ours, deleted=MASK in whole, others=None if ours else whole.encode())
    return [tally.count("redis", kind) for kind, tally in tallies.items()]


async def _values(client: Redis, kind: str, keys: list[bytes]) -> list[Any]:
    """The values; a key that expired meanwhile is an empty one."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        match kind:
            case "auth":
                pipeline.hgetall(key)
            case "queue":
                pipeline.lrange(key, 0, -1)
            case _:
                pipeline.get(key)
    return list(await pipeline.execute())


def _owner(kind: str, rest: str) -> str:
    """The contributor id in a key's rest, or what stands in its place."""
    match kind:
        case "auth":
            return rest
        case "session":
            return rest.rpartition(":")[0]
        case "jobcache":
            return rest.partition(":")[2]
        case _:
            return ""
