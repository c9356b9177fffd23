"""The batch's own tables in ClickHouse, there for as long as a mutation may need them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from activities.stores.clickhouse.connection import Client, quote

PREFIX = "erasure_"
"""What the tool's own tables begin with."""

# MergeTree and not Memory: a mutation that goes on after a crash of the server has to find them
IDENTITIES = "CREATE TABLE IF NOT EXISTS {table} (kind String, value String) ENGINE = MergeTree ORDER BY (kind, value)"
MASKS = "CREATE TABLE IF NOT EXISTS {table} (value String, mask String) ENGINE = MergeTree ORDER BY value"


class Staging:
    """The staging tables of one batch.

    Args:
        client: The client.
        batch_id: The batch.
    """

    def __init__(self, client: Client, batch_id: str) -> None:
        self._client = client
        self._name = PREFIX + re.sub(r"\W", "_", batch_id)
        self.identities_table, self.masks_table = (
            f"{quote(client.database)}.{quote(f'{self._name}_{what}')}" for what in ("identities", "masks")
        )

    def owns(self, command: object) -> bool:
        """Whether a mutation is of this batch: it reads one of these tables."""
        return any(f"{self._name}_{what}" in str(command) for what in ("identities", "masks"))

    async def identities(self, identities: Sequence[tuple[str, str]]) -> None:
        """Fills the table of identities, unless an earlier attempt did."""
        await self._client.execute(IDENTITIES.replace("{table}", self.identities_table))
        await self._client.execute(MASKS.replace("{table}", self.masks_table))
        rows = await self._client.fetch(f"SELECT count() AS rows FROM {self.identities_table}")
        if rows[0]["rows"] < len(identities):
            await self._client.insert(self.identities_table, ("kind", "value"), identities)

    async def masks(self, masks: Sequence[tuple[str, str]]) -> None:
        """Adds values and their masks; one that is there already changes nothing."""
        await self._client.execute(MASKS.replace("{table}", self.masks_table))
        await self._client.insert(self.masks_table, ("value", "mask"), masks)

    async def drop(self) -> int:
        """Removes the tables: no mutation needs them any more.

        Returns:
            How many there were.
        """
        there = [table for table in (self.identities_table, self.masks_table) if await self._exists(table)]
        for table in there:
            await self._client.execute(f"DROP TABLE IF EXISTS {table} SYNC")
        return len(there)

    async def _exists(self, table: str) -> bool:
        rows = await self._client.fetch(f"EXISTS TABLE {table}")
        return bool(rows[0]["result"])
