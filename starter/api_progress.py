"""Follows an API test until it has ended, or waits for somebody."""

from __future__ import annotations

from contextlib import nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from temporalio.client import WorkflowFailureError

from activities.platform_api.messages import ApiTestStatus
from starter.following import Said, looks
from starter.session import Session, err, out
from workflows.api_test import ApiTest


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
    bar = None if quiet or not out.is_terminal else _bar()
    with bar or nullcontext():
        task = bar.add_task("", total=None) if bar else None
        async for look in looks(opened, handle, ApiTest.status, ApiTestStatus, Said()):
            status = look.status
            if status.stopped is not None:
                return status
            if bar and task is not None:
                bar.update(task, completed=status.asked, total=status.contributors, description=look.now)
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        err.print(f"The test {run_id} did not end: {error.cause}", style="red", markup=False, soft_wrap=True)
        return None


def _bar() -> Progress:
    columns = (TextColumn("contributors"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.description}"), console=out, transient=True)
