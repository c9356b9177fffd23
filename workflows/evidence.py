"""What a batch leaves behind of itself: its verification, its report, and its certificate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from activities.contract import Finding
    from activities.messages import Batch, Certified, Reported, Verification
    from activities.status import BatchStatus, Issued, Outcome, Stage
    from activities.verification.messages import VerificationStatus
    from workflows.commands import Pending
    from workflows.failures import finding
    from workflows.messages import Plan
    from workflows.phases import Phase
    from workflows.slices import Slices, ended
    from workflows.verify import VerifyErasure, VerifyRequest, Whole

CERTIFIED = "batches-are-certified"
"""Batches that were reported before have no certificate, and go on so."""


class Evidence:
    """Has the erasure verified, reports written and certificates issued.

    Args:
        batch: The batch.
        status: What is known of the batch; changed in place.
        phases: Its phases.
        slices: Runs activities.
        pending: What operators asked for.
        enter: Takes a stage, and shows it.
    """

    def __init__(
        self,
        batch: Batch,
        status: BatchStatus,
        phases: Sequence[Phase],
        slices: Slices,
        pending: Pending,
        enter: Callable[[Stage], None],
    ) -> None:
        self._batch = batch
        self._status = status
        self._phases = phases
        self._slices = slices
        self._pending = pending
        self._enter = enter

    async def verify(self, plan: Plan, turned: Callable[[], bool]) -> None:
        """Has a workflow of its own look for what is left; residuals warn the phases that they belong to.

        Args:
            plan: How the batch runs.
            turned: Whether the batch is to be rolled back.

        Raises:
            InterruptedByOperatorError: It is.
        """
        status = self._status
        assert plan.verify is not None, "whoever calls this has looked"
        request = VerifyRequest(
            self._batch,
            status.contributors - status.held,
            plan.order,
            plan.verify,
            plan.retry,
            plan.heartbeat_timeout,
            Whole(self._slices.count, self._slices.attempt),
        )
        child = await workflow.start_child_workflow(
            VerifyErasure.run,
            request,
            id=f"{self._batch.batch_id}-verify-{workflow.now():%Y%m%dT%H%M%S}",
            static_summary=f"Verify that {request.contributors:,} contributors are gone, depth: {plan.verify.depth}",
        )
        try:
            found = await ended(child, turned)
        except ChildWorkflowError as error:
            failure = Finding("verification", f"did not end: {error.cause or error}", "Verify the batch by hand.")
            status.verification = Verification(
                plan.verify.depth, workflow.now(), not_proven=[failure], cautions=[failure]
            )
        else:
            status.verification = self._warn(found)

    def _warn(self, found: VerificationStatus) -> Verification:
        """Tells the phases what is left in their stores; what is left elsewhere, or unknown, is the batch's caution."""
        cautions = list(found.failures.values())
        phases = {phase.store: phase for phase in self._phases}
        for place, count in found.residuals.items():
            what = f"{count:,} records still hold an identity of the batch, a verification found"
            store, _, within = place.partition(" ")
            if phase := phases.get(store):
                remedy = "Name the place in the data map where it is not there, and submit the file again; or `retry`."
                phase.warn([Finding(within, what, remedy)])
            else:
                cautions.append(Finding(place, what, "Mend that by hand, then verify the batch."))
        return replace(found.summary(workflow.now()), cautions=cautions)

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
            made = await self._slices.start("certify_batch", self._status, Certified, "Certificate into the vault")
            if made.number not in [issued.number for issued in self._status.certificates]:
                self._status.certificates.append(Issued(made.number, made.digest, made.key, workflow.now()))

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
