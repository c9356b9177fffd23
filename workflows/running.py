"""Running a phase: until it is through, is given up, or the batch turns round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.contract import BackUp, Erased, Finding, Impact, Purged, Restored
    from activities.messages import BackUps, Batch
    from activities.status import PhaseState
    from workflows.commands import Commands
    from workflows.failures import finding
    from workflows.messages import Plan
    from workflows.phases import Phase
    from workflows.slices import InterruptedByOperatorError, Slices

TOGETHER = "stores-are-read-together"
"""Batches that were started before read one store after the other, and go on so."""


class Runner:
    """Runs the steps of phases, and parks them where they fail.

    Args:
        batch: The batch.
        plan: How it runs.
        slices: Runs activities.
        commands: What operators ask.
        changed: Called when something is to be shown.
    """

    def __init__(
        self, batch: Batch, plan: Plan, slices: Slices, commands: Commands, changed: Callable[[], None]
    ) -> None:
        self._batch = batch
        self._plan = plan
        self._slices = slices
        self._commands = commands
        self._changed = changed

    async def back_up(self, phase: Phase) -> None:
        """Takes the pre-images of a phase."""

        async def work() -> None:
            await self._slices.run(phase, "back_up", BackUp, phase.backed_up)
            self._become(phase, PhaseState.BACKED_UP)

        await self._attempt(phase, PhaseState.BACKING_UP, work)

    async def erase(self, phase: Phase) -> None:
        """Erases a phase, once its back-up is whole."""
        await self._attempt(phase, PhaseState.RUNNING, partial(self._erase, phase))

    async def restore(self, phase: Phase) -> None:
        """Puts a phase back; where that fails, waits for an operator."""
        phase.status.after = None
        while True:
            self._become(phase, PhaseState.ROLLING_BACK)
            if not phase.status.reversible:
                phase.leave_erased(workflow.now())
                return
            try:
                await self._slices.run(phase, "restore", Restored, phase.restored)
            except ActivityError as error:
                phase.status.error = str(finding(error))
                self._become(phase, PhaseState.ROLLBACK_PARKED)
                if await self._commands.decision(phase, None) == "skip":
                    self._become(phase, PhaseState.SKIPPED)
                    phase.warn([Finding(phase.store, "its rollback was given up", str(phase.status.error))])
                    return
            else:
                self._become(phase, PhaseState.ROLLED_BACK)
                return

    async def purge(self, phase: Phase) -> None:
        """Removes for ever what the store keeps of erased records.

        Raises:
            ActivityError: It failed.
        """
        await self._slices.run(phase, "purge", Purged, phase.purged)

    async def count(self, phase: Phase, step: str, gather: Callable[[Impact], None]) -> None:
        """Counts, once a step; what cannot be counted is a warning, since it is not known."""
        done = phase.status.done
        try:
            await self._slices.run(phase, "count", Impact, gather, step)
        except ActivityError as error:
            phase.warn([Finding(phase.store, "could not be counted", str(finding(error)))])
            phase.status.after = None
        finally:
            phase.status.done = done

    def uncount(self, phase: Phase, step: str) -> None:
        """Lets a count begin anew."""
        phase.status.after = None
        self._slices.forget(step, phase)

    def forget_erasure(self, phase: Phase) -> None:
        """Lets a phase that ended be erased again."""
        phase.start_over()
        self._slices.forget("erase", phase)

    async def _erase(self, phase: Phase) -> None:
        if not self._slices.is_finished("back_up", phase):
            await self._slices.run(phase, "back_up", BackUp, phase.backed_up)
        await self._commands.gate()
        backups = BackUps(self._batch, phase.store, phase.status.backups)
        await self._slices.start("verify_back_up", backups, type(None), f"Back-up of {phase.store}")
        await self._slices.run(phase, "erase", Erased, phase.erased)
        self._become(phase, PhaseState.WARNED if phase.status.warnings else PhaseState.DONE)

    async def _attempt(self, phase: Phase, state: PhaseState, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            self._become(phase, state)
            try:
                await work()
                return
            except ActivityError as error:
                phase.status.error = str(finding(error))
            if not phase.status.critical:
                self._become(phase, PhaseState.FAILED)
                phase.warn([Finding(phase.store, "the phase failed, the batch went on", phase.status.error)])
                return
            self._become(phase, PhaseState.PARKED)
            if self._plan.on_critical == "rollback":
                self._commands.roll_back("a critical phase failed, and the policy is to roll back")
                raise InterruptedByOperatorError
            if await self._commands.decision(phase, self._plan.park_timeout) == "skip":
                self._become(phase, PhaseState.SKIPPED)
                phase.warn([Finding(phase.store, "the phase was skipped", phase.status.error)])
                return

    def _become(self, phase: Phase, state: PhaseState) -> None:
        phase.become(state, workflow.now())
        self._changed()


async def together(works: Iterable[Awaitable[None]]) -> None:
    """Does what only reads, in all stores at once: none waits for another, and all have ended when this ends.

    Args:
        works: One a store.

    Raises:
        BaseException: The first that any of them raised.
    """
    works = list(works)
    if not workflow.patched(TOGETHER):
        for work in works:
            await work
        return
    for failure in await asyncio.gather(*works, return_exceptions=True):
        if failure is not None:
            raise failure
