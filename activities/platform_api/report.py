"""The report of an API test: counts, codes, latencies, and a row a line of the CSV. Holds no personal data."""

from __future__ import annotations

import csv
from array import array
from dataclasses import asdict
from html import escape
from typing import Any, TextIO

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

_SAYS = {
    Verdict.AS_EXPECTED: "as expected",
    Verdict.CONTRARY: "contrary to what was expected",
    Verdict.UNCLEAR: "unclear: proves neither",
}

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.2rem .9rem .2rem 0;text-align:left}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{border-bottom:1px solid #bbb}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem}"
)


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
    expect = f"expected: {report['expect']}" if report["expect"] else "nothing expected"
    verdicts = [(_SAYS[verdict], report["verdicts"][verdict]) for verdict in Verdict]
    measures = ("count", "p50", "p90", "p95", "p99", "max")
    latency = [
        (kind, *("" if found[measure] is None else f"{found[measure]:,.0f}" for measure in measures))
        for kind, found in report["latency_ms"].items()
    ]
    control = "The platform knew the control, who stays." if report["control"] else ""
    if report["expect"] == "erased" and not report["control"]:
        control = NO_CONTROL
    parts = [
        f"<h1>API test of job {escape(report['job_id'])}, {expect}</h1>",
        f"<p>Test {escape(report['run_id'])}: {report['asked']:,} contributors, "
        f"{escape(report['started_at'] or '')} to {escape(report['ended_at'] or '')}. {control}</p>",
        _table("Contributors", ("", "contributors"), verdicts),
        _table("Fetch", ("answer", "times"), sorted(report["fetches"].items())),
        _table("Commit, where fetch gave work", ("answer", "times"), sorted(report["commits"].items())),
        _table("Latency in milliseconds", ("", *measures), latency),
    ]
    for verdict, named in report["lines"].items():
        if named:
            more = report["verdicts"][verdict] - len(named)
            text = ", ".join(map(str, named)) + (f" and {more:,} more" if more else "")
            parts.append(f"<h2>Lines of the CSV that are {_SAYS[Verdict(verdict)]}</h2><p>{text}</p>")
    title = f"<title>API test {escape(report['run_id'])}</title>"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8">{title}<style>{_STYLE}</style>'
    return "\n".join([head, *parts, "</html>", ""])


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


def _table(title: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    head = "".join(f"<th{' class=n' if number else ''}>{escape(name)}</th>" for number, name in enumerate(names))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if n else ''}>{_cell(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _cell(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else escape(str(cell))
