"""``api-test``: asks the platform's API for work for everybody of a CSV, and hands it in."""

from __future__ import annotations

import hashlib
import json as _json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.datamap import DataMap
from activities.platform_api import Job, JobUrlError, report, run
from activities.platform_api.messages import ApiTestStatus, Expectation, Verdict
from starter.api_progress import follow
from starter.batches import describe
from starter.csv_file import CsvFile
from starter.exit_codes import ExitCode
from starter.session import Session, UsageError, err, out, print_json, session
from starter.session import run as run_command
from workflows.api_test import ApiTest, ApiTestRequest
from workflows.messages import Retry


class Expect(StrEnum):
    """Values of ``--expect``."""

    ACTIVE = "active"
    ERASED = "erased"


def api_test(
    job_url: Annotated[
        str,
        typer.Argument(
            metavar="JOB_URL",
            help="The job's URL with its secret, in quotes; - reads it from standard input: it stands in no history.",
        ),
    ],
    ids: Annotated[Path, typer.Argument(metavar="IDS", help="CSV of the contributors to ask for.")],
    expect: Annotated[
        Expect | None, typer.Option(help="active: work is given and taken; erased: it answers SYSTEM_ERROR.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="Id of somebody who stays: where even they are unknown to the platform, the test stops."),
    ] = None,
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report there, as CSV, JSON and HTML.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Fetch work for each contributor of a CSV by the platform's own API, and commit it where there was some.

    What is fetched is really given out, and what is committed is really taken. A test that was cut goes on where it
    stopped when the same command is given again; one that has ended starts anew.

    Exit codes: 0 as expected, 1 somebody's answer is contrary, 2 bad input, 3 some answers prove nothing, 4 stopped and
    waits for somebody, 5 cannot reach something.

    Example: python -m starter api-test 'https://platform.example/jobs/5001?secret=...' ids.csv --expect erased -o tests
    """

    async def main() -> ExitCode:
        data_map = DataMap.read(config)
        try:
            job = Job.parse(sys.stdin.readline() if job_url == "-" else job_url, data_map.platform_api)
        except JobUrlError as error:
            raise UsageError(str(error)) from None
        if control is not None and not re.fullmatch(data_map.identity.id_pattern, control):
            raise UsageError("--control takes a contributor's id, of the form that identity.id_pattern asks for.")
        csv = CsvFile(ids, data_map.identity.id_pattern)
        found = csv.inspect()
        _make(output)
        async with session() as opened:
            await opened.vault.probe()
            expectation: Expectation | None = expect.value if expect else None
            assignment = run.Assignment(job, data_map.platform_api, control)
            run_id = await _name(opened, assignment, expectation, found.digest)
            known = await describe(opened, run_id)
            if known is not None and known.status is WorkflowExecutionStatus.RUNNING:
                _say(f"This test is {run_id} already: it goes on where it stopped.")
                await opened.client.get_workflow_handle(run_id).signal(ApiTest.resume)
            else:
                vault = await opened.vault.create(run_id)
                pages = await run.write(vault, assignment, _people(csv))
                await _start(opened, run_id, expectation, found.contributors, pages, data_map)
                _say(f"Asks for {found.contributors:,} contributors of job {job.job_id} as {run_id}.")
            status = await follow(opened, run_id, quiet=json)
            if status is None:
                return ExitCode.FAILED
            if status.report is None:
                if json:
                    print_json(report.as_json(status))
                return _stopped(status)
            return await _show(opened, status, output, as_json=json)

    run_command(main, "The test goes on: the same command shows it again.")


async def _name(opened: Session, assignment: run.Assignment, expect: Expectation | None, content: bytes) -> str:
    """The test's id: the same job, people and expectation are the same test. Keyed, as a batch's."""
    job, rules = assignment.job, assignment.rules.model_dump_json()
    asked = _json.dumps([content.hex(), job.job_id, job.secret, assignment.control, expect, rules])
    return await opened.vault.name_batch(hashlib.sha256(asked.encode()).digest(), "api-test")


async def _start(
    opened: Session, run_id: str, expect: Expectation | None, contributors: int, pages: int, data_map: DataMap
) -> None:
    policy = data_map.policy
    request = ApiTestRequest(
        run_id,
        expect,
        contributors,
        pages,
        Retry(policy.max_attempts, policy.give_up_after),
        timedelta(seconds=policy.heartbeat_timeout),
        policy.park_timeout,
    )
    await opened.client.start_workflow(
        ApiTest.run,
        request,
        id=run_id,
        task_queue=opened.temporal.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"API test of {contributors:,} contributors, expected: {expect or 'nothing'}",
    )


def _people(csv: CsvFile) -> Iterator[run.Person]:
    """Everybody once, however often the file names them."""
    seen: set[str] = set()
    for row in csv.rows():
        if row.contributor_id not in seen:
            seen.add(row.contributor_id)
            yield run.Person(row.line, row.contributor_id)


def _make(folder: Path | None) -> None:
    """Makes the reports' folder, before anybody is asked for."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}. Name another folder with -o.") from None


def _stopped(status: ApiTestStatus) -> ExitCode:
    _say(f"Stopped after {status.asked:,} of {status.contributors:,} contributors. {status.stopped}", "red")
    _say("Mend the cause, then give the same command again: it goes on where it stopped.")
    return ExitCode.UNREACHABLE if status.passing else ExitCode.PARKED


async def _show(opened: Session, status: ApiTestStatus, output: Path | None, *, as_json: bool) -> ExitCode:
    """Writes and prints the report of a test that has ended."""
    archive = await opened.vault.archive(status.run.run_id)
    assert status.report is not None, "a test that has ended is reported"
    if output is None:
        found = await report.read(archive, status.report)
    else:
        files = [output / f"{status.run.run_id}.{kind}" for kind in ("csv", "json", "html")]
        with files[0].open("w", encoding="utf-8", newline="") as rows:
            found = await report.read(archive, status.report, rows)
        files[1].write_text(_json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        files[2].write_text(report.as_html(found), encoding="utf-8")
        _say(f"Wrote {', '.join(map(str, files))}.")
    if as_json:
        print_json(found)
    else:
        _print(found)
    if status.of(Verdict.CONTRARY):
        return ExitCode.FAILED
    return ExitCode.WARNED if status.of(Verdict.UNCLEAR) else ExitCode.ERASED


def _print(found: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("", "answer"):
        table.add_column(name, no_wrap=True)
    for name in ("times", "p50 ms", "p95 ms", "max ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, answers in (("fetch", found["fetches"]), ("commit", found["commits"])):
        latency = found["latency_ms"][kind]
        times = ["" if latency[key] is None else f"{latency[key]:,.0f}" for key in ("p50", "p95", "max")]
        for number, (code, count) in enumerate(sorted(answers.items())):
            table.add_row(*([kind, code, f"{count:,}", *times] if number == 0 else ["", code, f"{count:,}"]))
    out.print(table)
    verdicts = found["verdicts"]
    expected = f" (expected: {found['expect']})" if found["expect"] else ""
    out.print(
        f"{found['asked']:,} contributors{expected}: "
        + ", ".join(f"{count:,} {name}" for name, count in verdicts.items()),
        style="bold red" if verdicts["contrary"] else "bold yellow" if verdicts["unclear"] else "bold green",
        highlight=False,
    )
    if found["expect"] == "erased" and not found["control"]:
        out.print(f"{report.NO_CONTROL} Name somebody with --control.", highlight=False, soft_wrap=True)
    for name, lines in found["lines"].items():
        if lines:
            some = ", ".join(map(str, lines[:20])) + (", ..." if verdicts[name] > 20 else "")
            out.print(f"{name}: lines {some} of the CSV; -o FOLDER writes all", highlight=False, soft_wrap=True)


def _say(message: str, style: str | None = None) -> None:
    err.print(message, style=style, highlight=False, markup=False, soft_wrap=True)
