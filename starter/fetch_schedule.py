"""The schedule of a fetch: Temporal runs it by itself, night after night."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.fetching import order
from starter.session import Session, UsageError
from workflows.fetch import FetchInactive, FetchRequest

CATCH_UP = timedelta(hours=12)
"""A run that was missed for longer is left out: the next one finds the same people."""


def handle(opened: Session) -> ScheduleHandle:
    """The one schedule of a task queue."""
    return opened.client.get_schedule_handle(f"fetch-{opened.temporal.task_queue}")


async def put(opened: Session, cron: str, request: FetchRequest) -> list[datetime]:
    """Makes the schedule, or replaces it.

    Args:
        opened: The session.
        cron: When, in UTC unless it begins with ``CRON_TZ=``.
        request: What is run; its order lies in the vault.

    Returns:
        When it runs next.

    Raises:
        UsageError: Temporal does not understand when.
    """
    known = handle(opened)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            FetchInactive.run,
            request,
            id=known.id,
            task_queue=opened.temporal.task_queue,
            static_summary=f"Fetch {request.criteria}"[:200],
        ),
        spec=ScheduleSpec(cron_expressions=[cron]),
        # a run stays open for as long as its CSV is kept: the next one does not wait for that
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=CATCH_UP),
    )
    try:
        if (earlier := await _request(opened)) is not None:
            vault = opened.vault
            await order.carry_over(await vault.open(earlier.order.batch_id), await vault.open(request.order.batch_id))
        try:
            await opened.client.create_schedule(known.id, schedule)
        except ScheduleAlreadyRunningError:
            await known.update(lambda _: ScheduleUpdate(schedule))
    except RPCError as error:
        await _forget(opened, request)
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise UsageError(f"Temporal does not understand --schedule {cron!r}: write it as in '0 2 * * *'.") from None
        raise
    await _forget(opened, earlier)
    return list((await known.describe()).info.next_action_times)


async def remove(opened: Session) -> None:
    """Ends the schedule, and destroys its order in the vault; what its runs handed over goes on.

    Raises:
        UsageError: There is none.
    """
    if (earlier := await _request(opened)) is None:
        raise UsageError("There is no schedule to end.")
    await handle(opened).delete()
    await _forget(opened, earlier)


async def _request(opened: Session) -> FetchRequest | None:
    """What the schedule runs, or None where there is none."""
    try:
        action = (await handle(opened).describe()).schedule.action
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    assert isinstance(action, ScheduleActionStartWorkflow), "it was made here"
    (request,) = await opened.client.data_converter.decode(action.args, [FetchRequest])
    assert isinstance(request, FetchRequest)
    return request


async def _forget(opened: Session, request: FetchRequest | None) -> None:
    if request is not None:
        await opened.vault.shred(request.order.batch_id)
