"""The worker dies in the middle of a phase, as by a power cut; another one ends the batch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import WorkflowHandle

from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from tests.bench import Bench, until_async

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]

SLICES = 5


@asynccontextmanager
async def held_back(bench: Bench, store: str) -> AsyncIterator[None]:
    """Keeps a store whose unit is the batch from ending its one activity, for as long as the block."""
    async with connect(bench.env) as clients:
        if store == "clickhouse":
            table = f"`{bench.platform.names.database}`.unit_metrics"
            await clients.clickhouse.execute(f"SYSTEM STOP MERGES {table}")
            yield
            await clients.clickhouse.execute(f"SYSTEM START MERGES {table}")
        elif store == "redis":
            await clients.redis.client_pause(60_000, all=False)
            yield
            await clients.redis.client_unpause()
        else:
            yield


async def activities(handle: WorkflowHandle[Any, Any], name: str) -> tuple[int, int]:
    """How many activities of a type were scheduled, and how many of them completed, by the batch's history."""
    scheduled: set[int] = set()
    completed = 0
    async for event in handle.fetch_history_events():
        if event.activity_task_scheduled_event_attributes.activity_type.name == name:
            scheduled.add(event.event_id)
        completed += event.activity_task_completed_event_attributes.scheduled_event_id in scheduled
    return len(scheduled), completed


async def test_a_batch_whose_worker_is_killed_in_every_phase_ends_right_with_others(bench: Bench) -> None:
    bench.change_map("slice_size = 7", "slice_size = 3")
    bench.change_map("concurrency = 2", "concurrency = 1")
    before = await bench.census()
    client = await bench.temporal()
    batch_id = (await bench.erase("--detach")).json["batch_id"]
    handle = client.get_workflow_handle(batch_id)
    for store in STORES:
        whole_batch = store in ("clickhouse", "redis")

        async def in_the_middle(store: str = store, whole_batch: bool = whole_batch) -> bool:
            scheduled, completed = await activities(handle, f"erase_{store}")
            return bool(scheduled if whole_batch else completed)

        async with held_back(bench, store), bench.worker() as worker:
            await until_async(in_the_middle, 180)
            await worker.kill()
        _, completed = await activities(handle, f"erase_{store}")
        assert completed < (1 if whole_batch else SLICES), f"it was killed in the middle of {store}"
    async with bench.worker():
        watched = await bench.starter("watch", batch_id, "--json")
    after = await bench.census()

    assert watched.json["outcome"] == "erased", watched.stdout
    assert [(row.store, row.place) for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert {(row.store, row.place): row.others for row in after} == {
        (row.store, row.place): row.others for row in before
    }
    for phase in watched.json["phases"]:
        tally = phase["tally"]
        assert tally["changed"] + tally["already_clean"] == sum(phase["before"].values()), phase
        assert (phase["done"], tally["conflicted"]) == (len(bench.platform.sample), 0)


async def test_a_worker_that_is_asked_to_stop_drains_and_another_one_goes_on(bench: Bench) -> None:
    bench.change_map("slice_size = 7", "slice_size = 3")
    bench.change_map("concurrency = 2", "concurrency = 1")
    client = await bench.temporal()
    async with bench.worker() as worker:
        batch_id = (await bench.erase("--detach")).json["batch_id"]
        handle = client.get_workflow_handle(batch_id)

        async def in_the_middle() -> bool:
            return (await activities(handle, "erase_elasticsearch"))[1] >= 1

        await until_async(in_the_middle, 180)
        assert await worker.stop() == 0
        assert '"event": "worker stopped"' in worker.log.read_text()
    scheduled, completed = await activities(handle, "erase_elasticsearch")
    assert completed <= scheduled < SLICES
    async with bench.worker():
        watched = await bench.starter("watch", batch_id, "--json")
    assert watched.json["outcome"] == "erased"
