"""An activity's failure in words for the operator."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.contract import Finding


def finding(error: ActivityError) -> Finding:
    """What failed; our activities' messages hold no personal data.

    Args:
        error: The failure.
    """
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return Finding(error.activity_type, cause.message, "See the batch's history in the Web UI.")
    what = f"{type(cause).__name__}: {cause}" if cause else str(error)
    return Finding(error.activity_type, what, "Check that the worker lives and reaches its stores, then try again.")
