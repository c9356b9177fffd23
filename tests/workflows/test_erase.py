"""A whole batch, from the command line to the stores' own contents, with a real worker process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from temporalio.client import WorkflowExecutionStatus

from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.plan import SMALL
from devstack.platform.seed import plan
from starter.exit_codes import ExitCode
from tests.bench import Bench, until_async
from tests.history import leaks, texts

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


async def test_a_batch_is_erased_from_every_store_and_nobody_else_is_touched(bench: Bench) -> None:
    before = await bench.census()
    async with bench.worker():
        finished = await bench.erase()
    after = await bench.census()

    assert finished.code == ExitCode.ERASED, finished.stderr
    assert {row.store for row in before if row.batch} == set(STORES)
    assert [(row.store, row.place) for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert {(row.store, row.place): row.others for row in after} == {
        (row.store, row.place): row.others for row in before
    }


async def test_the_report_counts_what_was_there_and_what_was_done(bench: Bench) -> None:
    before = [row for row in await bench.census() if not row.place.endswith(ALL_VERSIONS)]
    counted = {store: sum(row.batch for row in before if row.store == store) for store in STORES}
    async with bench.worker():
        report = (await bench.erase()).json
    assert report["outcome"] == "erased"
    assert report["contributors"] == len(bench.platform.sample)
    assert report["unknown"] == 0
    assert [phase["store"] for phase in report["phases"]] == STORES
    for phase in report["phases"]:
        assert phase["state"] == "done", phase
        assert phase["tally"]["changed"] == phase["tally"]["matched"] == sum(phase["before"].values())
        assert sum(phase["before"].values()) >= counted[phase["store"]] > 0
        assert sum(phase["after"].values()) == 0
        assert phase["done"] == phase["total"] == len(bench.platform.sample)


async def test_nothing_that_temporal_keeps_names_a_person(bench: Bench) -> None:
    async with bench.worker() as worker:
        report = (await bench.erase()).json
        kept = await texts(await bench.temporal(), report["batch_id"])
    assert {"erase_postgres", "Probe s3", report["manifest_digest"]} < set(kept), "payloads are searched as well"
    assert leaks([*kept, str(report)], bench.platform.people) == []
    assert "worker started" in worker.log.read_text(), "logs are searched as well"
    assert await bench.leaks() == []


@pytest.mark.parametrize(
    ("text", "leaked"),
    [
        ("to {0.email}: sent", True),
        ("by {0.full_name}", True),
        ("worker {0.worker_id}", True),
        ("{0.contributor_id}", True),
        ("slice 12 of 12", False),
    ],
)
def test_the_search_for_leaks_finds_each_kind_and_takes_no_count_for_one(text: str, leaked: bool) -> None:
    people = plan(SMALL).people
    person = next(person for person in people if person.worker_id and not person.worker_id.isdigit())
    assert bool(leaks(["nobody", text.format(person)], people)) is leaked


async def test_the_search_for_leaks_reads_what_a_workflow_was_started_with_and_what_a_worker_said(
    bench: Bench,
) -> None:
    told, logged = bench.platform.sample[:2]
    queue = f"nobody-{bench.folder.name}"
    client, apart = await bench.temporal(), replace(bench, env={**bench.env, "ERASURE_TEMPORAL__TASK_QUEUE": queue})
    handle = await client.start_workflow("Nobody", {"who": [told.contributor_id]}, id=queue, task_queue=queue)
    (bench.folder / "worker-nobody.log").write_text(f"erased {logged.email}")

    async def found() -> bool:
        return set(await apart.leaks()) >= {told.contributor_id, logged.email.lower()}

    await until_async(found, 10)  # what was started just now is listed a moment later
    await handle.terminate()
    (bench.folder / "worker-nobody.log").unlink()


async def test_the_same_file_submitted_twice_is_one_batch(bench: Bench) -> None:
    async with bench.worker():
        first = await bench.erase()
        second = await bench.erase()
    assert second.code == ExitCode.ERASED
    assert second.json == first.json
    assert "already" in second.stderr


async def test_a_batch_that_was_refused_goes_on_when_its_cause_is_mended(bench: Bench) -> None:
    async with bench.worker():
        bench.change_map('by = "actor_worker_id"', 'by = "actor"')
        refused = await bench.erase()
        assert refused.code == ExitCode.FAILED, refused.stderr
        assert refused.json["outcome"] == "refused"
        assert any("actor" in problem["place"] + problem["what"] for problem in refused.json["problems"])
        assert all(phase["state"] == "pending" for phase in refused.json["phases"])
        bench.change_map('by = "actor"', 'by = "actor_worker_id"')
        erased = await bench.erase()
    assert erased.code == ExitCode.ERASED, erased.stderr


async def test_a_detached_batch_is_followed_by_watch_and_shown_by_status_list_and_report(bench: Bench) -> None:
    async with bench.worker():
        submitted = await bench.erase("--detach")
        assert submitted.code == ExitCode.ERASED, submitted.stderr
        batch_id = submitted.json["batch_id"]
        watched = await bench.starter("watch", batch_id, "--json")
        assert (watched.code, watched.json["outcome"]) == (ExitCode.ERASED, "erased")
        status = await bench.starter("status", batch_id, "--json")
        assert status.json == watched.json
        listed = await bench.starter("list", "--json")
        assert [row["status"] for row in listed.json if row["batch_id"] == batch_id] == ["running"], (
            "its way back is open"
        )
        report = await bench.starter("report", batch_id, "--json")
        known = {"stage", "retained_until", "holds", "stayers"}  # the report is written before the way back is opened
        assert {key: value for key, value in report.json.items() if key not in known} == {
            key: value for key, value in watched.json.items() if key not in known
        }
        markdown = await bench.starter("report", batch_id)
        assert f"# Batch {batch_id}: erased from every store" in markdown.stdout
        written = await bench.starter("report", batch_id, "-o", str(bench.folder / "reports"))
        assert written.code == ExitCode.ERASED
        assert {path.name for path in (bench.folder / "reports").iterdir()} == {f"{batch_id}.md", f"{batch_id}.json"}


async def test_a_name_that_belongs_to_another_file_is_refused(bench: Bench) -> None:
    name = f"named-{bench.platform.names.database[-8:]}"
    async with bench.worker():
        assert (await bench.erase("--batch", name)).code == ExitCode.ERASED
        bench.csv.write_text("contributor_id\nsomebody-else\n")
        other = await bench.erase("--batch", name)
    assert other.code == ExitCode.BAD_INPUT
    assert "another file" in other.stderr


async def test_without_a_worker_the_batch_waits_and_says_so(bench: Bench) -> None:
    submitted = await bench.erase("--detach")
    batch_id = submitted.json["batch_id"]
    status = await bench.starter("status", batch_id)
    assert status.code == ExitCode.UNREACHABLE
    assert "No worker answers" in status.stderr
    async with bench.worker():
        assert (await bench.starter("watch", batch_id, "--json")).code == ExitCode.ERASED


async def test_the_web_ui_reads_as_a_person_would_want(bench: Bench) -> None:
    async with bench.worker():
        report = (await bench.erase()).json
        client = await bench.temporal()
        handle = client.get_workflow_handle(report["batch_id"])
        description = await handle.describe()
        details = await texts(client, report["batch_id"])
    assert description.status is WorkflowExecutionStatus.RUNNING, "its way back is open"
    assert (await description.static_summary() or "").startswith(f"Erase {len(bench.platform.sample)} contributors")
    assert {"slice 1 of 4", "slice 4 of 4", "the whole batch"} <= set(details)
    assert {f"Probe {store}" for store in STORES} <= set(details)
