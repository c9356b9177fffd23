"""What is kept of those who were erased, so that they are known when they come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.messages import Batch
    from activities.status import ERASED, BatchStatus
    from workflows.slices import Slices

KEPT = "tombstones-are-kept"
"""Batches that had been reported before keep none, and go on so."""


class Tombstones:
    """Has a batch's tombstones kept, and removed where it is rolled back.

    Args:
        batch: The batch.
        status: What is known of it.
        slices: Runs activities.
        insist: Does what the batch cannot end without.
    """

    def __init__(
        self,
        batch: Batch,
        status: BatchStatus,
        slices: Slices,
        insist: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
    ) -> None:
        self._batch = batch
        self._status = status
        self._slices = slices
        self._insist = insist

    async def keep(self) -> None:
        """Keeps those of everybody who was erased; none where no store was erased from."""
        if workflow.patched(KEPT) and any(phase.state in ERASED for phase in self._status.phases):

            async def write() -> None:
                await self._slices.start("keep_tombstones", self._status, int, "Tombstones of who was erased")

            await self._insist(write)

    async def remove(self) -> None:
        """Removes the batch's: nobody is erased any more by it."""
        if workflow.patched(KEPT):

            async def remove() -> None:
                await self._slices.start("remove_tombstones", self._batch, int, "Tombstones of who is back")

            await self._insist(remove)
