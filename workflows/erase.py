"""The erasure of one batch, and the way back.

check -> resolve -> approval -> canary
      -> back up -> the phases -> recount -> verify -> report -> certify -> retain -> shred
                  \\________ roll back ________/
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    # pydantic looks the types of a verification's result up among the modules that this one imports
    import activities.verification.contract
    import activities.verification.messages  # noqa: F401 - imported for pydantic alone
    from activities.contract import Finding
    from activities.status import (
        BACK,
        ERASED,
        BatchStatus,
        CommandKind,
        Entered,
        Outcome,
        PhaseState,
        PhaseStatus,
        Stage,
        objection,
    )
    from workflows import canary, checks, details
    from workflows.commands import Commands, Pending
    from workflows.evidence import Evidence
    from workflows.failures import finding
    from workflows.identities import Identities
    from workflows.messages import Carried, Command, EraseRequest
    from workflows.phases import Phase
    from workflows.running import Runner, together
    from workflows.slices import InterruptedByOperatorError, Slices, TooLongError
    from workflows.tombstones import Tombstones
    from workflows.verify import Whole

_ORDER = list(Stage)


@workflow.defn(name="EraseContributors")
class EraseContributors:
    """Erases a batch's contributors from every store, phase by phase, reports, and keeps the way back open for a while.

    The workflow sees counts and slice numbers only; people stay in the vault.
    """

    @workflow.init
    def __init__(self, request: EraseRequest) -> None:
        self._request = request
        self._plan = request.plan
        carried = request.carried or Carried(_new_status(request))
        self._status = carried.status
        self._phases = [Phase(status) for status in self._status.phases]
        pending = Pending(set(carried.retries), set(carried.skips), carried.rolling_back, carried.shred)
        self._pending = pending
        self._commands = Commands(self._status, self._phases, pending)
        self._finished = carried.finished
        self._slices = Slices(
            request.batch,
            self._plan,
            request.contributors,
            self._finished,
            self._commands.gate,
            self._commands.interrupted,
            self._show,
        )
        self._slices.count = self._status.slices
        self._slices.attempt = self._status.attempt
        self._runner = Runner(request.batch, self._plan, self._slices, self._commands, self._show)
        self._evidence = Evidence(request.batch, self._status, self._phases, self._slices, pending, self._enter)
        self._tombstones = Tombstones(request.batch, self._status, self._slices, self._evidence.insist)
        self._identities = Identities(request.batch, self._status, self._slices, self._commands.gate, self._show)

    @workflow.run
    async def run(self, request: EraseRequest) -> BatchStatus:
        """Runs the batch.

        Args:
            request: What to erase, by claim check.

        Returns:
            The batch's status, with every count.

        Raises:
            ApplicationError: The batch was refused or rolled back; the report says why.
        """
        try:
            while not self._pending.rolling_back:
                try:
                    await self._forward()
                    break
                except asyncio.CancelledError:
                    self._commands.cancelled()
            if self._pending.rolling_back:
                await self._back()
            await self._shred()
        except TooLongError:
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(replace(request, carried=self._carried()))
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._status.outcome in (Outcome.REFUSED, Outcome.ROLLED_BACK):
            raise ApplicationError(
                f"The batch was {self._status.outcome}: {self._commands.reasons()}",
                type=self._status.outcome.name,
                non_retryable=True,
            )
        return self._status

    @workflow.query
    def status(self) -> BatchStatus:
        """What is known of the batch now."""
        return self._status

    @workflow.signal
    def pause(self, command: Command) -> None:
        """Starts nothing more until `resume`; what runs in slices ends its slice."""
        if self._commands.accept(CommandKind.PAUSE, command):
            self._status.paused = True
            self._show()

    @workflow.signal
    def resume(self, command: Command) -> None:
        """Goes on after `pause`."""
        if self._commands.accept(CommandKind.RESUME, command):
            self._status.paused = False
            self._show()

    @workflow.signal
    def retry(self, command: Command) -> None:
        """Runs parked phases again; also those that ended, until the batch is shredded."""
        if self._commands.accept(CommandKind.RETRY, command):
            self._commands.retry(command)
            self._identities.answer(CommandKind.RETRY)

    @workflow.signal
    def skip(self, command: Command) -> None:
        """Gives a parked phase up, and goes on without it."""
        if self._commands.accept(CommandKind.SKIP, command):
            self._commands.skip(command)
            self._identities.answer(CommandKind.SKIP)

    @workflow.signal
    def rollback(self, command: Command) -> None:
        """Puts back whatever was erased."""
        if self._commands.accept(CommandKind.ROLLBACK, command):
            self._pending.rolling_back = True

    @workflow.signal
    def shred(self, command: Command) -> None:
        """Does not wait for the end of the retention."""
        if self._commands.accept(CommandKind.SHRED, command):
            self._pending.shred = True

    @workflow.update
    async def approve(self, command: Command) -> int:
        """Approves the batch.

        Returns:
            How many approvals are still needed.
        """
        if self._commands.accept(CommandKind.APPROVE, command):
            self._status.approvals.append(command.operator)
            self._show()
        return max(0, self._plan.approvals - len(self._status.approvals))

    @approve.validator
    def _may_approve(self, command: Command) -> None:
        if reason := objection(self._status, CommandKind.APPROVE, None):
            raise ValueError(reason)
        if command.operator == self._request.operator:
            raise ValueError("who submits a batch cannot approve it")
        if command.operator in self._status.approvals:
            raise ValueError(f"{command.operator} has approved it already")

    async def _forward(self) -> None:
        """The way to the end; returns early where the batch is refused or to be rolled back."""
        try:
            for stage, step in (
                (Stage.CHECK, self._check),
                (Stage.RESOLVE, self._resolve),
                (Stage.APPROVAL, self._approval),
                (Stage.CANARY, self._canary),
                (Stage.BACK_UP, self._back_up),
                (Stage.ERASE, self._erase),
                (Stage.RECOUNT, self._recount),
                (Stage.VERIFY, self._verify),
            ):
                if stage is Stage.CANARY and self._plan.canary is None:
                    continue
                if _ORDER.index(self._status.stage) <= _ORDER.index(stage):
                    self._enter(stage)
                    await step()
            if not self._status.is_settled:
                await self._settle()
            await self._retain()
        except InterruptedByOperatorError:
            return
        except _RefusedError:
            self._status.outcome = Outcome.REFUSED
            await self._evidence.report()

    async def _check(self) -> None:
        stores, thorough = [phase.store for phase in self._phases], workflow.patched(checks.THOROUGH)
        found = await checks.run(self._request.batch, stores, self._slices.start, thorough=thorough)
        self._status.problems += found.problems
        for phase in self._phases:
            if (checked := found.stores.get(phase.store)) is not None:
                phase.status.unit = checked.unit
                phase.status.reversible = checked.reversible
                phase.checked(checked.health)
        if self._status.problems:
            raise _RefusedError

    async def _resolve(self) -> None:
        try:
            await self._identities.resolve(lambda: self._commands.must_turn, self._plan.park_timeout)
        except ActivityError as error:
            self._status.problems.append(finding(error))
            raise _RefusedError from None
        except TimeoutError:
            self._commands.roll_back(f"nobody decided about shared identities within {self._plan.park_timeout}")
            raise InterruptedByOperatorError from None
        if self._plan.approvals:  # who approves has to see what would be touched
            await together(self._runner.count(phase, "preview", phase.previewed) for phase in self._phases)

    async def _approval(self) -> None:
        await workflow.wait_condition(
            lambda: self._pending.rolling_back or len(self._status.approvals) >= self._plan.approvals
        )
        await self._commands.gate()

    async def _canary(self) -> None:
        """A made-up contributor goes first: where anything of it stays, nobody else is touched."""
        assert self._plan.canary is not None, "else the stage is passed over"
        whole = Whole(self._slices.count, self._slices.attempt)
        request = canary.CanaryRequest(
            self._request.batch, self._plan.canary, self._request.operator, self._plan, whole
        )
        self._status.canary = await canary.prove(request, self._commands.gate, lambda: self._commands.must_turn)
        self._status.problems += self._status.canary.problems
        if self._status.problems:
            raise _RefusedError

    async def _back_up(self) -> None:
        states = (PhaseState.PENDING, PhaseState.BACKING_UP)
        await together(self._runner.back_up(phase) for phase in self._phases if phase.status.state in states)

    async def _erase(self) -> None:
        for phase in self._phases:
            if phase.status.state in (PhaseState.BACKED_UP, PhaseState.RUNNING):
                await self._runner.erase(phase)
        self._uncount()

    def _uncount(self) -> None:
        for phase in self._phases:
            self._runner.uncount(phase, "recount")

    async def _recount(self) -> None:
        erased = [phase for phase in self._phases if phase.status.state in ERASED]
        await together(self._runner.count(phase, "recount", phase.counted) for phase in erased)
        for phase in erased:
            if left := sum((phase.status.after or {}).values()):
                remedy = "They came in while the batch ran, or were in conflict: `retry` the phase."
                phase.warn([Finding(phase.store, f"{left:,} records still hold an identity of the batch", remedy)])
                self._become(phase, PhaseState.WARNED)

    async def _verify(self) -> None:
        if self._plan.verify is None:
            return
        await self._commands.gate()
        await self._evidence.verify(self._plan, lambda: self._commands.must_turn)
        for phase in self._phases:
            if phase.status.state is PhaseState.DONE and phase.status.warnings:
                self._become(phase, PhaseState.WARNED)

    async def _settle(self) -> None:
        self._status.outcome = Outcome.WARNED if self._status.warnings else Outcome.ERASED
        self._status.ended_at = workflow.now()
        await self._evidence.report()
        if self._status.warnings:
            self._status.outcome = Outcome.WARNED  # the report learns of people who came under a hold too late
        await self._tombstones.keep()
        await self._evidence.certify()

    async def _back(self) -> None:
        """The way back, in reverse order of what was written."""
        if self._status.stage is not Stage.RETAIN or self._status.outcome is not Outcome.ROLLED_BACK:
            self._enter(Stage.ROLL_BACK)
            self._status.outcome = Outcome.RUNNING
            self._status.verification = None  # of an erasure that is about to be undone
            for phase in reversed(self._phases):
                if phase.was_written and phase.status.state not in BACK:
                    await self._runner.restore(phase)
            written = [phase for phase in self._phases if phase.was_written]
            await together(self._runner.count(phase, "compare", phase.counted) for phase in written)
            for phase in written:
                phase.compare()
            self._status.outcome = Outcome.ROLLED_BACK
            self._status.ended_at = workflow.now()
            await self._tombstones.remove()
            await self._evidence.report()
            await self._evidence.certify()
        await self._retain()

    async def _retain(self) -> None:
        """Keeps the way back open; returns when the back-up is to be shredded.

        Raises:
            InterruptedByOperatorError: The batch is to be rolled back.
        """
        self._enter(Stage.RETAIN)
        is_back = self._status.outcome is Outcome.ROLLED_BACK
        self._status.retained_until = self._status.retained_until or workflow.now() + self._plan.retention
        self._show()
        while True:
            left = max(timedelta(), self._status.retained_until - workflow.now())
            try:
                await workflow.wait_condition(
                    lambda: bool(
                        self._pending.shred or self._pending.retries or (self._pending.rolling_back and not is_back)
                    ),
                    timeout=left,
                    timeout_summary="Retention of the back-up",
                )
            except TimeoutError:
                if not self._status.paused:
                    return
                await workflow.wait_condition(
                    lambda: not self._status.paused or self._pending.shred or self._pending.rolling_back
                )
            if self._pending.rolling_back and not is_back:
                self._status.retained_until = None
                raise InterruptedByOperatorError
            if self._pending.shred:
                return
            if self._pending.retries and not is_back:
                await self._again()

    async def _again(self) -> None:
        """Runs phases that ended once more, on an operator's demand."""
        self._status.outcome = Outcome.RUNNING
        self._enter(Stage.ERASE)
        for phase in [phase for phase in self._phases if phase.store in self._pending.retries]:
            self._pending.retries.discard(phase.store)
            self._runner.forget_erasure(phase)
            await self._runner.erase(phase)
        self._uncount()
        self._enter(Stage.RECOUNT)
        await self._recount()
        self._enter(Stage.VERIFY)
        await self._verify()
        await self._settle()
        self._enter(Stage.RETAIN)

    async def _shred(self) -> None:
        """Ends the way back: what stores keep of the erased records is purged, and the batch key destroyed."""
        await self._evidence.certify(Stage.SHRED)  # what was asked since is searched for identities, for the last time
        self._enter(Stage.SHRED)
        await self._evidence.insist(self._destroy)
        self._status.shredded = True
        await self._evidence.report(Stage.SHRED)
        await self._evidence.certify(Stage.SHRED)
        self._enter(Stage.END)

    async def _destroy(self) -> None:
        gone = self._status.outcome in (Outcome.ERASED, Outcome.WARNED)
        for phase in self._phases:
            if gone and phase.status.state in ERASED:
                await self._runner.purge(phase)
        await self._slices.start("shred_batch", self._request.batch, type(None), "Destroy the batch key")

    def _carried(self) -> Carried:
        return Carried(
            self._status,
            self._finished,
            sorted(self._pending.retries),
            sorted(self._pending.skips),
            self._pending.rolling_back,
            self._pending.shred,
        )

    def _become(self, phase: Phase, state: PhaseState) -> None:
        phase.become(state, workflow.now())
        self._show()

    def _enter(self, stage: Stage) -> None:
        self._status.stage = stage
        if not self._status.stages or self._status.stages[-1].stage is not stage:
            self._status.stages.append(Entered(stage, workflow.now()))
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(details.as_markdown(self._status))


class _RefusedError(Exception):
    """Check or canary found problems; nobody of the batch was touched."""


def _new_status(request: EraseRequest) -> BatchStatus:
    plan = request.plan
    return BatchStatus(
        batch_id=request.batch.batch_id,
        operator=request.operator,
        data_map_digest=request.batch.data_map_digest,
        contributors=request.contributors,
        duplicates=request.duplicates,
        phases=[
            PhaseStatus(store, critical=store in plan.critical, total=request.contributors) for store in plan.order
        ],
        when_shared=plan.shared,
        approvals_needed=plan.approvals,
        started_at=workflow.now(),
    )
