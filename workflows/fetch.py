"""Fetching whom to erase: connect -> query, filter, sort, limit, export -> create backup -> hand over -> shred."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError, is_cancelled_exception
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.fetching.messages import Criteria, Fetch, Fetched, FetchStage, FetchStatus, Submitted
    from activities.messages import Batch
    from workflows import fetch_details, retry
    from workflows.erase import EraseContributors
    from workflows.failures import finding
    from workflows.messages import EraseRequest, Plan, Retry

T = TypeVar("T")


@dataclass(frozen=True)
class HandOver:
    """Says that a batch is to be made of what is fetched.

    Args:
        operator: Who asks for it; somebody else has to approve each batch.
        plan: How it runs.
    """

    operator: str
    plan: Plan


@dataclass(frozen=True)
class FetchRequest:
    """Asks for a fetch whose order lies in the vault.

    Args:
        order: The order; named as the workflow where it is for this run alone.
        criteria: Whom to fetch.
        as_of: From when on the days are counted back; from the beginning of the run unless said.
        retry: How long one step is tried.
        heartbeat_timeout: After it a silent worker counts as dead.
        keep: Whether the CSV stays in the vault when it was taken, with a dated copy beside it.
        keep_for: After it the CSV is destroyed in the vault, taken or not.
        hand_over: Whether a batch is made of it.
    """

    order: Batch
    criteria: Criteria
    as_of: datetime | None
    retry: Retry
    heartbeat_timeout: timedelta
    keep: bool
    keep_for: timedelta
    hand_over: HandOver | None = None


@workflow.defn(name="FetchInactive")
class FetchInactive:
    """Finds inactive contributors, and leaves the CSV with them in the vault until it is taken or handed over.

    The workflow sees counts only.
    """

    @workflow.init
    def __init__(self, request: FetchRequest) -> None:
        self._request = request
        run_id, now = workflow.info().workflow_id, workflow.now()
        self._task = Fetch(run_id, request.order, request.criteria, request.as_of or now, now)
        self._status = FetchStatus(run_id, request.criteria, self._task.as_of, now)

    @workflow.run
    async def run(self, request: FetchRequest) -> FetchStatus:
        """Runs the fetch.

        Args:
            request: Whom to fetch.

        Returns:
            What was found, in counts.

        Raises:
            ApplicationError: PostgreSQL or the vault cannot be used, or the data map does not fit.
        """
        try:
            await self._fetch(request)
            await self._wait(request)
        except (ActivityError, asyncio.CancelledError) as error:
            await self._shred()
            if isinstance(error, ActivityError) and not is_cancelled_exception(error):
                raise _failure(error) from None
            raise
        await self._shred()
        self._enter(FetchStage.ENDED)
        return self._status

    @workflow.query
    def status(self) -> FetchStatus:
        """What is known of the fetch now."""
        return self._status

    @workflow.signal
    def taken(self) -> None:
        """Says that the CSV was taken out of the vault."""
        self._status.taken += 1
        self._show()

    async def _fetch(self, request: FetchRequest) -> None:
        status = self._status
        self._enter(FetchStage.CONNECT)
        await self._step("check_fetch", type(None), "Connect to PostgreSQL")
        self._enter(FetchStage.EXPORT)
        what = f"Query {request.criteria}; sort by last activity; limit {request.criteria.max_contributors:,}; export"
        status.fetched = await self._step("export_inactive", Fetched, what)
        if not status.fetched.contributors:
            return
        if request.keep:
            self._enter(FetchStage.BACK_UP)
            status.backed_up = await self._step("back_up_export", str, "Create backup")
        if request.hand_over is not None:
            self._enter(FetchStage.HAND_OVER)
            await self._erase(request.hand_over)

    async def _erase(self, hand_over: HandOver) -> None:
        """Makes a batch of the CSV and starts it; it goes on by itself, and waits for somebody to approve it."""
        submitted = await self._step("submit_export", Submitted, "Submit as a batch")
        batch = Batch(submitted.batch_id, self._request.order.data_map_digest)
        request = EraseRequest(batch, hand_over.operator, submitted.contributors, 0, hand_over.plan)
        try:
            await workflow.start_child_workflow(
                EraseContributors.run,
                request,
                id=submitted.batch_id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                memo=request.memo(submitted.batch_id),
                static_summary=request.summary,
                static_details=request.details,
            )
        except WorkflowAlreadyStartedError:
            self._status.was_running = True
        self._status.batch_id = submitted.batch_id
        self._show()

    async def _wait(self, request: FetchRequest) -> None:
        """Keeps the CSV for whoever takes it."""
        status = self._status
        if status.fetched is None or not status.fetched.contributors or (request.hand_over and not request.keep):
            return
        status.kept_until = workflow.now() + request.keep_for
        self._enter(FetchStage.READY)
        try:
            await workflow.wait_condition(
                lambda: bool(status.taken) and not request.keep,
                timeout=request.keep_for,
                timeout_summary="Until the CSV is destroyed in the vault",
            )
        except TimeoutError:
            return

    async def _shred(self) -> None:
        """Destroys whom it fetched; an order that later runs need stays."""
        await self._start("shred_batch", Batch(self._task.run_id, ""), type(None), "Whom it fetched")

    def _step(self, name: str, result: type[T], summary: str) -> Awaitable[T]:
        return self._start(name, self._task, result, summary)

    def _start(self, name: str, argument: Any, result: type[T], summary: str) -> Awaitable[T]:
        return workflow.execute_activity(
            name,
            argument,
            result_type=result,
            summary=summary[:200],
            heartbeat_timeout=self._request.heartbeat_timeout,
            start_to_close_timeout=retry.EXECUTION_TIMEOUT,
            schedule_to_close_timeout=self._request.retry.give_up_after,
            retry_policy=retry.policy(self._request.retry),
        )

    def _enter(self, stage: FetchStage) -> None:
        self._status.stage = stage
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(fetch_details.as_markdown(self._status))


def _failure(error: ActivityError) -> ApplicationError:
    """Why the fetch ends, in words for the operator, and of which family of errors it is."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return ApplicationError(cause.message, type=cause.type, non_retryable=True)
    return ApplicationError(str(finding(error)), type="TransientError", non_retryable=True)
