"""The sweep: look for those who came back -> make a batch of them -> start it, as if somebody had submitted it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.messages import Batch
    from activities.sweeping.messages import Gathered, Sighted, Sweep, Swept
    from workflows import retry
    from workflows.erase import EraseContributors
    from workflows.failures import finding
    from workflows.messages import EraseRequest, Plan

T = TypeVar("T")


@dataclass(frozen=True)
class SweepRequest:
    """Asks for a sweep.

    Args:
        data_map_digest: What the data map in the vault must hash to.
        operator: Who asks; also of the batch.
        plan: How the batch runs.
        dry_run: Whether nothing is erased.
    """

    data_map_digest: str
    operator: str
    plan: Plan
    dry_run: bool = False


@workflow.defn(name="SweepErased")
class SweepErased:
    """Finds who was erased and came back, and has them erased again under the same policy, approvals included."""

    @workflow.init
    def __init__(self, request: SweepRequest) -> None:
        self._request = request
        self._swept = Swept()

    @workflow.run
    async def run(self, request: SweepRequest) -> Swept:
        """Runs the sweep; the batch that it starts goes on by itself.

        Args:
            request: What to do.

        Returns:
            What was found, and the batch.

        Raises:
            ApplicationError: It cannot be known who registered anew, or the batch cannot be made.
        """
        sweep = Sweep(f"sweep-{workflow.uuid4().hex}", request.data_map_digest)
        gathered = Gathered()
        try:
            await self._look(sweep)
            if not request.dry_run:
                gathered = await self._step("gather_swept", sweep, Gathered, "Who came back, as a batch")
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise ApplicationError(str(finding(error)), type="SWEEP", non_retryable=True) from None
        finally:
            await self._step("shred_batch", Batch(sweep.sweep_id, ""), type(None), "What was found")
        if gathered.batch_id is not None:
            await self._erase(gathered.batch_id, gathered)
        return self._swept

    async def _look(self, sweep: Sweep) -> None:
        """Looks through the identity table, since it says who stays, and then through all stores at once."""
        self._found(await self._step("sweep_accounts", sweep, Sighted, "Who came back, and who registered anew"))
        order = self._request.plan.order
        for found in await asyncio.gather(*(self._store(store, sweep) for store in order)):
            self._found(found)

    async def _store(self, store: str, sweep: Sweep) -> Sighted:
        try:
            return await self._step(f"sweep_{store}", sweep, Sighted, f"Identities in {store}", store)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return Sighted(store, not_looked_at=[finding(error)])

    def _found(self, sighted: Sighted) -> None:
        self._swept.stores.append(sighted)
        workflow.set_current_details(_as_markdown(self._swept))

    async def _erase(self, batch_id: str, gathered: Gathered) -> None:
        # an address that somebody has who stays is left out: nobody may be there to decide
        plan = replace(self._request.plan, shared="keep")
        batch = Batch(batch_id, self._request.data_map_digest)
        request = EraseRequest(batch, self._request.operator, gathered.contributors, 0, plan)
        self._swept.batch_id, self._swept.contributors = batch_id, gathered.contributors
        self._swept.more = gathered.more
        try:
            await workflow.start_child_workflow(
                EraseContributors.run,
                request,
                id=batch_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                memo=request.memo(content=batch_id),
                static_summary=request.summary,
                static_details=request.details,
            )
        except WorkflowAlreadyStartedError:
            self._swept.was_running = True

    async def _step(self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None) -> T:
        queue, plan = workflow.info().task_queue, self._request.plan
        rule = retry.of_store(plan, store)
        done: T = await workflow.execute_activity(
            name,
            argument,
            result_type=result,
            task_queue=f"{queue}-{store}" if store else queue,
            summary=summary,
            heartbeat_timeout=plan.heartbeat_timeout,
            start_to_close_timeout=retry.EXECUTION_TIMEOUT,
            schedule_to_close_timeout=rule.give_up_after,
            retry_policy=retry.policy(rule),
        )
        return done


def _as_markdown(swept: Swept) -> str:
    """What the Web UI shows: places and counts."""
    lines = [f"**{swept.came_back:,} identities came back**", "", "| store | place | came back | kept |"]
    lines += ["|---|---|---:|---:|"]
    for store in swept.stores:
        for place in sorted({*store.came_back, *store.kept}):
            back, kept = store.came_back.get(place, 0), store.kept.get(place, 0)
            lines.append(f"| {store.store} | `{place}` | {back:,} | {kept:,} |")
    return "\n".join([*lines, "", *(f"- {each}" for store in swept.stores for each in store.not_looked_at)])
