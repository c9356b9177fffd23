"""Looking for what an erasure left: estimate -> every store, Temporal and dumps at once -> the platform -> report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.contract import Finding
    from activities.messages import Batch, Resolution, Resolved
    from activities.verification.contract import Estimate, Scan
    from activities.verification.messages import Access, Target, VerificationStatus
    from workflows import details, retry
    from workflows.failures import finding
    from workflows.messages import Looking, Retry

T = TypeVar("T")


@dataclass(frozen=True)
class Whole:
    """Names a manifest that is written already.

    Args:
        slices: Its pages.
        attempt: Which attempt wrote it.
    """

    slices: int
    attempt: int


@dataclass(frozen=True)
class VerifyRequest:
    """Asks for the verification of a batch that lies in the vault.

    Args:
        batch: The batch.
        contributors: How many people it has.
        stores: The data map's stores.
        looking: How far to look, and where beside the stores.
        retry: How long one step is tried.
        heartbeat_timeout: After it a silent worker counts as dead.
        manifest: The batch's; None where it is a batch that was made for the verification, and is to be shredded.
        estimate_only: Whether to reckon what it will cost, and no more.
    """

    batch: Batch
    contributors: int
    stores: list[str]
    looking: Looking
    retry: Retry
    heartbeat_timeout: timedelta
    manifest: Whole | None = None
    estimate_only: bool = False


@workflow.defn(name="VerifyErasure")
class VerifyErasure:
    """Looks for every identity of a batch in all that the stores' own catalogues name, and trusts no eraser.

    What cannot be looked at is not proven: a scan that fails is put down as such, and the others go on.
    """

    @workflow.init
    def __init__(self, request: VerifyRequest) -> None:
        self._request = request
        self._status = VerificationStatus(
            request.batch.batch_id,
            request.looking.depth,
            request.contributors,
            [*request.stores, *request.looking.beside],
            started_at=workflow.now(),
        )

    @workflow.run
    async def run(self, request: VerifyRequest) -> VerificationStatus:
        """Runs the verification.

        Args:
            request: Whom to look for, by claim check.

        Returns:
            What was found, by place; it names the report.
        """
        try:
            await self._verify(request)
        finally:
            if request.manifest is None:
                batch = Batch(request.batch.batch_id, "")
                await self._start("shred_batch", batch, type(None), "Whom it looked for")
        return self._status

    @workflow.query
    def status(self) -> VerificationStatus:
        """What is known of the verification now."""
        return self._status

    async def _verify(self, request: VerifyRequest) -> None:
        status, manifest = self._status, request.manifest
        if manifest is None:
            task = Resolution(request.batch.batch_id, request.batch.data_map_digest, shared="mask")
            resolved = await self._start("resolve_identities", task, Resolved, "Their identities")
            manifest = Whole(resolved.slices, task.attempt)
        own = workflow.info().workflow_id if request.manifest is None else request.batch.batch_id
        target = Target(request.batch, manifest.slices, manifest.attempt, request.looking.depth, own)
        status.left_out = await self._start("count_left_out", target, int, "Who was left out")
        await asyncio.gather(*(self._estimate(store, target) for store in status.stores))
        self._show()
        if not request.estimate_only:
            await asyncio.gather(*(self._scan(store, target) for store in status.stores))
            what = "Fetch API and identity table"
            await self._attempt("platform API", "ask_platform", target, Access, what, None, self._asked)
        status.ended_at = workflow.now()
        self._show()
        status.report = await self._start("report_verification", status, str, "Report into the vault")

    async def _estimate(self, store: str, target: Target) -> None:
        def take(estimate: Estimate) -> None:
            self._status.estimates[store] = estimate

        await self._attempt(
            store, f"estimate_scan_{store}", target, Estimate, f"Cost of {store}", self._queue(store), take
        )

    async def _scan(self, store: str, target: Target) -> None:
        if store not in self._status.failures:
            await self._attempt(
                store,
                f"scan_{store}",
                target,
                Scan,
                f"Residuals in {store}",
                self._queue(store),
                self._status.scans.append,
            )
            self._show()

    def _asked(self, access: Access) -> None:
        self._status.access = access

    def _queue(self, store: str) -> str | None:
        return store if store in self._request.stores else None

    async def _attempt(
        self,
        place: str,
        name: str,
        target: Target,
        result: type[T],
        summary: str,
        queue: str | None,
        take: Callable[[T], None],
    ) -> None:
        """Runs one activity; where it stays failed, its place is not proven."""
        try:
            take(await self._start(name, target, result, summary, queue))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            failure = finding(error)
            self._status.failures[place] = Finding(place, f"could not be looked at: {failure.what}", failure.remedy)

    def _start(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> workflow.ActivityHandle[T]:
        request = self._request
        return retry.start(name, argument, result, summary, request.retry, request.heartbeat_timeout, store)

    def _show(self) -> None:
        workflow.set_current_details(details.of_verification(self._status))
