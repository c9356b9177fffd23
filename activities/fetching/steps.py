"""The activities of a fetch as Temporal sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities import submission
from activities.datamap import DataMap
from activities.fetching import export, exported, order
from activities.fetching.messages import Fetch, Fetched, Submitted
from activities.steps import AnyActivity, work
from activities.vault import BatchVault, Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class FetchActivities:
    """What a fetch does.

    Args:
        vault: The vault.
        pool: PostgreSQL.
    """

    def __init__(self, vault: Vault, pool: Pool[Record]) -> None:
        self._vault = vault
        self._pool = pool

    @activity.defn
    async def check_fetch(self, task: Fetch) -> None:
        """Proves that PostgreSQL answers, and that the data map fits it."""
        async with work():
            _, data_map = await self._order(task)
            await export.check(self._pool, data_map, task)

    @activity.defn
    async def export_inactive(self, task: Fetch) -> Fetched:
        """Queries, filters, sorts and limits, and streams the CSV into the vault."""
        async with work() as heartbeat:
            ordered, data_map = await self._order(task)
            vault = await self._vault.create(task.run_id)
            left_out = order.left_out(self._vault, ordered)
            return await export.export(vault, self._pool, data_map, left_out, task, heartbeat)

    @activity.defn
    async def back_up_export(self, task: Fetch) -> str:
        """Makes the CSV's dated copy in the vault; returns its name."""
        async with work():
            return await exported.back_up(await self._vault.open(task.run_id), task.stamp)

    @activity.defn
    async def submit_export(self, task: Fetch) -> Submitted:
        """Makes a batch of the CSV, as ``erase`` does of a file."""
        async with work():
            ordered, data_map = await self._order(task)
            vault = await self._vault.open(task.run_id)
            found = await exported.read(vault)
            batch_id = await self._vault.name_batch(bytes.fromhex(found.digest))
            await submission.write(await self._vault.create(batch_id), data_map, exported.people(vault))
            await order.hand_over(ordered, batch_id)
            return Submitted(batch_id, found.fetched.contributors)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.check_fetch, self.export_inactive, self.back_up_export, self.submit_export]

    async def _order(self, task: Fetch) -> tuple[BatchVault, DataMap]:
        vault = await self._vault.open(task.order.batch_id)
        return vault, await submission.read_data_map(vault, task.order.data_map_digest)
