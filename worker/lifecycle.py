"""The worker's life: open the clients once, poll every task queue, drain on SIGTERM, close."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from activities import platform_api, stores
from activities.holds import Holds
from activities.platform_api.steps import ApiTestActivities
from activities.settings import PlatformApiSettings, S3Settings, TemporalSettings, VaultSettings, load
from activities.steps import BatchActivities, StoreActivities
from activities.vault import Vault
from workflows.api_test import ApiTest
from workflows.erase import EraseContributors

log = structlog.get_logger("worker")

GRACE = timedelta(seconds=25)
"""How long running activities may go on after SIGTERM; what is cut then is tried again by another worker."""

ACTIVITIES_PER_STORE = 8

STICKY = timedelta(seconds=5)
"""How long a batch waits for the worker that has it in memory before any other one may go on with it."""


async def run(client: Client, temporal: TemporalSettings) -> None:
    """Hosts everything until SIGTERM or SIGINT.

    Args:
        client: Connected to Temporal.
        temporal: Names the task queues.

    Raises:
        SettingsError: A connection's setting is missing or wrong.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as opened:
        vault = await opened.enter_async_context(Vault.connect(load(VaultSettings), load(S3Settings)))
        platform = await opened.enter_async_context(platform_api.connect())
        api_test = ApiTestActivities(vault, platform, load(PlatformApiSettings))
        clients = {
            name: await opened.enter_async_context(kind.connect(load(kind.settings)))
            for name, kind in stores.kinds().items()
        }
        workers = [
            Worker(
                client,
                task_queue=temporal.task_queue,
                workflows=[EraseContributors, ApiTest],
                activities=[*BatchActivities(vault, clients["postgres"]).all, *api_test.all],
                sticky_queue_schedule_to_start_timeout=STICKY,
                graceful_shutdown_timeout=GRACE,
            ),
            *(
                Worker(
                    client,
                    task_queue=f"{temporal.task_queue}-{name}",
                    activities=StoreActivities(kind, clients[name], vault, Holds(clients["postgres"])).all,
                    max_concurrent_activities=ACTIVITIES_PER_STORE,
                    graceful_shutdown_timeout=GRACE,
                )
                for name, kind in stores.kinds().items()
            ),
        ]
        async with AsyncExitStack() as polling:
            for worker in workers:
                await polling.enter_async_context(worker)
            log.info("worker started", queues=[worker.task_queue for worker in workers])
            await stopping.wait()
            log.info("worker draining", grace_seconds=GRACE.total_seconds())
        log.info("worker stopped")
