"""Batches whose history becomes long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.status import Stage
from devstack.platform.census_files import ALL_VERSIONS
from devstack.temporal import Temporal
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import Bench, HasEnv, until_async
from tests.conftest import Elsewhere
from workflows.erase import EraseContributors
from workflows.messages import Command


@pytest.fixture
async def impatient(stack: HasEnv, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with a Temporal of its own, which suggests to continue as new after 40 events, not after 4,096."""
    server = Temporal(tmp_path / "temporal", tied=True, settings={"limit.historyCount.suggestContinueAsNew": 40})
    await asyncio.to_thread(server.start)
    try:
        async with benches.bench(Elsewhere({**stack.env, **server.env}), tmp_path) as made:
            yield made
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_long_batch_goes_on_as_a_new_run_and_nothing_is_lost(impatient: Bench) -> None:
    bench = impatient
    bench.change_map("slice_size = 7", "slice_size = 2")
    before = await bench.census()
    client = await bench.temporal()
    async with bench.worker():
        batch_id = (await bench.erase("--detach")).json["batch_id"]
        handle = client.get_workflow_handle(batch_id)

        async def erases() -> bool:
            return (await handle.query(EraseContributors.status)).stage is Stage.ERASE

        await until_async(erases, 180)
        await handle.signal(EraseContributors.pause, Command("dana", "lunch"))
        await handle.signal(EraseContributors.resume, Command("dana", "back"))
        finished = await bench.starter("watch", batch_id, "--json")
        runs = {run.run_id async for run in client.list_workflows(f"WorkflowId = '{batch_id}'")}
        assert finished.code == ExitCode.ERASED, finished.stdout + finished.stderr
        after = await bench.census()
        rolled = await bench.starter("rollback", batch_id, "--json")
    assert len(runs) > 3
    assert [command["kind"] for command in finished.json["commands"]] == ["pause", "resume"]
    for phase in finished.json["phases"]:
        assert phase["tally"]["changed"] == sum(phase["before"].values()), phase
        assert phase["done"] == len(bench.platform.sample)
    assert [row for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert rolled.json["outcome"] == "rolled back"
    assert [row for row in await bench.census() if row.store != "redis"] == [
        row for row in before if row.store != "redis"
    ]
