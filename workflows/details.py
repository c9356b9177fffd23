"""What the Web UI shows of a running batch, check or verification: a Markdown table of its parts."""

from __future__ import annotations

from activities.checking.messages import CheckStatus
from activities.status import BatchStatus
from activities.verification.messages import VerificationStatus


def slice_name(number: int | None, slices: int) -> str:
    """A slice in words, as the timeline shows it."""
    return "the whole batch" if number is None else f"slice {number + 1} of {slices}"


def as_markdown(status: BatchStatus) -> str:
    """The batch as a heading and a table of phases; counts only."""
    lines = [
        f"**{status.outcome}**, stage *{status.stage}*: {status.contributors:,} contributors in {status.slices} slices",
        "",
        "| phase | state | contributors | before | changed | already clean | conflicted | after |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for phase in status.phases:
        tally = phase.tally
        after = "" if phase.after is None else f"{sum(phase.after.values()):,}"
        lines.append(
            f"| {phase.store} | {phase.state} | {phase.done:,} / {phase.total:,} | {sum(phase.before.values()):,} "
            f"| {tally.changed:,} | {tally.already_clean:,} | {tally.conflicted:,} | {after} |"
        )
    if status.canary:
        lines += ["", f"Canary: {status.canary}."]
    if status.irreversible:
        lines += ["", f"Cannot be undone, by the data map (rollback = false): {', '.join(status.irreversible)}"]
    parked = [status.parked] if status.parked else []
    lines += ["", *(f"- {finding}" for finding in [*parked, *status.problems, *status.warnings])]
    lines += [f"- {phase.store}: {phase.error}" for phase in status.phases if phase.error]
    return "\n".join(lines)


def of_check(status: CheckStatus) -> str:
    """Checks as a table, and what was found; counts only."""
    lines = ["| check | state | |", "|---|---|---|"]
    lines += [f"| {check.name} | {check.state} | {check.facts} |" for check in status.checks]
    for check in status.checks:
        found = [*check.problems, *check.warnings, *([check.failure] if check.failure else [])]
        lines += ["", *(f"- {check.name}: {each}" for each in found)]
    return "\n".join(lines)


def of_verification(status: VerificationStatus) -> str:
    """A verification as a heading and a table of scans; places and counts only."""
    lines = [
        f"**{status.verdict}**: {status.contributors:,} contributors, depth *{status.depth}*",
        "",
        "| store | records, about | places read | residuals | not proven | masks |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    scans = {scan.store: scan for scan in status.scans}
    for store in status.stores:
        about = f"{status.estimates[store].records:,}" if store in status.estimates else ""
        read = ""
        if scan := scans.get(store):
            residuals = sum(residual.count for residual in scan.residuals)
            read = f"{len(scan.proven):,} | {residuals:,} | {len(scan.not_proven):,} | {sum(scan.masked.values()):,}"
        lines.append(f"| {store} | {about} | {read or ' | | |'} |")
    lines += ["", *(f"- residual: {place} ({count:,})" for place, count in sorted(status.residuals.items()))]
    lines += [f"- not proven: {each}" for each in status.failures.values()]
    return "\n".join(lines)
