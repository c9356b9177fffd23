"""The erasure of one batch.

check -> resolve -> back up -> elasticsearch -> clickhouse -> postgres -> s3 -> redis -> recount -> report
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.contract import BackUp, Erased, Finding, Impact
    from activities.messages import Checked, Resolved, Step
    from activities.status import BatchStatus, Outcome, PhaseState, PhaseStatus, Stage
    from workflows import details, retry
    from workflows.messages import EraseRequest
    from workflows.phases import Phase

T = TypeVar("T")


@workflow.defn(name="EraseContributors")
class EraseContributors:
    """Erases a batch's contributors from every store, phase by phase, and reports.

    The workflow sees counts and slice numbers only; people stay in the vault.
    """

    @workflow.init
    def __init__(self, request: EraseRequest) -> None:
        self._request = request
        self._status = BatchStatus(
            batch_id=request.batch.batch_id,
            operator=request.operator,
            data_map_digest=request.batch.data_map_digest,
            contributors=request.contributors,
            duplicates=request.duplicates,
            phases=[
                PhaseStatus(store, critical=store in request.critical, total=request.contributors)
                for store in request.order
            ],
            started_at=workflow.now(),
        )
        self._phases = [Phase(status) for status in self._status.phases]

    @workflow.run
    async def run(self, request: EraseRequest) -> BatchStatus:
        """Runs the batch.

        Args:
            request: What to erase, by claim check.

        Returns:
            The batch's status, with every count.

        Raises:
            ApplicationError: The batch was refused or failed; the report says where and what to do.
        """
        del request  # kept by the constructor, for signals and queries that come early
        try:
            await self._check()
            await self._resolve()
            await self._back_up()
            await self._erase()
            await self._recount()
            self._status.outcome = Outcome.WARNED if self._status.warnings else Outcome.ERASED
        except ActivityError as error:
            self._status.outcome = Outcome.REFUSED if self._untouched else Outcome.FAILED
            self._status.problems.append(_finding(error))
        except _RefusedError:
            self._status.outcome = Outcome.REFUSED
        except _PhaseFailedError:
            self._status.outcome = Outcome.FAILED
        await self._report()
        if self._status.outcome in (Outcome.REFUSED, Outcome.FAILED):
            raise ApplicationError(
                f"The batch {self._status.outcome}: {self._reasons()}",
                type=self._status.outcome.name,
                non_retryable=True,
            )
        return self._status

    @workflow.query
    def status(self) -> BatchStatus:
        """What is known of the batch now."""
        return self._status

    async def _check(self) -> None:
        self._enter(Stage.CHECK)
        await self._execute("check_batch", self._request.batch, type(None), "Vault and submission")
        checks = [
            self._execute(f"check_{phase.store}", self._request.batch, Checked, f"Probe {phase.store}", phase.store)
            for phase in self._phases
        ]
        for phase, checked in zip(self._phases, await asyncio.gather(*checks), strict=True):
            phase.status.unit = checked.unit
            phase.status.version = checked.health.version
            phase.status.notes = checked.health.notes
            phase.warn(checked.health.warnings)
            self._status.problems += checked.health.problems
        if self._status.problems:
            raise _RefusedError

    async def _resolve(self) -> None:
        self._enter(Stage.RESOLVE)
        resolved = await self._execute(
            "resolve_identities",
            self._request.batch,
            Resolved,
            f"Identities of {self._status.contributors:,} contributors",
        )
        self._status.slices = resolved.slices
        self._status.unknown = resolved.unknown
        self._status.manifest_digest = resolved.digest

    async def _back_up(self) -> None:
        self._enter(Stage.BACK_UP)
        for phase in self._phases:
            self._become(phase, PhaseState.BACKING_UP)
            await self._each_slice(phase, "back_up", BackUp, phase.backed_up)
            self._become(phase, PhaseState.BACKED_UP)

    async def _erase(self) -> None:
        self._enter(Stage.ERASE)
        for phase in self._phases:
            self._become(phase, PhaseState.RUNNING)
            try:
                await self._each_slice(phase, "erase", Erased, phase.erased)
            except ActivityError as error:
                phase.status.error = str(_finding(error))
                self._become(phase, PhaseState.FAILED)
                if phase.status.critical:
                    raise _PhaseFailedError from None
                phase.warn([Finding(phase.store, "the phase failed, the batch went on", phase.status.error)])
            else:
                self._become(phase, PhaseState.WARNED if phase.status.warnings else PhaseState.DONE)

    async def _recount(self) -> None:
        self._enter(Stage.RECOUNT)
        for phase in self._phases:
            if phase.status.state is PhaseState.FAILED:
                continue
            await self._each_slice(phase, "count", Impact, phase.counted)
            if left := sum((phase.status.after or {}).values()):
                remedy = "They came in while the batch ran, or were in conflict: submit the file as a new batch."
                phase.warn([Finding(phase.store, f"{left:,} records still hold an identity of the batch", remedy)])

    async def _report(self) -> None:
        self._enter(Stage.REPORT)
        self._status.ended_at = workflow.now()
        await self._execute("write_report", self._status, str, "Report into the vault")
        self._enter(Stage.END)

    async def _each_slice(self, phase: Phase, verb: str, result: type[T], gather: Callable[[T], None]) -> None:
        """Runs one activity a slice, at most ``concurrency`` at once; after a failure it starts no more.

        Raises:
            ActivityError: The first that failed, once those under way have ended.
        """
        numbers = [None] if phase.status.unit == "batch" else list(range(self._status.slices))
        waiting = iter(numbers)
        failures: list[ActivityError] = []

        async def work() -> None:
            for number in waiting:
                if failures:
                    return
                step = Step(self._request.batch, self._status.slices, number)
                summary = details.slice_name(number, self._status.slices)
                try:
                    done = await self._execute(f"{verb}_{phase.store}", step, result, summary, phase.store)
                except ActivityError as error:
                    failures.append(error)
                    return
                gather(done)
                if verb != "count":
                    phase.status.done += self._people(number)
                self._show()

        await asyncio.gather(*(work() for _ in range(min(self._request.concurrency, len(numbers)))))
        if failures:
            raise failures[0]

    def _people(self, number: int | None) -> int:
        """Contributors of a slice; only the last page is not full."""
        if number is None:
            return self._status.contributors
        size = self._request.slice_size
        return min(size, self._status.contributors - number * size)

    def _execute(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> Awaitable[T]:
        """Runs one activity on the queue of its store."""
        queue = workflow.info().task_queue
        return workflow.execute_activity(
            name,
            argument,
            result_type=result,
            task_queue=f"{queue}-{store}" if store else queue,
            summary=summary,
            heartbeat_timeout=timedelta(seconds=self._request.heartbeat_timeout),
            start_to_close_timeout=retry.EXECUTION_TIMEOUT,
            schedule_to_close_timeout=retry.PHASE_TIMEOUT,
            retry_policy=retry.retry_policy(self._request.max_attempts),
        )

    @property
    def _untouched(self) -> bool:
        return self._status.stage in (Stage.CHECK, Stage.RESOLVE, Stage.BACK_UP)

    def _reasons(self) -> str:
        errors = [f"{phase.store}: {phase.status.error}" for phase in self._phases if phase.status.error]
        return "; ".join([*(str(problem) for problem in self._status.problems), *errors])

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


class _PhaseFailedError(Exception):
    """A critical phase failed."""


def _finding(error: ActivityError) -> Finding:
    """What failed, from an activity's failure; our activities' messages hold no personal data."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return Finding(error.activity_type, cause.message, "See the batch's history in the Web UI.")
    what = f"{type(cause).__name__}: {cause}" if cause else str(error)
    return Finding(error.activity_type, what, "Check that the worker lives and reaches its stores, then submit again.")
