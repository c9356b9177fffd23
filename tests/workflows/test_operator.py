"""What an operator asks of a batch, and what becomes of it: parked, retried, skipped, paused, rolled back, shredded."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

from activities.status import PhaseState, Stage
from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from devstack.platform.tally import Count
from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished, until_async
from tests.causes import breakable, broken
from workflows.erase import EraseContributors
from workflows.messages import Command

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


def phase(finished: Finished, store: str) -> Any:
    return next(phase for phase in finished.json["phases"] if phase["store"] == store)


def held(rows: tuple[Count, ...]) -> dict[tuple[str, str], Count]:
    """What the stores hold, Redis left out: caches are not put back."""
    return {(row.store, row.place): row for row in rows if row.store != "redis"}


async def reached(bench: Bench, batch_id: str, stage: Stage) -> None:
    handle = (await bench.temporal()).get_workflow_handle(batch_id)

    async def there() -> bool:
        return (await handle.query(EraseContributors.status)).stage is stage

    await until_async(there, 180)


async def test_a_rollback_after_the_end_puts_back_exactly_what_was_there(bench: Bench) -> None:
    before = await bench.census()
    async with bench.worker():
        erased = await bench.erase()
        assert erased.code == ExitCode.ERASED, erased.stderr
        batch_id = erased.json["batch_id"]
        rolled = await bench.starter("rollback", batch_id, "--reason", "wrong file", "--operator", "dana", "--json")
    after = await bench.census()

    assert rolled.code == ExitCode.FAILED, rolled.stderr
    assert rolled.json["outcome"] == "rolled back"
    assert held(after) == held(before)
    for store in STORES[:4]:
        for place, recovery in phase(rolled, store)["restored"].items():
            assert recovery["restored"] == recovery["found"] == phase(rolled, store)["before"][place], place
        assert phase(rolled, store)["warnings"] == []
    assert phase(rolled, "redis")["restored"] == {}
    assert any("never resurrected" in note["what"] for note in phase(rolled, "redis")["notes"])
    (command,) = rolled.json["commands"]
    assert (command["kind"], command["operator"], command["reason"]) == ("rollback", "dana", "wrong file")


async def test_every_phase_that_parks_resumes_after_retry(bench: Bench) -> None:
    before = await bench.census()
    async with AsyncExitStack() as causes, bench.worker():
        for store in STORES[:4]:
            await causes.enter_async_context(breakable(bench, store))
        batch_id = await _into_its_phases(bench)
        ills = {store: await causes.enter_async_context(AsyncExitStack()) for store in STORES[:4]}
        for store, ill in ills.items():
            await ill.enter_async_context(broken(bench, store))
        await _let_go(bench, batch_id)
        for store, ill in ills.items():
            await bench.reached(batch_id, store, PhaseState.PARKED)
            await ill.aclose()
            handle = (await bench.temporal()).get_workflow_handle(batch_id)
            await handle.signal(EraseContributors.retry, Command("test", phase=store))
        retried = await bench.starter("watch", batch_id, "--json")
    assert (retried.code, retried.json["outcome"]) == (ExitCode.ERASED, "erased"), retried.stdout + retried.stderr
    after = await bench.census()
    assert {key: row.others for key, row in held(after).items()} == {
        key: row.others for key, row in held(before).items()
    }
    for store in STORES[:4]:
        tally = phase(retried, store)["tally"]
        assert tally["changed"] + tally["already_clean"] == sum(phase(retried, store)["before"].values())


async def test_a_parked_phase_that_is_skipped_ends_with_a_warning_and_can_run_again(bench: Bench) -> None:
    async with breakable(bench, "s3"), bench.worker():
        batch_id = await _into_its_phases(bench)
        async with broken(bench, "s3"):
            await _let_go(bench, batch_id)
            assert (await bench.starter("watch", batch_id)).code == ExitCode.PARKED
            skipped = await bench.starter("skip", batch_id, "--phase", "s3", "--json")
            assert skipped.code == ExitCode.WARNED, skipped.stderr
            assert phase(skipped, "s3")["state"] == "skipped"
            assert phase(skipped, "redis")["state"] == "done"
        again = await bench.starter("retry", batch_id, "--json")
    assert again.code == ExitCode.ERASED, again.stdout
    assert phase(again, "s3")["state"] == "done"
    assert [row for row in await bench.census() if row.store == "s3" and row.batch and row.place == "avatars/"] == []


async def test_on_critical_rollback_does_not_wait_for_anybody(bench: Bench) -> None:
    before = await bench.census()
    async with bench.worker():
        batch_id = await _into_its_phases(bench, "--on-critical", "rollback")
        async with broken(bench, "postgres"):
            await _let_go(bench, batch_id)
            rolled = await bench.starter("watch", batch_id, "--json")
    assert (rolled.code, rolled.json["outcome"]) == (ExitCode.FAILED, "rolled back"), rolled.stderr
    assert held(await bench.census()) == held(before)
    assert [command["operator"] for command in rolled.json["commands"] if command["kind"] == "rollback"] == ["policy"]


async def test_a_parked_batch_rolls_back_by_itself_after_its_time(bench: Bench) -> None:
    bench.change_map('park_timeout = "24h"', 'park_timeout = "1s"')
    before = await bench.census()
    async with bench.worker():
        batch_id = await _into_its_phases(bench)
        async with broken(bench, "postgres"):
            await _let_go(bench, batch_id)
            await reached(bench, batch_id, Stage.RETAIN)
            rolled = await bench.starter("watch", batch_id, "--json")
    assert rolled.json["outcome"] == "rolled back"
    assert held(await bench.census()) == held(before)


async def test_a_tolerable_failure_goes_on_with_a_warning_and_can_be_run_again(bench: Bench) -> None:
    bench.change_map('critical = ["elasticsearch", "clickhouse", "postgres", "s3"]', 'critical = ["postgres"]')
    async with breakable(bench, "s3"), bench.worker():
        batch_id = await _into_its_phases(bench)
        async with broken(bench, "s3"):
            await _let_go(bench, batch_id)
            warned = await bench.starter("watch", batch_id, "--json")
            assert warned.code == ExitCode.WARNED, warned.stderr
            assert phase(warned, "s3")["state"] == "failed"
            assert phase(warned, "redis")["state"] == "done"
        again = await bench.starter("retry", batch_id, "--json")
    assert (again.code, phase(again, "s3")["state"]) == (ExitCode.ERASED, "done"), again.stdout


async def test_pause_holds_a_batch_between_slices_and_in_clickhouses_wait_until_resume(bench: Bench) -> None:
    async with bench.worker(), connect(bench.env) as clients:
        database = bench.platform.names.database
        table = f"`{database}`.unit_metrics"
        running = f"SELECT count() AS n FROM system.mutations WHERE database = '{database}' AND NOT is_done"
        await clients.clickhouse.execute(f"SYSTEM STOP MERGES {table}")
        batch_id = (await bench.erase("--detach")).json["batch_id"]

        async def mutates() -> bool:
            rows = await clients.clickhouse.fetch(running)
            return bool(rows[0]["n"])

        await until_async(mutates, 180)
        paused = await bench.starter("pause", batch_id, "--json")
        assert (paused.code, paused.json) == (ExitCode.ERASED, {"batch_id": batch_id, "asked": "pause"})
        twice = await bench.starter("pause", batch_id)
        assert (twice.code, "it is paused already" in twice.stderr) == (ExitCode.BAD_INPUT, True)
        await clients.clickhouse.execute(f"SYSTEM START MERGES {table}")
        await asyncio.sleep(3)
        shown = await bench.starter("status", batch_id, "--json")
        assert shown.code == ExitCode.PARKED
        assert (shown.json["paused"], phase(shown, "clickhouse")["state"]) == (True, "running")
        assert phase(shown, "postgres")["state"] == "backed up"
        resumed = await bench.starter("resume", batch_id, "--json")
    assert resumed.code == ExitCode.ERASED, resumed.stdout
    assert [command["kind"] for command in resumed.json["commands"]] == ["pause", "resume"]


async def test_commands_that_make_no_sense_are_refused_with_the_reason(bench: Bench) -> None:
    async with bench.worker():
        batch_id = (await bench.erase()).json["batch_id"]
        for command, reason in (
            (["skip", batch_id], "no such phase is parked"),
            (["resume", batch_id], "it is not paused"),
            (["approve", batch_id, "--operator", "x"], "it waits for no approval"),
            (["retry", batch_id, "--phase", "mongodb"], "there is no phase mongodb"),
        ):
            refused = await bench.starter(*command)
            assert (refused.code, reason in refused.stderr) == (ExitCode.BAD_INPUT, True), refused.stderr


async def test_without_retention_a_batch_shreds_at_once(bench: Bench) -> None:
    bench.change_map('retention = "7d"', "retention = 0")
    async with bench.worker():
        await bench.erase("--detach")
        finished = await bench.erase()
        handle = (await bench.temporal()).get_workflow_handle(finished.json["batch_id"])
        status = await handle.result()
    assert status["shredded"] is True


async def test_a_rolled_back_batch_can_be_submitted_again_once_it_is_shredded(bench: Bench) -> None:
    async with bench.worker():
        batch_id = (await bench.erase()).json["batch_id"]
        assert (await bench.starter("rollback", batch_id)).code == ExitCode.FAILED
        assert (await bench.erase()).json["outcome"] == "rolled back", "it is the same batch until it is shredded"
        assert (await bench.starter("shred", batch_id)).code == ExitCode.ERASED

        async def closed() -> bool:
            return (await bench.starter("report", batch_id, "--json")).json["shredded"] is True

        await until_async(closed, 30)
        assert (await bench.erase()).code == ExitCode.ERASED
    assert [row for row in await bench.census() if row.batch and row.store == "postgres"] == []


async def test_a_batch_waits_for_approvals_and_its_submitter_cannot_approve(bench: Bench) -> None:
    bench.change_map("approvals = 0", "approvals = 2")
    before = await bench.census()
    async with bench.worker():
        waits = await bench.starter(
            "erase", str(bench.csv), "--config", str(bench.data_map), "--json", "--operator", "dana"
        )
        assert waits.code == ExitCode.PARKED, waits.stderr
        assert waits.json["stage"] == "approval"
        assert sum(phase(waits, "postgres")["impact"].values()) > 0
        batch_id = waits.json["batch_id"]
        own = await bench.starter("approve", batch_id, "--operator", "dana")
        assert (own.code, "cannot approve it" in own.stderr) == (ExitCode.BAD_INPUT, True), own.stderr
        first = await bench.starter("approve", batch_id, "--operator", "eve", "--json")
        assert (first.code, first.json) == (ExitCode.ERASED, {"batch_id": batch_id, "approvals_missing": 1})
        twice = await bench.starter("approve", batch_id, "--operator", "eve")
        assert (twice.code, "has approved it already" in twice.stderr) == (ExitCode.BAD_INPUT, True)
        assert await bench.census() == before, "nothing is touched before"
        assert (await bench.starter("approve", batch_id, "--operator", "mo")).code == ExitCode.ERASED
        done = await bench.starter("watch", batch_id, "--json")
    assert done.code == ExitCode.ERASED, done.stderr
    assert done.json["approvals"] == ["eve", "mo"]


async def test_a_contributor_on_hold_is_left_out_and_named_in_the_report_alone(bench: Bench) -> None:
    kept, late = bench.platform.sample[0], bench.platform.sample[1]
    placed = await bench.starter("hold", "add", kept.contributor_id, "--reason", "case 17")
    assert (placed.code, "Placed 1 holds" in placed.stderr) == (ExitCode.ERASED, True), placed.stderr
    try:
        async with bench.worker():
            erased = await bench.erase()
            batch_id = erased.json["batch_id"]
            await bench.starter("hold", "add", late.contributor_id, "--reason", "case 18")
            again = await bench.starter("retry", batch_id, "--phase", "redis", "--json")
            report = await bench.starter("report", batch_id, "--json")
        assert erased.json["held"] == 1
        assert again.code == ExitCode.WARNED
        assert {hold["contributor_id"]: (hold["left_out"], hold["too_late"]) for hold in report.json["holds"]} == {
            kept.contributor_id: (STORES, []),
            late.contributor_id: (["redis"], STORES[:4]),
        }
        async with connect(bench.env) as clients:
            schema = bench.platform.names.schema
            left = await clients.postgres.fetch(f'SELECT id FROM "{schema}".contributors')
        assert kept.contributor_id in {row["id"] for row in left}
        assert late.contributor_id not in {row["id"] for row in left}
    finally:
        lifted = await bench.starter("hold", "remove", kept.contributor_id, late.contributor_id, "--json")
    assert "Lifted 2 holds" in lifted.stderr
    assert lifted.json == {"lifted": 2, "not_there": 0}
    assert (await bench.starter("hold", "list", "--json")).json == []


async def test_a_back_up_that_was_tampered_with_is_found_before_its_phase_writes(bench: Bench) -> None:
    async with bench.worker(), connect(bench.env) as clients:
        batch_id = await _into_its_phases(bench)
        vault = bench.env["ERASURE_VAULT__BUCKET"]
        listed = await clients.s3.list_objects_v2(Bucket=vault, Prefix=f"batches/{batch_id}/pre-image/postgres/000001/")
        key = next(entry["Key"] for entry in listed["Contents"] if not entry["Key"].endswith("index"))
        body = bytearray(await (await clients.s3.get_object(Bucket=vault, Key=key))["Body"].read())
        body[-1] ^= 1
        await clients.s3.put_object(Bucket=vault, Key=key, Body=bytes(body))
        await _let_go(bench, batch_id)
        parked = await bench.starter("watch", batch_id, "--json")
        assert (parked.code, phase(parked, "postgres")["state"]) == (ExitCode.PARKED, "parked"), parked.stderr
        assert "is not what was written" in phase(parked, "postgres")["error"]
        assert phase(parked, "postgres")["erased"] == {}


async def _into_its_phases(bench: Bench, *options: str) -> str:
    """Submits the batch and pauses it in its first phase: what is broken then was whole when it was checked."""
    bench.change_map("concurrency = 2", "concurrency = 1")
    batch_id: str = (await bench.erase("--detach", *options)).json["batch_id"]
    handle = (await bench.temporal()).get_workflow_handle(batch_id)

    async def erases() -> bool:
        return (await handle.query(EraseContributors.status)).stage is Stage.ERASE

    await until_async(erases, 180)
    await handle.signal(EraseContributors.pause, Command("test"))
    return batch_id


async def _let_go(bench: Bench, batch_id: str) -> None:
    handle = (await bench.temporal()).get_workflow_handle(batch_id)
    await handle.signal(EraseContributors.resume, Command("test"))


async def test_a_store_without_a_way_back_is_named_before_and_left_erased_by_a_rollback(bench: Bench) -> None:
    bench.change_map("[s3]", "[s3]\nrollback = false")
    bench.change_map("approvals = 0", "approvals = 1")
    before = await bench.census()
    async with bench.worker():
        submitted = await bench.starter("erase", str(bench.csv), "--config", str(bench.data_map), "--operator", "dana")
        assert submitted.code == ExitCode.PARKED, submitted.stderr
        assert "Cannot be undone, by the data map: s3" in submitted.stdout
        (batch_id,) = re.findall(r"erase-[0-9a-f]+", submitted.stderr)[:1]
        await bench.starter("approve", batch_id, "--operator", "eve")
        erased = await bench.starter("watch", batch_id)
        assert "Cannot be undone, by the data map: s3" in erased.stdout
        rolled = await bench.starter("rollback", batch_id, "--json")
        report = await bench.starter("report", batch_id)
    after = await bench.census()
    assert (rolled.json["outcome"], phase(rolled, "s3")["state"]) == ("rolled back", "left erased")
    assert phase(rolled, "s3")["restored"] == {}
    assert any(
        "cannot be undone: the data map says rollback = false" in w["what"] for w in phase(rolled, "s3")["warnings"]
    )
    assert "rolled back, but for s3: that was not put back" in " ".join(report.stdout.split())
    gone = {key: row for key, row in held(after).items() if key[0] == "s3" and not row.place.endswith(ALL_VERSIONS)}
    assert sum(row.batch for row in gone.values()) == 0
    assert {key: row.others for key, row in held(after).items()} == {
        key: row.others for key, row in held(before).items()
    }
    others = [{key: row for key, row in held(rows).items() if key[0] != "s3"} for rows in (before, after)]
    assert others[0] == others[1], "the other stores are as before"
