"""Follows a fetch until its CSV lies in the vault."""

from __future__ import annotations

from contextlib import nullcontext

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.errors import CriticalError, ErasureError, TransientError
from activities.fetching.messages import FetchStage, FetchStatus
from starter.following import Said, looks
from starter.session import Session, out
from workflows.fetch import FetchInactive


async def follow(opened: Session, run_id: str, *, quiet: bool) -> FetchStatus:
    """Shows a fetch until its CSV can be taken, or nobody was found.

    Args:
        opened: The session.
        run_id: The fetch.
        quiet: Whether to show no spinner, even on a terminal.

    Returns:
        What is known of it.

    Raises:
        ErasureError: It failed.
    """
    handle = opened.client.get_workflow_handle_for(FetchInactive.run, run_id)
    said = Said()
    spinner = None if quiet or not out.is_terminal else out.status("fetching")
    with spinner or nullcontext():
        async for look in looks(opened, handle, FetchInactive.status, FetchStatus, said):
            if look.status.stage is FetchStage.READY:
                return look.status
            if spinner:
                spinner.update(f"{look.status.stage} {look.now}")
            elif not quiet:
                said.say(str(look.status.stage))
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        raise _failed(run_id, error) from None


def _failed(run_id: str, error: WorkflowFailureError) -> ErasureError:
    """Why it ended, as an error of the same family."""
    cause = error.cause
    passing = isinstance(cause, ApplicationError) and cause.type == TransientError.__name__
    what = cause.message if isinstance(cause, ApplicationError) else "it was cancelled or terminated"
    family = TransientError if passing else CriticalError
    return family(f"fetch {run_id}", what.rstrip("."), "Mend the cause, then give the same command again.")
