"""What a batch leaves behind of itself: its report, and its certificate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.contract import Finding
    from activities.messages import Certified, Reported
    from activities.status import BatchStatus, Outcome, Stage
    from workflows.commands import Pending
    from workflows.failures import finding
    from workflows.phases import Phase
    from workflows.slices import Slices

CERTIFIED = "batches-are-certified"
"""Batches that were reported before have no certificate, and go on so."""


class Evidence:
    """Has reports written and certificates issued.

    Args:
        status: What is known of the batch; changed in place.
        phases: Its phases.
        slices: Runs activities.
        pending: What operators asked for.
        enter: Takes a stage, and shows it.
    """

    def __init__(
        self,
        status: BatchStatus,
        phases: Sequence[Phase],
        slices: Slices,
        pending: Pending,
        enter: Callable[[Stage], None],
    ) -> None:
        self._status = status
        self._phases = phases
        self._slices = slices
        self._pending = pending
        self._enter = enter

    async def report(self, stage: Stage = Stage.REPORT) -> None:
        """Writes the report.

        Args:
            stage: Where the batch is then.
        """
        self._enter(stage)
        reported = await self._slices.start("write_report", self._status, Reported, "Report into the vault")
        if reported.too_late:
            what = f"{reported.too_late:,} people came under a legal hold after they had been erased here or there"
            self._phases[0].warn([Finding("holds", what, "The report names them. `rollback` brings them back.")])

    async def certify(self, stage: Stage = Stage.CERTIFY) -> None:
        """Issues the certificate of what is known now; nothing was done to a batch that was refused.

        Args:
            stage: Where the batch is then.
        """
        if self._status.outcome is Outcome.REFUSED or not workflow.patched(CERTIFIED):
            return

        async def issue() -> None:
            await self._slices.start("certify_batch", self._status, Certified, "Certificate into the vault")

        self._enter(stage)
        await self.insist(issue)

    async def insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does what the batch cannot end without; where it fails, waits until an operator has it tried again.

        Args:
            work: Raises `ActivityError` where it fails. It is given up only where the batch is to be rolled back.
        """
        while True:
            try:
                await work()
                return
            except ActivityError as error:
                self._status.error = str(finding(error))
                self._enter(self._status.stage)
            await workflow.wait_condition(lambda: self._status.error is None or self._turns)
            if self._turns:
                self._status.error = None
                return

    @property
    def _turns(self) -> bool:
        return self._pending.rolling_back and self._status.outcome is not Outcome.ROLLED_BACK
