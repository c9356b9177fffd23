"""The report of a batch: JSON for machines, Markdown for people. Holds counts and places, no personal data."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from activities.status import BatchStatus, Outcome, PhaseStatus
from activities.vault import BatchVault, VaultMissingError

_VERDICTS = {
    Outcome.RUNNING: "still running",
    Outcome.ERASED: "erased from every store of the data map",
    Outcome.WARNED: "erased, with warnings: the batch is not complete",
    Outcome.REFUSED: "refused by the check: nothing was touched",
    Outcome.FAILED: "failed: not every store was erased",
}


def as_json(status: BatchStatus) -> dict[str, Any]:
    """The report as JSON values."""
    report: dict[str, Any] = asdict(status)
    for phase, known in zip(report["phases"], status.phases, strict=True):
        phase["tally"] = asdict(known.tally)
    report["verdict"] = _VERDICTS[status.outcome]
    plain = _plain(report)
    assert isinstance(plain, dict)
    return plain


def as_markdown(status: BatchStatus) -> str:
    """The report as Markdown."""
    lines = [
        f"# Batch {status.batch_id}: {_VERDICTS[status.outcome]}",
        "",
        f"{status.contributors:,} contributors, submitted by {status.operator}; {status.duplicates:,} duplicate rows "
        f"folded; {status.unknown:,} not in the identity table (searched for by the CSV's own identities).",
        "",
        f"Started {_time(status.started_at)}, ended {_time(status.ended_at)}.",
        "",
        "| phase | state | before | matched | changed | already clean | conflicted | after | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(phase) for phase in status.phases),
    ]
    notes = [note for phase in status.phases for note in phase.notes]
    findings = [("Problems", status.problems), ("Warnings", status.warnings), ("Notes", notes)]
    for title, found in findings:
        if found:
            lines += ["", f"## {title}", "", *(f"- {finding}" for finding in found)]
    if errors := [phase for phase in status.phases if phase.error]:
        lines += ["", "## Failures", "", *(f"- {phase.store}: {phase.error}" for phase in errors)]
    lines += ["", "## Places", "", "| store | place | before | changed | after |", "|---|---|---:|---:|---:|"]
    for phase in status.phases:
        for place in sorted({*phase.before, *phase.erased, *(phase.after or {})}):
            changed = phase.erased[place].changed if place in phase.erased else 0
            after = "not counted" if phase.after is None else f"{phase.after.get(place, 0):,}"
            lines.append(f"| {phase.store} | `{place}` | {phase.before.get(place, 0):,} | {changed:,} | {after} |")
    lines += ["", f"Data map `{status.data_map_digest[:16]}`, manifest `{status.manifest_digest[:16]}`.", ""]
    return "\n".join(lines)


async def write(vault: BatchVault, status: BatchStatus) -> str:
    """Puts the report into the vault.

    Returns:
        Its name.
    """
    name = f"report/{len(await vault.names('report/')):06}"
    async with vault.recording(name) as recording:
        await recording.add("report", {"json": as_json(status), "markdown": as_markdown(status)})
    return name


async def read(vault: BatchVault) -> dict[str, Any]:
    """The batch's newest report: ``json`` and ``markdown``.

    Raises:
        VaultMissingError: The batch has none yet.
    """
    for name in reversed(await vault.names("report/")):
        async for _, report in vault.records(name):
            return report
    raise VaultMissingError("vault", f"batch {vault.batch_id} has no report yet", "Wait for the batch to end.")


def _row(phase: PhaseStatus) -> str:
    tally = phase.tally
    seconds = "" if phase.seconds is None else f"{phase.seconds:.1f}"
    after = "not counted" if phase.after is None else f"{sum(phase.after.values()):,}"
    return (
        f"| {phase.store} | {phase.state} | {sum(phase.before.values()):,} | {tally.matched:,} | {tally.changed:,} "
        f"| {tally.already_clean:,} | {tally.conflicted:,} | {after} | {seconds} |"
    )


def _time(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "not yet"


def _plain(value: Any) -> Any:
    """Datetimes as ISO 8601, the rest as it is."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {key: _plain(entry) for key, entry in value.items()}
        case list():
            return [_plain(entry) for entry in value]
    return value
