"""The report of an API test: counts, codes, latencies, and a row a line of the CSV. Holds no personal data."""

from __future__ import annotations

import csv
from array import array
from dataclasses import asdict
from datetime import datetime
from typing import Any, TextIO

from activities import pages
from activities.pages import Tone
from activities.platform_api.answers import Answer
from activities.platform_api.messages import ApiTestStatus, Verdict
from activities.platform_api.run import Result, results
from activities.platform_api.run import read as read_assignment
from activities.vault import BatchVault

NAMED = 1_000
"""Lines of the CSV that a verdict names; the rows name all."""

NO_CONTROL = "Nobody who stays was asked about: a platform that is broken for everybody would answer the same."

COLUMNS = (
    *("line", "verdict", "fetch", "fetch_meaning", "fetch_ms", "fetch_tries"),
    *("commit", "commit_meaning", "commit_ms", "commit_tries"),
)
"""Of the CSV of answers."""


async def write(vault: BatchVault, archive: BatchVault, status: ApiTestStatus) -> str:
    """Puts the report into the vault's archive: it outlives the test's people and the job's secret.

    Args:
        vault: The test's part of the vault.
        archive: Its archive.
        status: What is known of the test.

    Returns:
        Its name.
    """
    name = f"report/{len(await archive.names('report/')):06}"
    assignment = await read_assignment(vault)
    times = {"fetch": array("d"), "commit": array("d")}
    lines: dict[str, list[int]] = {Verdict.CONTRARY: [], Verdict.UNCLEAR: []}
    async with archive.recording(name) as recording:
        async for result in results(vault, status.run, status.pages):
            for kind, answer in (("fetch", result.fetch), ("commit", result.commit)):
                if answer is not None:
                    times[kind].append(answer.milliseconds)
            if len(named := lines.get(result.verdict, [])) < NAMED:
                named.append(result.line)
            await recording.add("rows", {"row": _row(result)})
        latency = {kind: percentiles(taken) for kind, taken in times.items()}
        found = {
            "job_id": assignment.job.job_id,
            "control": assignment.control is not None,
            "latency_ms": latency,
            "lines": lines,
        }
        await recording.add("report", as_json(status) | found)
    return name


def as_json(status: ApiTestStatus) -> dict[str, Any]:
    """What is known of a test as JSON values."""
    return {
        "run_id": status.run.run_id,
        "expect": status.run.expect,
        "contributors": status.contributors,
        "asked": status.asked,
        "verdicts": {str(verdict): status.of(verdict) for verdict in Verdict},
        "fetches": status.fetches,
        "commits": status.commits,
        "stopped": asdict(status.stopped) if status.stopped else None,
        "started_at": status.started_at.isoformat() if status.started_at else None,
        "ended_at": status.ended_at.isoformat() if status.ended_at else None,
    }


async def read(archive: BatchVault, name: str, rows: TextIO | None = None) -> dict[str, Any]:
    """A report as JSON values.

    Args:
        archive: The test's archive.
        name: The report's.
        rows: Takes its rows as CSV, one a line of the CSV of contributors, if given.
    """
    writer = csv.writer(rows) if rows else None
    if writer:
        writer.writerow(COLUMNS)
    found: dict[str, Any] = {}
    async for place, record in archive.records(name):
        if place == "report":
            found = record
        elif writer:
            writer.writerow(record["row"])
    return found


def as_html(report: dict[str, Any]) -> str:
    """A report as a page that needs nothing else.

    Args:
        report: As `read` gives it.
    """
    times = {name: report[name] and datetime.fromisoformat(report[name]) for name in ("started_at", "ended_at")}
    verdicts = list(report["verdicts"].items())
    return pages.render(
        "api_test.html", report=report, verdict=_verdict(report), verdicts=verdicts, no_control=NO_CONTROL, **times
    )


def percentiles(milliseconds: array[float]) -> dict[str, float | None]:
    """Count, percentiles by nearest rank, and the largest; None where there is nothing."""
    ranked = sorted(milliseconds)
    found: dict[str, float | None] = {"count": len(ranked)}
    for share in (50, 90, 95, 99):
        found[f"p{share}"] = round(ranked[-(-share * len(ranked) // 100) - 1], 1) if ranked else None
    return found | {"max": round(ranked[-1], 1) if ranked else None}


def _row(result: Result) -> list[Any]:
    fetch = result.fetch
    return [result.line, result.verdict, *_cells(fetch), *(_cells(result.commit) if result.commit else [""] * 4)]


def _cells(answer: Answer) -> list[Any]:
    return [answer.code, answer.meaning, round(answer.milliseconds, 1), answer.tries]


def _verdict(report: dict[str, Any]) -> pages.Verdict:
    """The verdict on a test: the worst that is true."""
    expect, counts = report["expect"], report["verdicts"]
    asked = f"{pages.counted(report['asked'], 'contributor was', 'contributors were')} asked for."
    if expect is None or not report["asked"]:
        says = f"{asked} What the platform answered stands below."
        title = "nothing was expected" if expect is None else "nobody was asked for"
        return pages.Verdict(Tone.GREY, title, says, "runs")
    if contrary := counts[Verdict.CONTRARY]:
        says = f"{asked} For {contrary:,} of them the platform's answers are contrary to that."
        return pages.Verdict(Tone.RED, f"not all are {expect}", says, "cross")
    if unclear := report["contributors"] - counts[Verdict.AS_EXPECTED]:
        says = f"{asked} Of {unclear:,} of {report['contributors']:,} the platform's answers prove nothing."
        return pages.Verdict(Tone.AMBER, f"not all are proven to be {expect}", says, "warning")
    title, says = f"all are {expect}, as expected", f"{asked} The platform's answers are as expected."
    if expect == "erased" and not report["control"]:
        return pages.Verdict(Tone.AMBER, f"{title}, but there was no control", f"{says} {NO_CONTROL}", "warning")
    return pages.Verdict(Tone.GREEN, title, says, "check")
