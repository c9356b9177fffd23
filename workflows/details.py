"""What the Web UI shows of a running batch: a Markdown table of its phases."""

from __future__ import annotations

from activities.status import BatchStatus


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
    if status.irreversible:
        lines += ["", f"Cannot be undone, by the data map (rollback = false): {', '.join(status.irreversible)}"]
    parked = [status.parked] if status.parked else []
    lines += ["", *(f"- {finding}" for finding in [*parked, *status.problems, *status.warnings])]
    lines += [f"- {phase.store}: {phase.error}" for phase in status.phases if phase.error]
    return "\n".join(lines)
