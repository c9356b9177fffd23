"""The batch's own table in ClickHouse, there for as long as a mutation may need them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from activities.stores.clickhouse.cluster import quote
from activities.stores.clickhouse.connection import Client

PREFIX = "erasure_"
"""What the tool's own tables begin with."""

NOT_WORD = r"\W"

# MergeTree and not Memory: a mutation that goes on after a crash of the server has to find them
MASKS = """
    CREATE TABLE IF NOT EXISTS {table}{on} (field String, value String, mask String)
    ENGINE = {engine} ORDER BY (field, value)
"""


class Staging:
    """The staging table of one batch: fields, values and masks.

    Args:
        client: The client.
        batch_id: The batch.
    """

    def __init__(self, client: Client, batch_id: str) -> None:
        self._client = client
        self.batch_id = batch_id
        self.name = f"{PREFIX}{re.sub(NOT_WORD, '_', batch_id)}_masks"
        self.table = f"{quote(client.database)}.{quote(self.name)}"

    def owns(self, command: object) -> bool:
        """Whether a mutation is of this batch: it reads this table."""
        return self.name in str(command)

    @property
    def creation(self) -> str:
        """The statement that makes it."""
        cluster = self._client.cluster
        statement = MASKS.replace("{table}", self.table).replace("{on}", cluster.on)
        return statement.replace("{engine}", cluster.staging_engine)

    async def add(self, masks: Sequence[tuple[str, str, str]]) -> None:
        """Adds labels of fields, values and masks; one that is there already changes nothing."""
        await self._client.execute(self.creation)
        await self._client.insert(self.table, ("field", "value", "mask"), masks)
        if self._client.cluster.name:
            await self._client.execute(f"SYSTEM SYNC REPLICA{self._client.cluster.on} {self.table}")

    async def drop(self) -> int:
        """Removes the table: no mutation needs it any more.

        Returns:
            How many there were.
        """
        rows = await self._client.fetch(f"EXISTS TABLE {self.table}")
        if not rows[0]["result"]:
            return 0
        await self._client.execute(f"DROP TABLE IF EXISTS {self.table}{self._client.cluster.on} SYNC")
        return 1
