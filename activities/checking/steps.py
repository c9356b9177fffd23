"""The activities of the safety checks as Temporal sees them, beside each store's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities import submission
from activities.checking import contributors, estimating, overlaps
from activities.checking.messages import Forecast, Measured, People
from activities.holds import Holds
from activities.messages import Batch
from activities.steps import AnyActivity, work
from activities.vault import Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record
    from temporalio.client import Client


class CheckActivities:
    """What is checked of a batch and concerns no store in particular.

    Args:
        vault: The vault.
        identities: PostgreSQL, where the identity table and the legal holds are.
        temporal: Knows which batches run.
        task_queue: Of this deployment's batches.
    """

    def __init__(self, vault: Vault, identities: Pool[Record], temporal: Client, task_queue: str) -> None:
        self._vault = vault
        self._identities = identities
        self._holds = Holds(identities)
        self._temporal = temporal
        self._task_queue = task_queue

    @activity.defn
    async def check_contributors(self, batch: Batch) -> People:
        """Counts whom the CSV names, and compares that with what the policy allows."""
        async with work() as heartbeat:
            vault = await self._vault.open(batch.batch_id)
            data_map = await submission.read_data_map(vault, batch.data_map_digest)
            return await contributors.count(vault, self._identities, data_map, self._holds, heartbeat)

    @activity.defn
    async def compare_batches(self, batch: Batch) -> dict[str, int]:
        """How many people of the batch are in which other batch that is under way."""
        async with work() as heartbeat:
            vault = await self._vault.open(batch.batch_id)
            return await overlaps.find(self._vault, self._temporal, self._task_queue, vault, heartbeat)

    @activity.defn
    async def forecast_erasure(self, measured: Measured) -> Forecast:
        """How long the erasure will take, and how large its back-up will be."""
        async with work() as heartbeat:
            return await estimating.forecast(self._vault, measured, heartbeat)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.check_contributors, self.compare_batches, self.forecast_erasure]
