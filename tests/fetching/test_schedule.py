"""A fetch that runs by itself, and hands over what it finds to be erased once somebody has approved it."""

from __future__ import annotations

from activities.fetching.messages import FetchStage, FetchStatus
from activities.status import Stage
from starter.exit_codes import ExitCode
from tests.bench import Bench, until_async
from workflows.erase import EraseContributors
from workflows.fetch import FetchInactive


async def _triggered(bench: Bench) -> FetchStatus:
    """Has the schedule run once, now; returns what is known of the run once it has ended or waits."""
    client = await bench.temporal()
    queue = bench.env["ERASURE_TEMPORAL__TASK_QUEUE"]
    schedule = client.get_schedule_handle(f"fetch-{queue}")
    earlier = len((await schedule.describe()).info.recent_actions)
    await schedule.trigger()

    async def started() -> bool:
        return len((await schedule.describe()).info.recent_actions) > earlier

    await until_async(started, 30)
    action = (await schedule.describe()).info.recent_actions[-1].action
    run_id: str = action.workflow_id  # type: ignore[attr-defined]  # of the kind that starts a workflow
    handle = client.get_workflow_handle_for(FetchInactive.run, run_id)

    async def over() -> bool:
        return (await handle.query(FetchInactive.status)).stage in (FetchStage.READY, FetchStage.ENDED)

    await until_async(over, 60)
    return await handle.query(FetchInactive.status)


async def test_a_schedule_hands_over_a_batch_that_waits_for_somebody_else_and_nobody_twice(bench: Bench) -> None:
    bench.env |= {"ERASURE_CONFIG": str(bench.data_map), "ERASURE_OPERATOR": "ann"}
    asked = ["fetch", "--days-inactive", "365", "--min-projects", "1", "--max-contributors", "4"]
    nightly = [*asked, "--schedule", "0 2 29 2 *"]
    client = await bench.temporal()
    wrong = await bench.starter(*asked, "--schedule", "at two o'clock", "--erase")
    assert (wrong.code, "does not understand --schedule" in wrong.stderr) == (ExitCode.BAD_INPUT, True), wrong.stderr
    async with bench.worker():
        made = await bench.starter(*nightly, "--erase", "--json")
        assert made.code == ExitCode.ERASED, made.stderr
        assert made.json["erase"] is True
        assert made.json["next"][0][5:16] == "02-29T02:00"

        first = await _triggered(bench)
        assert first.fetched is not None
        assert first.fetched.contributors == 4
        assert (first.stage, first.was_running) == (FetchStage.ENDED, False)
        assert first.batch_id is not None
        batch = client.get_workflow_handle_for(EraseContributors.run, first.batch_id)

        async def waits() -> bool:
            return (await batch.query(EraseContributors.status)).stage is Stage.APPROVAL

        await until_async(waits, 60)
        assert sum(row.batch for row in await bench.census()) > 0

        replaced = await bench.starter(*nightly, "--erase")
        assert replaced.code == ExitCode.ERASED, replaced.stderr
        second = await _triggered(bench)
        assert second.fetched is not None
        assert second.fetched.counts.not_excluded == first.fetched.counts.not_excluded - 4, "in a batch already"
        assert second.batch_id != first.batch_id

        own = await bench.starter("approve", first.batch_id, "--operator", "ann")
        assert own.code != ExitCode.ERASED
        assert "who submits a batch cannot approve it" in own.stderr
        approved = await bench.starter("approve", first.batch_id, "--operator", "dana")
        erased = await bench.starter("watch", first.batch_id, "--json")
        assert (erased.code, erased.json["contributors"]) == (ExitCode.ERASED, 4), approved.stderr + erased.stderr

        kept = await bench.starter(*nightly)
        assert kept.code == ExitCode.ERASED, kept.stderr
        third = await _triggered(bench)
        assert (third.stage, third.batch_id) == (FetchStage.READY, None)
        file = bench.folder / "third.csv"
        taken = await bench.starter("fetch", "--from", third.run_id, "-o", str(file), "--json")
        assert taken.code == ExitCode.ERASED, taken.stderr
        assert len(file.read_text().splitlines()) == 1 + taken.json["contributors"]

        waiting = await bench.starter("erase", str(file), "--require-approval", "--json")
        assert (waiting.code, waiting.json["approvals_needed"]) == (ExitCode.PARKED, 1), waiting.stderr

        ended = await bench.starter("fetch", "--unschedule")
        assert ended.code == ExitCode.ERASED, ended.stderr
        none = await bench.starter("fetch", "--unschedule")
        assert (none.code, "There is no schedule" in none.stderr) == (ExitCode.BAD_INPUT, True)
