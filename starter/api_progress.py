"""Follows an API test until it has ended, or waits for somebody."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError

from activities.platform_api.messages import ApiTestStatus
from starter.batches import idle_queues
from starter.session import Session, err, out
from workflows.api_test import ApiTest

INTERVAL = 0.5
"""Seconds between two looks."""

QUERY_TIMEOUT = timedelta(seconds=3)
"""A worker answers a query at once; longer means that there is none."""


async def follow(opened: Session, run_id: str, *, quiet: bool) -> ApiTestStatus | None:
    """Shows a test until it has ended or stopped.

    Args:
        opened: The session.
        run_id: The test.
        quiet: Whether to show no bar, even on a terminal.

    Returns:
        What is known of it; None where it ended without a result, which is said on standard error.
    """
    handle = opened.client.get_workflow_handle_for(ApiTest.run, run_id)
    said: set[str] = set()
    bar = None if quiet or not out.is_terminal else _bar()
    with bar or nullcontext():
        task = bar.add_task("", total=None) if bar else None
        while (description := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            try:
                status = await handle.query(ApiTest.status, rpc_timeout=QUERY_TIMEOUT)
            except (RPCError, WorkflowQueryRejectedError):
                queues = ", ".join(await idle_queues(opened)) or opened.temporal.task_queue
                _once(f"no worker answers on {queues}: start one, python -m worker", said)
            else:
                if status.stopped is not None:
                    return status
                for failure in _failures(description):
                    _once(f"{failure} It is tried again.", said)
                if bar and task is not None:
                    now = await _now(opened, description)
                    bar.update(task, completed=status.asked, total=status.contributors, description=now)
            await asyncio.sleep(INTERVAL)
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        err.print(f"The test {run_id} did not end: {error.cause}", style="red", markup=False, soft_wrap=True)
        return None


def _bar() -> Progress:
    columns = (TextColumn("contributors"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.description}"), console=out, transient=True)


def _once(line: str, said: set[str]) -> None:
    if line not in said:
        said.add(line)
        err.print(line, highlight=False, markup=False, soft_wrap=True)


def _failures(description: WorkflowExecutionDescription) -> list[str]:
    """Why running activities had to be tried again; our activities' messages hold no personal data."""
    pending = description.raw_description.pending_activities
    return [activity.last_failure.message for activity in pending if activity.last_failure.message]


async def _now(opened: Session, description: WorkflowExecutionDescription) -> str:
    """How far the running page is."""
    reports = [
        (await opened.client.data_converter.decode(activity.heartbeat_details.payloads))[0]
        for activity in description.raw_description.pending_activities
        if activity.heartbeat_details.payloads
    ]
    return ", ".join(f"{place} {done:,}" for progress in reports for place, done in progress.items())
