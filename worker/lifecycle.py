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
from activities.canary.steps import CanaryActivities, PlantingActivities
from activities.checking.steps import CheckActivities
from activities.fetching.steps import FetchActivities
from activities.holds import Holds
from activities.platform_api.steps import ApiTestActivities
from activities.settings import PlatformApiSettings, S3Settings, TemporalSettings, VaultSettings, load
from activities.steps import BatchActivities, StoreActivities
from activities.sweeping import steps as sweeping
from activities.tombstones.steps import TombstoneActivities
from activities.vault import Vault
from activities.verification import scanners
from activities.verification.steps import ScanActivities, VerificationActivities
from workflows.api_test import ApiTest
from workflows.canary import EraseCanary
from workflows.check import CheckErasure
from workflows.erase import EraseContributors
from workflows.fetch import FetchInactive
from workflows.sweep import SweepErased
from workflows.verify import VerifyErasure

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
        api = load(PlatformApiSettings)
        api_test = ApiTestActivities(vault, platform, api)
        settings = {name: load(kind.settings) for name, kind in stores.kinds().items()}
        clients = {
            name: await opened.enter_async_context(kind.connect(settings[name]))
            for name, kind in stores.kinds().items()
        }
        pool = clients["postgres"]
        holds = Holds(pool)
        beside = {"temporal": (client, temporal), "dumps": (clients["s3"], settings["s3"])}
        read = {name: (clients[name], settings[name]) for name in clients} | beside
        scans = {
            name: ScanActivities(kind, read[name][0], read[name][1], vault, holds).all
            for name, kind in scanners.kinds().items()
        }
        checks = CheckActivities(vault, pool, client, temporal.task_queue)
        workers = [
            Worker(
                client,
                task_queue=temporal.task_queue,
                workflows=[
                    EraseContributors,
                    EraseCanary,
                    CheckErasure,
                    VerifyErasure,
                    ApiTest,
                    FetchInactive,
                    SweepErased,
                ],
                activities=[
                    *BatchActivities(vault, pool).all,
                    *TombstoneActivities(vault, pool).all,
                    *CanaryActivities(vault, pool).all,
                    *checks.all,
                    *api_test.all,
                    *FetchActivities(vault, pool).all,
                    *VerificationActivities(vault, pool, platform, api).all,
                    *(scan for name in beside for scan in scans[name]),
                    *sweeping.SweepActivities(vault, pool).all,
                ],
                sticky_queue_schedule_to_start_timeout=STICKY,
                graceful_shutdown_timeout=GRACE,
            ),
            *(
                Worker(
                    client,
                    task_queue=f"{temporal.task_queue}-{name}",
                    activities=[
                        *StoreActivities(kind, clients[name], vault, holds).all,
                        *PlantingActivities(kind, clients[name], vault).all,
                        *scans.get(name, ()),
                        sweeping.of_store(kind, clients[name], vault, pool),
                    ],
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
