"""The one place for time-outs and retries of activities."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

EXECUTION_TIMEOUT = timedelta(hours=6)
"""One execution: a slice, or one mutation a table over the whole of it."""

PHASE_TIMEOUT = timedelta(hours=48)
"""All executions of one step together, so that nothing is tried for ever."""


def retry_policy(max_attempts: int) -> RetryPolicy:
    """Transient errors are tried again after 1, 2, 4, ... 30 s; critical ones say themselves that they are not.

    Args:
        max_attempts: Tries in all, those that a dying worker cost included.
    """
    return RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=max_attempts,
    )
