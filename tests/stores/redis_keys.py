"""Keys of a test's own, written and read back in whole, and servers of its own where others would be disturbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from activities.contract import Heartbeat
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.keyspace import Keyspace
from activities.stores.redis.store import RedisStore

FAST = 1_000_000_000
"""Keys a second: no test waits for a scan's pace."""


@dataclass(frozen=True)
class Keys:
    """What a test works with.

    Args:
        client: Of the server, or cluster.
        heartbeat: The test's.
        prefix: Of every key of the test; nothing on a server of its own.
    """

    client: Any
    heartbeat: Heartbeat
    prefix: str = ""

    def store(self, client: Any = None, **groups: list[Any]) -> RedisStore:
        """The store, over a data map whose keys have the test's prefix."""
        own = {group: [self._own(item) for item in items] for group, items in groups.items()}
        data_map = RedisMap.model_validate(own, context={"rollback": False})
        return RedisStore(Keyspace(client or self.client, FAST), data_map, self.heartbeat)

    def _own(self, item: Any) -> Any:
        return f"{self.prefix}{item}" if isinstance(item, str) else {**item, "key": f"{self.prefix}{item['key']}"}

    async def holds(self) -> dict[str, Any]:
        """Every key of the test with its content, and whether it has a TTL."""
        keys = sorted([key async for key in self.client.scan_iter(match=f"{self.prefix}*", count=1000)])
        return {key.decode(errors="surrogateescape").removeprefix(self.prefix): await self._held(key) for key in keys}

    async def _held(self, key: bytes) -> Any:
        client = self.client
        kind = (await client.type(key)).decode()
        ttl = "lasts" if await client.pttl(key) < 0 else "ends"
        match kind:
            case "string":
                return ttl, await client.get(key)
            case "hash":
                return ttl, await client.hgetall(key)
            case "set":
                return ttl, await client.smembers(key)
            case "zset":
                return ttl, await client.zrange(key, 0, -1, withscores=True)
            case "list":
                return ttl, await client.lrange(key, 0, -1)
        return ttl, await client.xrange(key)
