"""Each server dies by SIGKILL in the middle of its phase, and starts again: the batch ends right by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from temporalio.client import WorkflowHandle

from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from devstack.process import Server
from devstack.stack import Stack
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import Bench, until_async
from tests.faults.halts import Halts
from tests.faults.size import TINY
from tests.faults.workers import forked

STORES = ("elasticsearch", "clickhouse", "postgres", "s3", "redis")


@pytest.fixture
async def own_stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Servers that nobody else uses."""
    stack = Stack(tmp_path / "stack")
    await asyncio.to_thread(stack.start)
    yield stack
    await asyncio.to_thread(stack.stop)


async def test_a_batch_ends_right_though_every_server_dies_in_its_phase_and_starts_again(
    own_stack: Stack, tmp_path: Path
) -> None:
    folder = tmp_path / "batch"
    folder.mkdir()
    servers = dict(zip(STORES, _servers(own_stack), strict=True))
    halts = Halts(folder, {f"erase_{store}": None if store in ("clickhouse", "redis") else 1 for store in STORES})
    async with benches.bench(own_stack, folder, TINY) as bench:
        bench.change_map("concurrency = 2", "concurrency = 1")
        before = await bench.census()
        async with forked(bench, halts):
            batch_id = (await bench.erase("--detach")).json["batch_id"]
            handle = (await bench.temporal()).get_workflow_handle(batch_id)
            for store, server in servers.items():
                name = f"erase_{store}"
                await halts.reached(name)
                if store == "postgres":  # nothing waits for Temporal but the batch itself
                    await asyncio.to_thread(own_stack.temporal.kill)
                    await asyncio.to_thread(own_stack.temporal.start)
                async with _at_work(bench, store) as is_at_work:
                    halts.let_go(name)
                    await until_async(is_at_work, 180)
                    await asyncio.to_thread(server.kill)
                    await until_async(partial(_failed, handle, name), 180)
                await asyncio.to_thread(server.start)
            erased = await bench.starter("watch", batch_id, "--json")
        after = await bench.census()
    assert erased.code == ExitCode.ERASED, erased.stdout
    assert [row for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert {(row.store, row.place): row.others for row in after} == {
        (row.store, row.place): row.others for row in before
    }
    for phase in erased.json["phases"]:
        tally = phase["tally"]
        assert tally["changed"] + tally["already_clean"] == sum(phase["before"].values()), phase


def _servers(stack: Stack) -> tuple[Server, ...]:
    return stack.elasticsearch, stack.clickhouse, stack.postgres, stack.s3, stack.valkey


@asynccontextmanager
async def _at_work(bench: Bench, store: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Holds a store back, where it can be held, so that it dies in the middle of what it was asked for.

    Args:
        bench: The test's.
        store: The store.

    Yields:
        Says whether the store is at work.
    """
    names = bench.platform.names
    async with connect(bench.env) as clients:
        match store:
            case "clickhouse":
                table = f"`{names.database}`.unit_metrics"
                await clients.clickhouse.execute(f"SYSTEM STOP MERGES {table}")

                async def mutates() -> bool:
                    return bool(await clients.clickhouse.fetch("SELECT 1 FROM system.mutations WHERE NOT is_done"))

                yield mutates
            case "postgres":
                locking = await asyncpg.connect(bench.env["ERASURE_POSTGRES__DSN"])
                await locking.execute(f'BEGIN; LOCK TABLE "{names.schema}".contributors IN EXCLUSIVE MODE')

                async def waits() -> bool:
                    return bool(await locking.fetch("SELECT 1 FROM pg_locks WHERE NOT granted"))

                yield waits
                locking.terminate()
            case _:
                if store == "redis":
                    await clients.redis.save()  # else its keys die with it

                async def always() -> bool:
                    return True

                yield always


async def _failed(handle: WorkflowHandle[Any, Any], name: str) -> bool:
    """Whether an attempt of an activity that runs has failed."""
    pending = (await handle.describe()).raw_description.pending_activities
    return any(each.activity_type.name == name and each.attempt > 1 for each in pending)
