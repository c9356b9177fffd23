"""The one place for time-outs and retries of activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

from workflows.messages import Plan, Retry

T = TypeVar("T")

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


def start(
    name: str,
    argument: Any,
    result: type[T],
    summary: str,
    rule: Retry,
    heartbeat_timeout: timedelta,
    store: str | None = None,
) -> workflow.ActivityHandle[T]:
    """Starts one activity on the queue of its store. Cancelled, it is waited for: nothing of it runs on unseen.

    Args:
        name: The activity's type.
        argument: Its one argument.
        result: What it answers with.
        summary: What the timeline shows.
        rule: How long it is tried.
        heartbeat_timeout: After it a silent worker counts as dead.
        store: The store; None for what concerns no store in particular.
    """
    queue = workflow.info().task_queue
    return workflow.start_activity(
        name,
        argument,
        result_type=result,
        task_queue=f"{queue}-{store}" if store else queue,
        summary=summary,
        heartbeat_timeout=heartbeat_timeout,
        start_to_close_timeout=EXECUTION_TIMEOUT,
        schedule_to_close_timeout=rule.give_up_after,
        retry_policy=policy(rule),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
