"""Worker processes that do what a test wants at an exact moment: the product's own worker, with an interceptor."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor, PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, WorkerConfig

from activities.settings import TemporalSettings, load
from activities.temporal import connect
from tests.bench import Bench, Worker
from tests.processes import Streams, call
from worker.__main__ import configure_logs
from worker.lifecycle import run

_POLLERS = PollerBehaviorSimpleMaximum(2)
"""A queue; the SDK's five are for more than one small batch."""


@asynccontextmanager
async def forked(
    bench: Bench, interceptor: Interceptor | None = None, *, mortal: bool = False
) -> AsyncIterator[Worker]:
    """Runs a worker for as long as the block; does not wait until it polls.

    Args:
        bench: The test's.
        interceptor: Sees every activity; is pickled.
        mortal: Whether it is to die: then it keeps no batch in memory, so that the next one need not wait for it.
    """
    log = bench.folder / f"worker-{secrets.token_hex(3)}.log"
    log.touch()
    worker = Worker(call(_main, (interceptor, mortal), bench.env, Streams(log, log)), log)
    try:
        yield worker
    finally:
        code = await worker.stop()
    assert code in (0, -signal.SIGKILL), log.read_text()[-2000:]


class _Tuned(SimplePlugin):
    """What differs from a worker of the product: the interceptor, and what would only cost tests time."""

    def __init__(self, interceptor: Interceptor | None, *, mortal: bool) -> None:
        super().__init__("tests", interceptors=[interceptor] if interceptor else None)
        self._mortal = mortal

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        config = super().configure_worker(config)
        config["build_id"] = "tests"  # else every process hashes all modules
        if self._mortal:
            config["max_cached_workflows"] = 0
            config["workflow_runner"] = UnsandboxedWorkflowRunner()  # else every task imports the workflows anew
        config["activity_task_poller_behavior"] = config["workflow_task_poller_behavior"] = _POLLERS
        return config


def _main(interceptor: Interceptor | None, mortal: bool) -> None:
    configure_logs()
    asyncio.run(_host(_Tuned(interceptor, mortal=mortal)))
    os._exit(0)  # as the product's worker does


async def _host(plugin: _Tuned) -> None:
    temporal = load(TemporalSettings)
    config = (await connect(temporal)).config()
    config["plugins"] = [plugin]
    await run(Client(**config), temporal)
