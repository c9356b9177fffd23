"""A critical failure in each phase, at its beginning and in its middle; after the rollback all is as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from activities.status import PhaseState
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests import contents
from tests.bench import HasEnv
from tests.causes import breakable, broken
from tests.contents import differences
from tests.faults.halts import Halts
from tests.faults.size import TINY
from tests.faults.workers import forked

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]
WHOLE_BATCH = ("clickhouse", "redis")


@pytest.mark.parametrize("store", STORES)
async def test_a_rollback_leaves_every_store_as_it_was_wherever_a_phase_failed(
    stack: HasEnv, tmp_path: Path, store: str
) -> None:
    await asyncio.gather(
        _fails_and_is_rolled_back(stack, tmp_path / "beginning", store, middle=False),
        _fails_and_is_rolled_back(stack, tmp_path / "middle", store, middle=True),
    )


async def _fails_and_is_rolled_back(stack: HasEnv, folder: Path, store: str, *, middle: bool) -> None:
    folder.mkdir()  # noqa: ASYNC240 - takes no time
    name = f"erase_{store}"
    halts = Halts(folder, {name: None if store in WHOLE_BATCH else int(middle)})
    async with benches.bench(stack, folder, TINY) as bench, breakable(bench, store):
        bench.change_map("concurrency = 2", "concurrency = 1")
        env = {**bench.env, "ERASURE_REDIS__URL": stack.env["ERASURE_REDIS__URL"]}  # of a user who keeps their rights
        before = await contents.read(env, bench.platform.names)
        async with forked(bench, halts):
            batch_id = (await bench.erase("--detach")).json["batch_id"]
            await halts.reached(name)
            async with broken(bench, store, whole=not middle):
                halts.let_go(name)
                await bench.reached(batch_id, store, PhaseState.PARKED)
                failed = await contents.read(env, bench.platform.names)
            rolled = await bench.starter("rollback", batch_id, "--json")
        after = await contents.read(env, bench.platform.names)
    if middle:
        assert any(f" {store}" in record for record in differences(before, failed)), "it had begun"
    assert (rolled.code, rolled.json["outcome"]) == (ExitCode.FAILED, "rolled back"), rolled.stderr
    states = {phase["store"]: phase["state"] for phase in rolled.json["phases"]}
    reached = STORES.index(store) + 1
    assert states == dict.fromkeys(STORES[:reached], "rolled back") | dict.fromkeys(STORES[reached:], "backed up")
    assert [warning for phase in rolled.json["phases"] for warning in phase["warnings"]] == []
    left = differences(before, after)
    if store == "redis" and middle:
        assert left
        assert [record for record in left if not record.startswith('- redis: ["auth:')] == [], "caches rebuild"
    else:
        assert left == []
