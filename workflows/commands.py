"""What operators asked of a batch, recorded, and what of it is still to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.status import (
        PARKED,
        BatchStatus,
        CommandKind,
        CommandRecord,
        PhaseState,
        Stage,
        can_rerun,
        objection,
    )
    from workflows.messages import Command
    from workflows.phases import Phase
    from workflows.slices import InterruptedByOperatorError, TooLongError

_STAGES = list(Stage)


@dataclass
class Pending:
    """What was asked and is still to be done: it outlives a run of the workflow.

    Args:
        retries: Phases that are to run again.
        skips: Phases that are to be given up.
        rolling_back: Whether the batch is on its way back.
        shred: Whether it is to be shredded now.
    """

    retries: set[str]
    skips: set[str]
    rolling_back: bool = False
    shred: bool = False


class Commands:
    """Takes commands, and waits for them.

    Args:
        status: What is known of the batch; changed in place.
        phases: Its phases.
        pending: What was asked in an earlier run.
    """

    def __init__(self, status: BatchStatus, phases: Sequence[Phase], pending: Pending) -> None:
        self._status = status
        self._phases = phases
        self.pending = pending

    def accept(self, kind: CommandKind, command: Command) -> bool:
        """Records a command; says whether it has an effect."""
        ignored = objection(self._status, kind, command.phase)
        record = CommandRecord(kind, command.operator, command.reason, workflow.now(), command.phase, ignored)
        self._status.commands.append(record)
        return ignored is None

    def retry(self, command: Command) -> None:
        """Lets what is stuck be tried again, or parked phases run again; where none is parked, those that ended."""
        if self._status.error is not None:
            self._status.error = None
            return
        named = self._named(command)
        parked = [phase.store for phase in named if phase.status.state in PARKED]
        again = [phase.store for phase in named if can_rerun(self._status, phase.status)]
        worth = again if command.phase else [store for store in again if not self._went_well(store)]
        self.pending.retries |= set(parked or worth or again)

    def skip(self, command: Command) -> None:
        """Gives parked phases up."""
        self.pending.skips |= {phase.store for phase in self._named(command) if phase.status.state in PARKED}

    def cancelled(self) -> None:
        """What becomes of Temporal's own cancellation: before the end a rollback; a batch that is erased stays so."""
        if self._status.is_settled:
            command = Command("Temporal", "cancellation of a batch that is erased: use rollback or shred")
            self._status.commands.append(
                CommandRecord(CommandKind.ROLLBACK, command.operator, command.reason, workflow.now(), None, "erased")
            )
        else:
            self.roll_back("the workflow was cancelled in Temporal")

    def roll_back(self, reason: str) -> None:
        """Turns the batch round by policy."""
        self.accept(CommandKind.ROLLBACK, Command("policy", reason))
        self.pending.rolling_back = True

    @property
    def must_turn(self) -> bool:
        """Whether a rollback was asked for and has not begun."""
        return self.pending.rolling_back and self._status.stage in _STAGES[: _STAGES.index(Stage.ROLL_BACK)]

    def interrupted(self, number: int | None) -> bool:
        """Whether a running activity is to be stopped: any for a rollback, one of a whole batch for a pause too."""
        return self.must_turn or (self._status.paused and number is None)

    async def gate(self) -> None:
        """Where work may begin: waits while the batch is paused.

        Raises:
            InterruptedByOperatorError: The batch is to be rolled back.
            TooLongError: The batch is to go on as a new run.
        """
        await workflow.wait_condition(lambda: not self._status.paused or self.must_turn)
        if self.must_turn:
            raise InterruptedByOperatorError
        if workflow.info().is_continue_as_new_suggested():
            raise TooLongError

    async def decision(self, phase: Phase, patience: timedelta | None) -> Literal["retry", "skip"]:
        """Waits beside a parked phase for ``retry`` or ``skip``.

        Args:
            phase: The phase.
            patience: After it the batch is rolled back; None waits for ever.

        Raises:
            InterruptedByOperatorError: The batch is to be rolled back.
        """

        def turned() -> bool:
            return self.pending.rolling_back and phase.status.state is PhaseState.PARKED

        try:
            await workflow.wait_condition(
                lambda: phase.store in self.pending.retries | self.pending.skips or turned(), timeout=patience
            )
        except TimeoutError:
            self.roll_back(f"nobody decided within {patience}")
        if turned():
            raise InterruptedByOperatorError
        verdict: Literal["retry", "skip"] = "skip" if phase.store in self.pending.skips else "retry"
        self.pending.skips.discard(phase.store)
        self.pending.retries.discard(phase.store)
        return verdict

    def reasons(self) -> str:
        """Why the batch was refused or rolled back."""
        commands = [
            f"{record.kind} by {record.operator}: {record.reason}"
            for record in self._status.commands
            if record.kind is CommandKind.ROLLBACK and record.ignored is None
        ]
        return "; ".join([*(str(problem) for problem in self._status.problems), *commands])

    def _named(self, command: Command) -> list[Phase]:
        return [phase for phase in self._phases if command.phase in (None, phase.store)]

    def _went_well(self, store: str) -> bool:
        return any(phase.store == store and phase.status.state is PhaseState.DONE for phase in self._phases)
