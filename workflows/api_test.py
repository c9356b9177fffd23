"""Testing the platform's API, contributor by contributor: check -> a page after the other -> report -> shred."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import Batch
    from activities.platform_api.messages import ApiTestStatus, Expectation, Page, PageCounts, Run
    from workflows import retry
    from workflows.failures import finding
    from workflows.messages import Retry

T = TypeVar("T")


@dataclass(frozen=True)
class ApiTestRequest:
    """Asks for an API test that lies in the vault.

    Args:
        run_id: The test.
        expect: What is expected of everybody.
        contributors: Distinct people of the CSV.
        pages: Pages of them.
        retry: How long one step is tried.
        heartbeat_timeout: After it a silent worker counts as dead.
        park_timeout: How long a test that stopped waits to be started again, before it gives up.
        carried: Where an earlier run left off.
    """

    run_id: str
    expect: Expectation | None
    contributors: int
    pages: int
    retry: Retry
    heartbeat_timeout: timedelta
    park_timeout: timedelta
    carried: ApiTestStatus | None = None


@workflow.defn(name="ApiTest")
class ApiTest:
    """Asks the platform about everybody of a CSV, and counts what it answers.

    One page of people after the other, so that the rate that was agreed holds for the whole test.
    """

    @workflow.init
    def __init__(self, request: ApiTestRequest) -> None:
        self._request = request
        self._run = Run(request.run_id, workflow.info().first_execution_run_id, request.expect)
        fresh = ApiTestStatus(self._run, request.contributors, request.pages, started_at=workflow.now())
        self._status = request.carried or fresh
        self._shred = Batch(request.run_id, "")
        self._resumed = False

    @workflow.run
    async def run(self, request: ApiTestRequest) -> ApiTestStatus:
        """Runs the test.

        Args:
            request: What to ask, by claim check.

        Returns:
            What is known in the end; it names the report.

        Raises:
            ApplicationError: It stopped, and nobody started it again.
        """
        status = self._status
        try:
            if request.carried is None:
                await self._step("check_platform_api", self._run, type(None), "Is the API up?")
            while status.done < request.pages:
                if workflow.info().is_continue_as_new_suggested():
                    workflow.continue_as_new(replace(request, carried=status))
                page = Page(self._run, status.done)
                status.add(await self._step("ask_platform_api", page, PageCounts, f"page {status.done + 1:,}"))
                self._show()
            status.ended_at = workflow.now()
            status.report = await self._step("report_api_test", status, str, "Report")
            await self._step("shred_batch", self._shred, type(None), "Whom it asked about, and the secret")
        except (ApplicationError, ActivityError, asyncio.CancelledError):
            await self._start("shred_batch", self._shred, type(None), "Whom it asked about, and the secret")
            raise
        return status

    @workflow.query
    def status(self) -> ApiTestStatus:
        """What is known of the test now."""
        return self._status

    @workflow.signal
    def resume(self) -> None:
        """Starts a test that stopped again, where it stopped."""
        self._resumed = True

    async def _step(self, name: str, argument: Any, result: type[T], summary: str) -> T:
        """Runs one activity; where it stays failed, waits until somebody has mended the cause."""
        while True:
            try:
                return await self._start(name, argument, result, summary)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                cause = error.cause
                self._status.stopped = finding(error)
                self._status.passing = isinstance(cause, ApplicationError) and cause.type == "TransientError"
            self._resumed = False
            self._show()
            try:
                await workflow.wait_condition(lambda: self._resumed, timeout=self._request.park_timeout)
            except TimeoutError:
                what = f"It stopped, and nobody started it again: {self._status.stopped}"
                raise ApplicationError(what, type="STOPPED", non_retryable=True) from None
            self._status.stopped = None

    def _start(self, name: str, argument: Any, result: type[T], summary: str) -> Awaitable[T]:
        request = self._request
        return retry.start(name, argument, result, summary, request.retry, request.heartbeat_timeout)

    def _show(self) -> None:
        """What the Web UI shows: counts and codes."""
        status = self._status
        asked = f"**{status.asked:,} of {status.contributors:,}** contributors asked about"
        lines = [f"{asked}, expected: {status.run.expect or 'nothing'}", ""]
        lines += [f"- fetch: {code} {count:,}" for code, count in sorted(status.fetches.items())]
        lines += [f"- commit: {code} {count:,}" for code, count in sorted(status.commits.items())]
        lines += [f"- stopped: {status.stopped}"] if status.stopped else []
        workflow.set_current_details("\n".join(lines))
