"""Follows a workflow that is no batch: looks at it twice a second until it has ended, and says who is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError

from activities.temporal import idle_queues
from starter.batches import QUERY_TIMEOUT
from starter.session import Session, err
from starter.watch import INTERVAL

Status = TypeVar("Status")


@dataclass(frozen=True)
class Look(Generic[Status]):
    """One look at a running workflow.

    Args:
        status: What it says of itself.
        now: What its running activities last reported: places and records.
    """

    status: Status
    now: str


class Said:
    """What was said on standard error: each line once."""

    def __init__(self) -> None:
        self._lines: set[str] = set()

    def say(self, line: str) -> None:
        """Says a line, unless it was said before."""
        if line not in self._lines:
            self._lines.add(line)
            err.print(line, highlight=False, markup=False, soft_wrap=True)


async def looks(
    opened: Session, handle: WorkflowHandle[Any, Any], query: Any, result: type[Status], said: Said
) -> AsyncGenerator[Look[Status], None]:
    """Yields one look after the other until the workflow has ended.

    Where no worker answers, and where an activity is tried again, that is said once; our activities' messages hold no
    personal data.

    Args:
        opened: The session.
        handle: The workflow.
        query: Its query for its status.
        result: What that answers with.
        said: What was said already.
    """
    while (description := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
        try:
            status = await handle.query(query, result_type=result, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, WorkflowQueryRejectedError):
            queues = ", ".join(await idle_queues(opened.client, opened.temporal)) or opened.temporal.task_queue
            said.say(f"no worker answers on {queues}: start one, python -m worker")
        else:
            for activity in description.raw_description.pending_activities:
                if failure := activity.last_failure.message:
                    said.say(f"{failure} It is tried again.")
            yield Look(status, await _now(opened, description))
        await asyncio.sleep(INTERVAL)


async def _now(opened: Session, description: WorkflowExecutionDescription) -> str:
    reports = [
        (await opened.client.data_converter.decode(activity.heartbeat_details.payloads))[0]
        for activity in description.raw_description.pending_activities
        if activity.heartbeat_details.payloads
    ]
    return ", ".join(f"{place} {done:,}" for progress in reports for place, done in progress.items())
