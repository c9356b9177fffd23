"""Resolving a batch's identities, and the decision about those that somebody has who stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contract import Finding
    from activities.messages import Batch, Reported, Resolution, Resolved
    from activities.status import BatchStatus, CommandKind
    from workflows.slices import Slices

if TYPE_CHECKING:
    from datetime import timedelta


class Identities:
    """Resolves identities until there is a manifest; where they are shared, as the policy or an operator says.

    What was decided stands in the status, and so outlives the workflow's run.

    Args:
        batch: The batch.
        status: What is known of it; changed in place.
        slices: Runs activities.
        gate: Waits while the batch is paused; raises where it is to stop.
        changed: Called when something is to be shown.
    """

    def __init__(
        self,
        batch: Batch,
        status: BatchStatus,
        slices: Slices,
        gate: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._batch = batch
        self._status = status
        self._slices = slices
        self._gate = gate
        self._changed = changed
        self._answer: CommandKind | None = None

    def answer(self, kind: CommandKind) -> None:
        """Takes ``retry`` or ``skip`` where the batch waits for it."""
        if self._status.parked:
            self._answer = kind

    async def resolve(self, interrupted: Callable[[], bool], patience: timedelta) -> None:
        """Writes the manifest; waits for an operator where that is the policy.

        Args:
            interrupted: Whether the batch is to be rolled back.
            patience: How long an operator is waited for.

        Raises:
            ActivityError: Identities cannot be resolved.
            InterruptedByOperatorError: The batch is to be rolled back.
            TimeoutError: Nobody decided.
            TooLongError: The batch is to go on as a new run.
        """
        status = self._status
        while True:
            await self._gate()
            task = Resolution(self._batch.batch_id, self._batch.data_map_digest, status.attempt, status.when_shared)
            summary = f"Identities of {status.contributors:,} contributors"
            resolved = await self._slices.start("resolve_identities", task, Resolved, summary)
            status.shared = resolved.shared
            if not resolved.undecided:
                break
            await self._decision(interrupted, patience)
        status.slices = self._slices.count = resolved.slices
        self._slices.attempt = status.attempt
        status.unknown = resolved.unknown
        status.held = resolved.held
        status.manifest_digest = resolved.digest
        if resolved.shared and (caution := _caution(status)) not in status.cautions:
            status.cautions.append(caution)

    async def _decision(self, interrupted: Callable[[], bool], patience: timedelta) -> None:
        """Waits for an operator; a report names with whom the batch shares what."""
        status = self._status
        status.parked = Finding(
            "identities",
            f"{status.shared:,} identities of the batch are those of somebody who stays as well, nothing was touched",
            "The report names them. Mend the identity table and `retry`; or `skip`, to leave them out; or `rollback`",
        )
        self._answer = None
        try:
            await self._slices.start("write_report", status, Reported, "Report into the vault: shared identities")
            self._changed()
            await workflow.wait_condition(lambda: self._answer is not None or interrupted(), timeout=patience)
        finally:
            status.parked = None
            self._changed()
        if interrupted():
            return  # the gate turns it back, and its report is of the attempt that found what is shared
        if self._answer is CommandKind.SKIP:
            status.when_shared = "keep"
        status.attempt += 1


def _caution(status: BatchStatus) -> Finding:
    if status.when_shared == "keep":
        what = f"{status.shared:,} identities that somebody has who stays were left out: what they name is as it was"
        return Finding("identities", what, "The report names who stays. Look at them by hand.")
    what = f"{status.shared:,} identities that somebody has who stays are erased with the batch's"
    return Finding("identities", what, "The report names who stays. `rollback` brings their records back.")
