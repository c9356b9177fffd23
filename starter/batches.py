"""What the commands know of a batch's workflow: find it, follow it, and see whether anybody works on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import TypeAdapter
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from activities import report
from activities.datamap import DataMap
from activities.messages import Depth
from activities.status import BatchStatus
from activities.temporal import idle_queues
from activities.vault import VaultMissingError
from starter.session import Session
from workflows.erase import EraseContributors
from workflows.messages import Looking

WORKFLOW_TYPE = "EraseContributors"

QUERY_TIMEOUT = timedelta(seconds=3)
"""A worker answers a query at once; longer means that there is none."""

_STATUS = TypeAdapter(BatchStatus)


@dataclass(frozen=True)
class View:
    """One look at a batch.

    Args:
        closed: Whether its workflow has ended.
        status: What is known; None where no worker answers and there is no report yet.
        activity: What running activities last reported: place and records, by activity type.
        idle_queues: Task queues that nobody polls.
        answered: Whether a worker (or the report) answered.
    """

    closed: bool
    status: BatchStatus | None
    activity: dict[str, dict[str, int]] = field(default_factory=dict)
    idle_queues: list[str] = field(default_factory=list)
    answered: bool = True


async def describe(session: Session, batch_id: str) -> WorkflowExecutionDescription | None:
    """The batch's workflow, or None where there is none."""
    try:
        return await session.client.get_workflow_handle(batch_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def look(session: Session, batch_id: str) -> View:
    """Looks at a batch: the workflow's own answer while it runs, the report once it has ended.

    Raises:
        RPCError: Temporal does not know the batch.
    """
    handle = session.client.get_workflow_handle(batch_id)
    description = await handle.describe()
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return View(closed=True, status=await reported(session, batch_id))
    try:
        status = await handle.query(EraseContributors.status, rpc_timeout=QUERY_TIMEOUT)
    except (RPCError, WorkflowQueryRejectedError):
        return View(False, None, idle_queues=await idle_queues(session.client, session.temporal), answered=False)
    activity = {
        pending.activity_type.name: (await session.client.data_converter.decode(pending.heartbeat_details.payloads))[0]
        for pending in description.raw_description.pending_activities
        if pending.heartbeat_details.payloads
    }
    waiting = [phase.store for phase in status.phases]
    return View(False, status, activity, await idle_queues(session.client, session.temporal, waiting))


async def reported(session: Session, batch_id: str) -> BatchStatus | None:
    """The status in the batch's report, or None where it ended without one."""
    try:
        found = await report.read(await session.vault.archive(batch_id))
    except VaultMissingError:
        return None
    return _STATUS.validate_python(found["json"])


def looking(data_map: DataMap, depth: Depth) -> Looking:
    """How it is looked for what is left.

    Args:
        data_map: Says where beside the stores.
        depth: How far.
    """
    return Looking(depth, ["temporal", *(["dumps"] if data_map.verification.dumps else [])])
