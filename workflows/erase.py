"""The erasure of one batch, and the way back.

check -> resolve -> approval -> back up -> the phases -> recount -> report -> retain -> shred
                                     \\________ roll back ________/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.contract import BackUp, Erased, Finding, Impact, Purged, Restored
    from activities.messages import BackUps, Checked, Reported
    from activities.status import (
        BACK,
        ERASED,
        PARKED,
        BatchStatus,
        CommandKind,
        CommandRecord,
        Outcome,
        PhaseState,
        PhaseStatus,
        Stage,
        can_rerun,
        objection,
    )
    from workflows import details
    from workflows.identities import Identities
    from workflows.messages import Carried, Command, EraseRequest
    from workflows.phases import Phase
    from workflows.slices import InterruptedByOperatorError, Slices, TooLongError

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
        self._retries = set(carried.retries)
        self._skips = set(carried.skips)
        self._rolling_back = carried.rolling_back
        self._shred_now = carried.shred
        self._finished = carried.finished
        self._phases = [Phase(status) for status in self._status.phases]
        self._slices = Slices(
            request.batch,
            self._plan,
            request.contributors,
            self._finished,
            self._gate,
            self._interrupted,
            self._show,
        )
        self._slices.count = self._status.slices
        self._slices.attempt = self._status.attempt
        self._identities = Identities(request.batch, self._status, self._slices, self._gate, self._show)

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
            while not self._rolling_back:
                try:
                    await self._forward()
                    break
                except asyncio.CancelledError:
                    self._cancelled()
            if self._rolling_back:
                await self._back()
            await self._shred()
        except TooLongError:
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(replace(request, carried=self._carried()))
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._status.outcome in (Outcome.REFUSED, Outcome.ROLLED_BACK):
            raise ApplicationError(
                f"The batch was {self._status.outcome}: {self._reasons()}",
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
        if self._accept(CommandKind.PAUSE, command):
            self._status.paused = True
            self._show()

    @workflow.signal
    def resume(self, command: Command) -> None:
        """Goes on after `pause`."""
        if self._accept(CommandKind.RESUME, command):
            self._status.paused = False
            self._show()

    @workflow.signal
    def retry(self, command: Command) -> None:
        """Runs parked phases again; also those that ended, until the batch is shredded."""
        if self._accept(CommandKind.RETRY, command):
            parked = [phase.store for phase in self._named(command) if phase.status.state in PARKED]
            again = [phase.store for phase in self._named(command) if can_rerun(self._status, phase.status)]
            worth = again if command.phase else [store for store in again if not self._went_well(store)]
            self._retries |= set(parked or worth or again)
            self._status.error = None
            self._identities.answer(CommandKind.RETRY)

    @workflow.signal
    def skip(self, command: Command) -> None:
        """Gives a parked phase up, and goes on without it."""
        if self._accept(CommandKind.SKIP, command):
            self._skips |= {phase.store for phase in self._named(command) if phase.status.state in PARKED}
            self._identities.answer(CommandKind.SKIP)

    @workflow.signal
    def rollback(self, command: Command) -> None:
        """Puts back whatever was erased."""
        if self._accept(CommandKind.ROLLBACK, command):
            self._rolling_back = True

    @workflow.signal
    def shred(self, command: Command) -> None:
        """Does not wait for the end of the retention."""
        if self._accept(CommandKind.SHRED, command):
            self._shred_now = True

    @workflow.update
    async def approve(self, command: Command) -> int:
        """Approves the batch.

        Returns:
            How many approvals are still needed.
        """
        if self._accept(CommandKind.APPROVE, command):
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
                (Stage.BACK_UP, self._back_up),
                (Stage.ERASE, self._erase),
                (Stage.RECOUNT, self._recount),
            ):
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
            await self._report()

    async def _check(self) -> None:
        try:
            await self._slices.start("check_batch", self._request.batch, type(None), "Vault and submission")
            checks = [
                self._slices.start(
                    f"check_{phase.store}", self._request.batch, Checked, f"Probe {phase.store}", phase.store
                )
                for phase in self._phases
            ]
            results = await asyncio.gather(*checks)
        except ActivityError as error:
            self._status.problems.append(_finding(error))
            raise _RefusedError from None
        for phase, checked in zip(self._phases, results, strict=True):
            phase.status.unit = checked.unit
            phase.status.reversible = checked.reversible
            phase.checked(checked.health)
            self._status.problems += checked.health.problems
        if self._status.problems:
            raise _RefusedError

    async def _resolve(self) -> None:
        try:
            await self._identities.resolve(lambda: self._must_turn, self._plan.park_timeout)
        except ActivityError as error:
            self._status.problems.append(_finding(error))
            raise _RefusedError from None
        except TimeoutError:
            self._roll_back_by_policy(f"nobody decided about shared identities within {self._plan.park_timeout}")
            raise InterruptedByOperatorError from None
        if self._plan.approvals:  # who approves has to see what would be touched
            for phase in self._phases:
                await self._count(phase, "preview", phase.previewed)

    async def _approval(self) -> None:
        await workflow.wait_condition(lambda: self._rolling_back or len(self._status.approvals) >= self._plan.approvals)
        await self._gate()

    async def _back_up(self) -> None:
        for phase in self._phases:
            if phase.status.state in (PhaseState.PENDING, PhaseState.BACKING_UP):
                await self._attempt(phase, PhaseState.BACKING_UP, partial(self._take_back_up, phase))

    async def _take_back_up(self, phase: Phase) -> None:
        await self._slices.run(phase, "back_up", BackUp, phase.backed_up)
        self._become(phase, PhaseState.BACKED_UP)

    async def _erase(self) -> None:
        for phase in self._phases:
            if phase.status.state in (PhaseState.BACKED_UP, PhaseState.RUNNING):
                await self._attempt(phase, PhaseState.RUNNING, partial(self._erase_phase, phase))
        self._uncount("recount")

    def _uncount(self, step: str) -> None:
        """Lets a count begin anew."""
        for phase in self._phases:
            phase.status.after = None
            self._slices.forget(step, phase)

    async def _erase_phase(self, phase: Phase) -> None:
        if not self._slices.is_finished("back_up", phase):
            await self._slices.run(phase, "back_up", BackUp, phase.backed_up)
        await self._gate()
        backups = BackUps(self._request.batch, phase.store, phase.status.backups)
        await self._slices.start("verify_back_up", backups, type(None), f"Back-up of {phase.store}")
        await self._slices.run(phase, "erase", Erased, phase.erased)
        self._become(phase, PhaseState.WARNED if phase.status.warnings else PhaseState.DONE)

    async def _attempt(self, phase: Phase, state: PhaseState, work: Callable[[], Awaitable[None]]) -> None:
        """Works on a phase until it is through, is given up, or the batch is to be rolled back."""
        while True:
            self._become(phase, state)
            try:
                await work()
                return
            except ActivityError as error:
                phase.status.error = str(_finding(error))
            if not phase.status.critical:
                self._become(phase, PhaseState.FAILED)
                phase.warn([Finding(phase.store, "the phase failed, the batch went on", phase.status.error)])
                return
            self._become(phase, PhaseState.PARKED)
            if self._plan.on_critical == "rollback":
                self._roll_back_by_policy("a critical phase failed, and the policy is to roll back")
                raise InterruptedByOperatorError
            if await self._decision(phase, self._plan.park_timeout) == "skip":
                self._become(phase, PhaseState.SKIPPED)
                phase.warn([Finding(phase.store, "the phase was skipped", phase.status.error)])
                return

    async def _decision(self, phase: Phase, timeout: timedelta | None) -> str:
        """Waits beside a parked phase for ``retry`` or ``skip``."""

        def decided() -> bool:
            going_back = self._rolling_back and phase.status.state is PhaseState.PARKED
            return phase.store in self._retries | self._skips or going_back

        try:
            await workflow.wait_condition(decided, timeout=timeout)
        except TimeoutError:
            self._roll_back_by_policy(f"nobody decided within {timeout}")
        if self._rolling_back and phase.status.state is PhaseState.PARKED:
            raise InterruptedByOperatorError
        verdict = "skip" if phase.store in self._skips else "retry"
        self._skips.discard(phase.store)
        self._retries.discard(phase.store)
        return verdict

    async def _recount(self) -> None:
        for phase in self._phases:
            if phase.status.state not in ERASED:
                continue
            await self._count(phase, "recount", phase.counted)
            if left := sum((phase.status.after or {}).values()):
                remedy = "They came in while the batch ran, or were in conflict: `retry` the phase."
                phase.warn([Finding(phase.store, f"{left:,} records still hold an identity of the batch", remedy)])
                self._become(phase, PhaseState.WARNED)

    async def _count(self, phase: Phase, step: str, gather: Callable[[Impact], None]) -> None:
        """Counts, once a step; what cannot be counted is a warning, since it is not known."""
        done = phase.status.done
        try:
            await self._slices.run(phase, "count", Impact, gather, step)
        except ActivityError as error:
            phase.warn([Finding(phase.store, "could not be counted", str(_finding(error)))])
            phase.status.after = None
        finally:
            phase.status.done = done

    async def _settle(self) -> None:
        self._status.outcome = Outcome.WARNED if self._status.warnings else Outcome.ERASED
        self._status.ended_at = workflow.now()
        await self._report()
        if self._status.warnings:
            self._status.outcome = Outcome.WARNED  # the report learns of people who came under a hold too late

    async def _back(self) -> None:
        """The way back, in reverse order of what was written."""
        if self._status.stage is not Stage.RETAIN or self._status.outcome is not Outcome.ROLLED_BACK:
            self._enter(Stage.ROLL_BACK)
            self._status.outcome = Outcome.RUNNING
            for phase in reversed(self._phases):
                if phase.was_written and phase.status.state not in BACK:
                    phase.status.after = None
                    await self._restore(phase)
            for phase in self._phases:
                if phase.was_written:
                    await self._count(phase, "compare", phase.counted)
                    phase.compare()
            self._status.outcome = Outcome.ROLLED_BACK
            self._status.ended_at = workflow.now()
            await self._report()
        await self._retain()

    async def _restore(self, phase: Phase) -> None:
        while True:
            self._become(phase, PhaseState.ROLLING_BACK)
            if not phase.status.reversible:
                phase.leave_erased(workflow.now())
                return
            try:
                await self._slices.run(phase, "restore", Restored, phase.restored)
            except ActivityError as error:
                phase.status.error = str(_finding(error))
                self._become(phase, PhaseState.ROLLBACK_PARKED)
                if await self._decision(phase, None) == "skip":
                    self._become(phase, PhaseState.SKIPPED)
                    phase.warn([Finding(phase.store, "its rollback was given up", str(phase.status.error))])
                    return
            else:
                self._become(phase, PhaseState.ROLLED_BACK)
                return

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
                    lambda: bool(self._shred_now or self._retries or (self._rolling_back and not is_back)),
                    timeout=left,
                    timeout_summary="Retention of the back-up",
                )
            except TimeoutError:
                if not self._status.paused:
                    return
                await workflow.wait_condition(lambda: not self._status.paused or self._shred_now or self._rolling_back)
            if self._rolling_back and not is_back:
                self._status.retained_until = None
                raise InterruptedByOperatorError
            if self._shred_now:
                return
            if self._retries and not is_back:
                await self._again()

    async def _again(self) -> None:
        """Runs phases that ended once more, on an operator's demand."""
        self._status.outcome = Outcome.RUNNING
        self._enter(Stage.ERASE)
        for phase in [phase for phase in self._phases if phase.store in self._retries]:
            self._retries.discard(phase.store)
            phase.start_over()
            self._slices.forget("erase", phase)
            await self._attempt(phase, PhaseState.RUNNING, partial(self._erase_phase, phase))
        self._uncount("recount")
        self._enter(Stage.RECOUNT)
        await self._recount()
        await self._settle()
        self._enter(Stage.RETAIN)

    async def _shred(self) -> None:
        """Ends the way back: what stores keep of the erased records is purged, and the batch key destroyed."""
        self._enter(Stage.SHRED)
        gone = self._status.outcome in (Outcome.ERASED, Outcome.WARNED)
        while True:
            try:
                for phase in self._phases:
                    if gone and phase.status.state in ERASED:
                        await self._slices.run(phase, "purge", Purged, phase.purged)
                await self._slices.start("shred_batch", self._request.batch, type(None), "Destroy the batch key")
            except ActivityError as error:
                self._status.error = str(_finding(error))
                self._show()
                await workflow.wait_condition(lambda: self._status.error is None)
            else:
                break
        self._status.shredded = True
        await self._report(Stage.SHRED)
        self._enter(Stage.END)

    async def _report(self, stage: Stage = Stage.REPORT) -> None:
        self._enter(stage)
        reported = await self._slices.start("write_report", self._status, Reported, "Report into the vault")
        if reported.too_late:
            what = f"{reported.too_late:,} people came under a legal hold after they had been erased here or there"
            self._phases[0].warn([Finding("holds", what, "The report names them. `rollback` brings them back.")])

    async def _gate(self) -> None:
        """Where work may begin: waits while the batch is paused.

        Raises:
            InterruptedByOperatorError: The batch is to be rolled back.
            TooLongError: The batch is to go on as a new run.
        """
        await workflow.wait_condition(lambda: not self._status.paused or self._must_turn)
        if self._must_turn:
            raise InterruptedByOperatorError
        if workflow.info().is_continue_as_new_suggested():
            raise TooLongError

    @property
    def _must_turn(self) -> bool:
        """Whether a rollback was asked for and has not begun."""
        return self._rolling_back and self._status.stage in _ORDER[: _ORDER.index(Stage.ROLL_BACK)]

    def _interrupted(self, number: int | None) -> bool:
        """Whether a running activity is to be stopped: any for a rollback, one of a whole batch for a pause too."""
        return self._must_turn or (self._status.paused and number is None)

    def _accept(self, kind: CommandKind, command: Command) -> bool:
        """Records a command; says whether it has an effect."""
        ignored = objection(self._status, kind, command.phase)
        record = CommandRecord(kind, command.operator, command.reason, workflow.now(), command.phase, ignored)
        self._status.commands.append(record)
        return ignored is None

    def _cancelled(self) -> None:
        """What becomes of Temporal's own cancellation: before the end a rollback; a batch that is erased stays so."""
        if self._status.is_settled:
            command = Command("Temporal", "cancellation of a batch that is erased: use rollback or shred")
            self._status.commands.append(
                CommandRecord(CommandKind.ROLLBACK, command.operator, command.reason, workflow.now(), None, "erased")
            )
        else:
            self._roll_back_by_policy("the workflow was cancelled in Temporal")

    def _roll_back_by_policy(self, reason: str) -> None:
        self._accept(CommandKind.ROLLBACK, Command("policy", reason))
        self._rolling_back = True

    def _named(self, command: Command) -> list[Phase]:
        return [phase for phase in self._phases if command.phase in (None, phase.store)]

    def _went_well(self, store: str) -> bool:
        return any(phase.store == store and phase.status.state is PhaseState.DONE for phase in self._phases)

    def _carried(self) -> Carried:
        return Carried(
            self._status,
            self._finished,
            sorted(self._retries),
            sorted(self._skips),
            self._rolling_back,
            self._shred_now,
        )

    def _reasons(self) -> str:
        commands = [
            f"{record.kind} by {record.operator}: {record.reason}"
            for record in self._status.commands
            if record.kind is CommandKind.ROLLBACK and record.ignored is None
        ]
        return "; ".join([*(str(problem) for problem in self._status.problems), *commands])

    def _become(self, phase: Phase, state: PhaseState) -> None:
        phase.become(state, workflow.now())
        self._show()

    def _enter(self, stage: Stage) -> None:
        self._status.stage = stage
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(details.as_markdown(self._status))


class _RefusedError(Exception):
    """The check found problems; nothing was touched."""


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


def _finding(error: ActivityError) -> Finding:
    """What failed, from an activity's failure; our activities' messages hold no personal data."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return Finding(error.activity_type, cause.message, "See the batch's history in the Web UI.")
    what = f"{type(cause).__name__}: {cause}" if cause else str(error)
    return Finding(error.activity_type, what, "Check that the worker lives and reaches its stores, then try again.")
