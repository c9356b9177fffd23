"""The activities that keep a batch's tombstones, and remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities import submission
from activities.holds import Holds
from activities.messages import Batch
from activities.status import BatchStatus
from activities.steps import AnyActivity, work
from activities.tombstones import Tombstones, keeping
from activities.vault import Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class TombstoneActivities:
    """What of a batch concerns tombstones.

    Args:
        vault: The vault.
        pool: PostgreSQL, with the tombstones and the legal holds.
    """

    def __init__(self, vault: Vault, pool: Pool[Record]) -> None:
        self._vault = vault
        self._pool = pool

    @activity.defn
    async def keep_tombstones(self, status: BatchStatus) -> int:
        """Keeps the tombstones of everybody whom a batch erased; says how many."""
        async with work() as heartbeat:
            vault = await self._vault.open(status.batch_id)
            data_map = await submission.read_data_map(vault, status.data_map_digest)
            tombstones = await Tombstones.open(self._vault, self._pool)
            kept = await keeping.keep(self._vault, tombstones, data_map, Holds(self._pool), status)
            heartbeat("tombstones", kept)
            return kept

    @activity.defn
    async def remove_tombstones(self, batch: Batch) -> int:
        """Removes a batch's tombstones; says how many there were."""
        async with work():
            return await (await Tombstones.open(self._vault, self._pool)).remove(batch.batch_id)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.keep_tombstones, self.remove_tombstones]
