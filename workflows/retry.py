"""The one place for time-outs and retries of activities."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

from workflows.messages import Plan, Retry

EXECUTION_TIMEOUT = timedelta(hours=6)
"""One execution: a slice, or one mutation a table over the whole of it."""


def of_store(plan: Plan, store: str | None) -> Retry:
    """How long activities are tried: those of a store, or those of the batch."""
    return plan.retries.get(store, plan.retry) if store else plan.retry


def policy(retry: Retry) -> RetryPolicy:
    """Transient errors are tried again after 1, 2, 4, ... 30 s; critical ones say themselves that they are not."""
    return RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=retry.max_attempts,
    )
