"""A whole batch, from the command line to the stores' own contents, with a real worker process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.plan import SMALL
from devstack.platform.seed import plan
from devstack.platform.tally import Count
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import Bench, Finished, HasEnv, until_async
from tests.history import leaks, texts

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


@dataclass(frozen=True)
class Ended:
    """A batch that was submitted, followed by `watch`, and looked at with every command.

    Args:
        bench: What it ran on.
        before: What the stores held.
        after: What they held in the end.
        submitted: The submission's answer.
        watched: What `watch` said.
        again: The answer to a second submission of the same file.
        other: The answer to another file under the same name.
        shown: What `status`, `list` and `report` said, by command.
        written: The files that `report -o` wrote, by name.
        kept: Every text that Temporal keeps of the batch.
        leaks: The people who are named where nobody must be.
        log: What the worker said.
        status: What Temporal says of the workflow.
        summary: What the Web UI shows of it in one line.
    """

    bench: Bench
    before: tuple[Count, ...]
    after: tuple[Count, ...]
    submitted: Finished
    watched: Finished
    again: Finished
    other: Finished
    shown: dict[str, Finished]
    written: dict[str, str]
    kept: list[str]
    leaks: list[str]
    log: str
    status: WorkflowExecutionStatus | None
    summary: str


@pytest.fixture(scope="module")
def ended(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One batch, for all tests that only look at it."""
    return asyncio.run(_run(stack, tmp_path_factory.mktemp("erase")))


async def _run(stack: HasEnv, folder: Path) -> Ended:
    async with benches.bench(stack, folder) as bench:
        batch_id = f"named-{bench.platform.names.database[-8:]}"
        before = await bench.census()
        async with bench.worker() as worker:
            submitted = await bench.erase("--batch", batch_id, "--detach")
            watched = await bench.starter("watch", batch_id, "--json")
            after = await bench.census()
            shown = {
                "status": await bench.starter("status", batch_id, "--json"),
                "list": await bench.starter("list", "--json"),
                "report": await bench.starter("report", batch_id),
                "report --json": await bench.starter("report", batch_id, "--json"),
                "report html": await bench.starter("report", batch_id, "--format", "html"),
                "report -o": await bench.starter("report", batch_id, "-o", str(folder / "reports")),
                "report -o FILE": await bench.starter("report", batch_id, "-o", str(folder / "reports" / "one.html")),
                "report -o WRONG": await bench.starter("report", batch_id, "-o", "one.html", "--format", "md"),
            }
            again = await bench.erase("--batch", batch_id)
            bench.csv.write_text("contributor_id\nsomebody-else\n")
            other = await bench.erase("--batch", batch_id)
            client = await bench.temporal()
            description = await client.get_workflow_handle(batch_id).describe()
        return Ended(
            bench,
            before,
            after,
            submitted,
            watched,
            again,
            other,
            shown,
            {path.name: path.read_text() for path in (folder / "reports").iterdir()},
            await texts(client, batch_id),
            await bench.leaks(),
            worker.log.read_text(),
            description.status,
            await description.static_summary() or "",
        )


def test_a_batch_is_erased_from_every_store_and_nobody_else_is_touched(ended: Ended) -> None:
    assert (ended.watched.code, ended.watched.json["outcome"]) == (ExitCode.ERASED, "erased"), ended.watched.stderr
    assert {row.store for row in ended.before if row.batch} == set(STORES)
    assert [(row.store, row.place) for row in ended.after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert {(row.store, row.place): row.others for row in ended.after} == {
        (row.store, row.place): row.others for row in ended.before
    }


def test_the_report_counts_what_was_there_and_what_was_done(ended: Ended) -> None:
    before = [row for row in ended.before if not row.place.endswith(ALL_VERSIONS)]
    counted = {store: sum(row.batch for row in before if row.store == store) for store in STORES}
    report, people = ended.watched.json, len(ended.bench.platform.sample)
    assert (report["outcome"], report["contributors"], report["unknown"]) == ("erased", people, 0)
    assert [phase["store"] for phase in report["phases"]] == STORES
    for phase in report["phases"]:
        assert phase["state"] == "done", phase
        assert phase["tally"]["changed"] == phase["tally"]["matched"] == sum(phase["before"].values())
        assert sum(phase["before"].values()) >= counted[phase["store"]] > 0
        assert sum(phase["after"].values()) == 0
        assert phase["done"] == phase["total"] == people


def test_nothing_that_temporal_keeps_names_a_person(ended: Ended) -> None:
    report = ended.watched.json
    assert {"erase_postgres", "Probe s3", report["manifest_digest"]} < set(ended.kept), "payloads are searched as well"
    assert leaks([*ended.kept, str(report)], ended.bench.platform.people) == []
    assert "worker started" in ended.log, "logs are searched as well"
    assert ended.leaks == []


def test_the_same_file_submitted_twice_is_one_batch(ended: Ended) -> None:
    assert ended.again.code == ExitCode.ERASED
    assert ended.again.json == ended.watched.json
    assert "already" in ended.again.stderr


def test_a_name_that_belongs_to_another_file_is_refused(ended: Ended) -> None:
    assert ended.other.code == ExitCode.BAD_INPUT
    assert "another file" in ended.other.stderr


def test_a_detached_batch_is_followed_by_watch_and_shown_by_status_list_and_report(ended: Ended) -> None:
    assert ended.submitted.code == ExitCode.ERASED, ended.submitted.stderr
    batch_id, report = ended.submitted.json["batch_id"], ended.watched.json
    assert ended.shown["status"].json == report
    listed = [row["status"] for row in ended.shown["list"].json if row["batch_id"] == batch_id]
    assert listed == ["running"], "its way back is open"
    # the report is written before the batch is certified, and before the way back is opened
    known = {"stage", "stages", "certificates", "retained_until", "reported_at", "holds", "stayers"}
    assert {key: value for key, value in ended.shown["report --json"].json.items() if key not in known} == {
        key: value for key, value in report.items() if key not in known
    }
    assert f"# Batch {batch_id}: {report['verdict']}" in ended.shown["report"].stdout


def test_a_report_is_written_as_a_page_as_markdown_and_as_json_or_as_the_one_file_that_is_named(ended: Ended) -> None:
    batch_id = ended.submitted.json["batch_id"]
    assert {ended.shown[command].code for command in ("report html", "report -o", "report -o FILE")} == {0}
    assert set(ended.written) == {f"{batch_id}.html", f"{batch_id}.md", f"{batch_id}.json", "one.html"}
    page = ended.written["one.html"]
    assert page == ended.written[f"{batch_id}.html"] == ended.shown["report html"].stdout
    assert page.startswith("<!doctype html>")
    assert [stage["stage"] for stage in ended.shown["report --json"].json["stages"]][:4] == [
        *("check", "resolve", "approval", "back up")
    ]
    assert [each["number"] for each in ended.watched.json["certificates"]] == [0]
    wrong = ended.shown["report -o WRONG"]
    assert (wrong.code, "end it in .md" in " ".join(wrong.stderr.split())) == (ExitCode.BAD_INPUT, True)


def test_the_web_ui_reads_as_a_person_would_want(ended: Ended) -> None:
    assert ended.status is WorkflowExecutionStatus.RUNNING, "its way back is open"
    assert ended.summary.startswith(f"Erase {len(ended.bench.platform.sample)} contributors")
    assert {"slice 1 of 2", "slice 2 of 2", "the whole batch"} <= set(ended.kept)
    assert {f"Probe {store}" for store in STORES} <= set(ended.kept)


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


async def test_without_a_worker_the_batch_waits_and_says_so(bench: Bench) -> None:
    submitted = await bench.erase("--detach")
    batch_id = submitted.json["batch_id"]
    status = await bench.starter("status", batch_id)
    assert status.code == ExitCode.UNREACHABLE
    assert "No worker answers" in status.stderr
    async with bench.worker():
        assert (await bench.starter("watch", batch_id, "--json")).code == ExitCode.ERASED
