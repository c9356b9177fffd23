"""Running a phase's activities: one a slice, bounded, and interrupted by what an operator asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import Batch, Step
    from workflows import details, retry
    from workflows.messages import Plan
    from workflows.phases import Phase

T = TypeVar("T")


class InterruptedByOperatorError(Exception):
    """An operator wants the batch rolled back: nothing more of the present step is started."""


class TooLongError(Exception):
    """The history is long: the batch goes on as a new run."""


class Slices:
    """Runs one step of one phase, slice by slice.

    Args:
        batch: The batch.
        plan: How it runs.
        contributors: People of the batch.
        finished: Slices that need not run again, by step and store; changed in place.
        gate: Waits while the batch is paused; raises where it is to stop.
        interrupted: Whether an activity that runs is to be stopped: asked with its slice's number.
        changed: Called when something is to be shown.
    """

    def __init__(
        self,
        batch: Batch,
        plan: Plan,
        contributors: int,
        finished: dict[str, list[int]],
        gate: Callable[[], Awaitable[None]],
        interrupted: Callable[[int | None], bool],
        changed: Callable[[], None],
    ) -> None:
        self._batch = batch
        self._plan = plan
        self._contributors = contributors
        self._finished = finished
        self._gate = gate
        self._interrupted = interrupted
        self._changed = changed
        self.count = 0
        """Pages of the manifest."""
        self.attempt = 0
        """Which attempt wrote it."""

    def is_finished(self, verb: str, phase: Phase) -> bool:
        """Whether every slice of a step has been done."""
        return set(self._numbers(phase)) <= set(self._finished.get(_key(verb, phase), []))

    def forget(self, verb: str, phase: Phase) -> None:
        """Lets every slice of a step run again."""
        self._finished.pop(_key(verb, phase), None)

    async def run(
        self, phase: Phase, verb: str, result: type[T], gather: Callable[[T], None], step: str | None = None
    ) -> None:
        """Runs one activity a slice, at most ``concurrency`` at once; after a failure it starts no more.

        Args:
            phase: The phase.
            verb: What is done: ``back_up``, ``erase``, ...
            result: What an activity answers with.
            gather: Takes each result.
            step: Under which name slices are finished, where the same is done more than once.

        Raises:
            ActivityError: The first that failed, once those under way have ended.
            InterruptedByOperatorError: The batch is to be rolled back.
            TooLongError: The batch is to go on as a new run.
        """
        finished = self._finished.setdefault(_key(step or verb, phase), [])
        waiting = iter([number for number in self._numbers(phase) if number not in finished])
        phase.status.done = sum(self._people(number) for number in finished)
        failures: list[BaseException] = []

        async def work() -> None:
            for number in waiting:
                if failures:
                    return
                try:
                    done = await self._one(phase, verb, _page(number), result)
                except (ActivityError, InterruptedByOperatorError, TooLongError) as error:
                    failures.append(error)
                    return
                gather(done)
                finished.append(number)
                phase.status.done += self._people(number)
                self._changed()

        await asyncio.gather(*(work() for _ in range(self._plan.concurrency)))
        if failures:
            raise failures[0]

    async def _one(self, phase: Phase, verb: str, number: int | None, result: type[T]) -> T:
        """Runs one activity; where an operator stops it, waits at the gate and runs it again."""
        while True:
            await self._gate()
            step = Step(self._batch, self.count, number, self.attempt)
            running = self.start(
                f"{verb}_{phase.store}", step, result, details.slice_name(number, self.count), phase.store
            )
            interruption = asyncio.ensure_future(workflow.wait_condition(lambda: self._interrupted(number)))
            try:
                await workflow.wait([running, interruption], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:  # the whole workflow: what runs must have ended before anything is undone
                running.cancel()
                await workflow.wait([running])
                raise
            if running.done():
                interruption.cancel()
                return await running
            running.cancel()
            try:
                return await running  # it may have ended before the cancellation reached it
            except ActivityError as error:
                if not is_cancelled_exception(error):
                    raise

    def start(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> workflow.ActivityHandle[T]:
        """Starts one activity on the queue of its store.

        Args:
            name: The activity's type.
            argument: Its one argument.
            result: What it answers with.
            summary: What the timeline shows.
            store: The store; None for what concerns the batch.
        """
        rule = retry.of_store(self._plan, store)
        return retry.start(name, argument, result, summary, rule, self._plan.heartbeat_timeout, store)

    def _numbers(self, phase: Phase) -> list[int]:
        return [WHOLE] if phase.status.unit == "batch" else list(range(self.count))

    def _people(self, number: int) -> int:
        """Contributors of a slice; only the last page is not full."""
        if number == WHOLE:
            return self._contributors
        size = self._plan.slice_size
        return max(0, min(size, self._contributors - number * size))


async def ended(child: workflow.ChildWorkflowHandle[Any, T], turned: Callable[[], bool]) -> T:
    """Waits for a batch's child; where the batch is to be rolled back, cancels it and waits for that.

    Args:
        child: The child.
        turned: Whether the batch is to be rolled back.

    Returns:
        The child's result.

    Raises:
        ChildWorkflowError: It failed.
        InterruptedByOperatorError: The batch is to be rolled back.
    """
    turning = asyncio.ensure_future(workflow.wait_condition(turned))
    await workflow.wait([child, turning], return_when=asyncio.FIRST_COMPLETED)
    if not child.done():
        child.cancel()
        await workflow.wait([child])
        raise InterruptedByOperatorError
    turning.cancel()
    return await child


WHOLE = -1
"""Stands for the whole batch among the numbers of slices."""


def _page(number: int) -> int | None:
    return None if number == WHOLE else number


def _key(verb: str, phase: Phase) -> str:
    return f"{verb} {phase.store}"
