"""The canary's own story: remove leftovers -> prepare -> look -> plant -> erase as a batch -> judge -> take it away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.canary.messages import CanaryResult, CanaryStep, Preparation
    from activities.contract import Finding, Impact, Planted
    from activities.messages import Batch
    from activities.status import ERASED, BatchStatus
    from workflows import retry
    from workflows.failures import finding
    from workflows.messages import EraseRequest, Plan
    from workflows.slices import ended
    from workflows.verify import Whole

T = TypeVar("T")

PLACE = "canary"

IN_TURN = timedelta(seconds=10)
"""How often a batch asks whether the canary of another one has ended: there is only one at a time."""

PATIENCE = timedelta(minutes=10)
"""How long the canary's erasure may take to turn round; what cannot be put back in that time need not be."""

SHOWN = 30
"""Places that a message names."""

_AGAIN = "Nobody of the batch was touched. Mend the cause and submit the file again: that takes its records away first."


@dataclass(frozen=True)
class CanaryRequest:
    """Asks for the erasure of the canary of a batch.

    Args:
        batch: The batch.
        canary: The canary's name.
        operator: Who submitted the batch.
        plan: How the batch runs.
        manifest: The batch's.
    """

    batch: Batch
    canary: str
    operator: str
    plan: Plan
    manifest: Whole


async def prove(
    request: CanaryRequest, gate: Callable[[], Awaitable[None]], turned: Callable[[], bool]
) -> CanaryResult:
    """Has the canary erased by a workflow of its own, and waits for it; where another batch's is under way, its turn.

    Args:
        request: Whose canary.
        gate: Waits while the batch is paused; raises where it is to stop.
        turned: Whether the batch is to be rolled back.

    Raises:
        InterruptedByOperatorError: It is; what was planted has been taken away.
        TooLongError: The batch is to go on as a new run.
    """
    while True:
        await gate()
        try:
            child = await workflow.start_child_workflow(
                EraseCanary.run,
                request,
                id=request.canary,
                parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
                static_summary="Erase a made-up contributor before real ones",
            )
            break
        except WorkflowAlreadyStartedError:
            with suppress(TimeoutError):
                await workflow.wait_condition(turned, timeout=IN_TURN, timeout_summary="Another batch's canary")
    try:
        return await ended(child, turned)
    except ChildWorkflowError as error:
        failure = Finding(PLACE, f"its erasure did not end: {error.cause or error}", _AGAIN)
        return CanaryResult("", problems=[failure])


@workflow.defn(name="EraseCanary")
class EraseCanary:
    """Plants a made-up contributor in all stores, has it erased as any other, and says whether it is gone.

    Whatever becomes of it, what was planted stands in the vault, and is taken away in the end, or by the next batch.
    """

    @workflow.init
    def __init__(self, request: CanaryRequest) -> None:
        self._request = request
        run = workflow.info().run_id[-8:]  # its beginning is the time, and not each run's own
        erasure = f"{request.batch.batch_id}-canary-{run}"
        self._step = CanaryStep(request.batch, request.canary, erasure)
        self._result = CanaryResult(erasure)
        self._sealed = False

    @workflow.run
    async def run(self, request: CanaryRequest) -> CanaryResult:
        """Runs it.

        Args:
            request: Whose canary.

        Returns:
            What was planted, and why the batch stops, if it does.
        """
        work = asyncio.ensure_future(self._run(request))
        try:
            await workflow.wait([work])
        except asyncio.CancelledError:  # its erasure turns round, or ends with this workflow; then all of it goes
            work.cancel()
            await workflow.wait([work], timeout=PATIENCE.total_seconds())
            await self._uproot()
            await self._unseal()
            raise
        try:
            await work
        except ActivityError as error:
            self._result.problems.append(finding(error))
        await self._unseal()
        return self._result

    @workflow.query
    def result(self) -> CanaryResult:
        """What is known of it now."""
        return self._result

    async def _run(self, request: CanaryRequest) -> None:
        await self._uproot()
        manifest = request.manifest
        task = Preparation(request.batch, request.canary, self._step.erasure, manifest.slices, manifest.attempt)
        self._sealed = True
        await self._start("prepare_canary", task, type(None), "Nobody has its identities")
        if await self._is_there():
            return
        await self._plant()
        if not self._result.problems:
            await self._erase(request)
        if not self._result.problems:
            try:
                self._result.left.extend(await self._uproot())
            except ActivityError as error:  # it is gone all the same: what stays are masks
                self._result.left.append(finding(error))

    async def _is_there(self) -> bool:
        """Whether a store holds the canary's identities before anything of it was planted."""
        found = await self._everywhere("find_canary", Impact, "Look for it in")
        for store, impact in found.items():
            for place, count in impact.places.items():
                if count:
                    what = f"{count:,} records hold an identity of the canary, and the tool has not planted them"
                    remedy = "Choose other identities for it: [canary] in the data map; or erase these records."
                    self._result.problems.append(Finding(f"{store} {place}", what, remedy))
        return bool(self._result.problems)

    async def _plant(self) -> None:
        try:
            done = await self._everywhere("plant", Planted, "Plant it in")
        except ActivityError as error:
            self._result.problems.append(finding(error))
            await self._uproot()
            return
        for store, planted in sorted(done.items()):
            self._result.planted.update({f"{store} {place}": count for place, count in planted.places.items()})
            self._result.missed.extend(replace(each, place=f"{store} {each.place}") for each in planted.missed)
            if not planted.places:
                what = "nothing of the canary could be planted, so its erasure would prove nothing"
                why = "; ".join(str(each) for each in planted.missed)
                self._result.problems.append(Finding(store, what, why or "Map something there, or use --no-canary."))
        workflow.set_current_details(str(self._result))
        if self._result.problems:
            await self._uproot()

    async def _erase(self, request: CanaryRequest) -> None:
        # nothing of it waits for an operator: a phase that fails ends, and that is what the canary is there to tell
        plan = replace(
            request.plan,
            critical=[],
            approvals=0,
            park_timeout=timedelta(seconds=1),
            retention=timedelta(),
            canary=None,
        )
        self._sealed = False  # from here on the vault's part of it ends with its batch
        batch = Batch(self._step.erasure, request.batch.data_map_digest)
        try:
            status = await workflow.execute_child_workflow(
                "EraseContributors",
                EraseRequest(batch, request.operator, 1, 0, plan),
                id=batch.batch_id,
                result_type=BatchStatus,
                memo={"content": "", "contributors": 1, "operator": request.operator},
                static_summary="Erase the canary, as anybody else is erased",
            )
        except ChildWorkflowError as error:
            stays = {"its batch": str(error.cause or error)}
        else:
            stays = remains(status, self._result.planted, plan)
        await self._start("remove_tombstones", batch, int, "Whoever comes back, the canary is meant to")
        if stays:
            where = _listed([f"{place} ({why})" for place, why in sorted(stays.items())])
            planted = _listed(sorted(self._result.planted))
            what = f"the canary was not erased wholly: {where}. It was planted in {planted}"
            self._result.problems.append(Finding(PLACE, what, _AGAIN))

    async def _uproot(self) -> list[Finding]:
        """Takes away all that was planted, by this batch or an earlier one; what stays is tried again by the next."""
        stays = [
            replace(each, place=f"{store} {each.place}")
            for store, found in (await self._everywhere("uproot", list[Finding], "Take it out of")).items()
            for each in found
        ]
        if not stays:
            await self._start("close_canary", self._step, type(None), "All of it was taken away")
        return stays

    async def _unseal(self) -> None:
        """Leaves nothing in the vault of a batch that was never begun."""
        if self._sealed:
            batch = Batch(self._step.erasure, "")
            await self._start("shred_batch", batch, type(None), "Its batch was never begun")

    async def _everywhere(self, verb: str, result: type[T], summary: str) -> dict[str, T]:
        """Does the same in all stores at once; all have ended when this ends."""
        stores = self._request.plan.order
        running = [self._start(f"{verb}_{store}", self._step, result, f"{summary} {store}", store) for store in stores]
        done = await asyncio.gather(*running, return_exceptions=True)
        found: dict[str, T] = {}
        for store, each in zip(stores, done, strict=True):
            if isinstance(each, BaseException):
                raise each
            found[store] = each
        return found

    def _start(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> workflow.ActivityHandle[T]:
        plan = self._request.plan
        return retry.start(name, argument, result, summary, retry.of_store(plan, store), plan.heartbeat_timeout, store)


def remains(status: BatchStatus, planted: Mapping[str, int], plan: Plan) -> dict[str, str]:
    """What stays of the canary, or is not known to be gone, once its batch has ended.

    A warning that the platform owes to itself (an index without a field) says nothing of the canary, and stops nobody.

    Args:
        status: The batch that erased it.
        planted: Records by ``<store> <place>``.
        plan: How that batch ran.

    Returns:
        Why, by place.
    """
    stays: dict[str, str] = {}
    for phase in status.phases:
        after = phase.after or {}
        stays |= {f"{phase.store} {place}": f"{count:,} records" for place, count in after.items() if count}
        conflicted = {place: tally.conflicted for place, tally in phase.erased.items() if tally.conflicted}
        stays |= {f"{phase.store} {place}": f"{count:,} in conflict" for place, count in conflicted.items()}
        if phase.state not in ERASED:
            stays[phase.store] = f"{phase.state}: {phase.error}" if phase.error else str(phase.state)
        elif phase.after is None:
            stays[phase.store] = "not counted"
        found = {f"{phase.store} {place}" for place, count in phase.before.items() if count}
        own = {place for place in planted if place.partition(" ")[0] == phase.store}
        stays |= dict.fromkeys(own - found, "not found by the eraser's own search")
    if plan.verify is not None:
        verification = status.verification
        if verification is None:
            stays["verification"] = "not made"
        else:
            stays |= {place: f"{count:,} residuals" for place, count in verification.residuals.items()}
            stays |= {each.place: each.what for each in verification.cautions if each.place not in stays}
    return stays


def _listed(places: Sequence[str]) -> str:
    more = f", and {len(places) - SHOWN:,} more" if len(places) > SHOWN else ""
    return ", ".join(places[:SHOWN]) + more
