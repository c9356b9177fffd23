"""How a batch looks in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from activities.messages import Verification
from activities.status import BatchStatus, Outcome, PhaseState, PhaseStatus, Stage
from starter.batches import View

_STYLES = {
    PhaseState.PENDING: "dim",
    PhaseState.BACKING_UP: "cyan",
    PhaseState.BACKED_UP: "dim",
    PhaseState.RUNNING: "bold cyan",
    PhaseState.DONE: "green",
    PhaseState.WARNED: "yellow",
    PhaseState.FAILED: "bold red",
    PhaseState.PARKED: "bold red",
    PhaseState.SKIPPED: "yellow",
    PhaseState.ROLLING_BACK: "bold magenta",
    PhaseState.ROLLBACK_PARKED: "bold red",
    PhaseState.ROLLED_BACK: "magenta",
    PhaseState.LEFT_ERASED: "bold yellow",
}

_OUTCOME_STYLES = {
    Outcome.RUNNING: "cyan",
    Outcome.ERASED: "bold green",
    Outcome.WARNED: "bold yellow",
    Outcome.REFUSED: "bold red",
    Outcome.ROLLED_BACK: "bold magenta",
}


def live(view: View, url: str | None) -> RenderableType:
    """A running batch: a row a phase, and who is missing.

    Args:
        view: One look at the batch.
        url: Its page in the Web UI.
    """
    parts: list[RenderableType] = []
    if view.status is not None:
        parts.append(_progress(view.status, view.activity))
    if not view.answered or view.idle_queues:
        queues = ", ".join(view.idle_queues) or "its task queue"
        parts.append(Text(f"No worker answers on {queues}. Start one: python -m worker", style="yellow"))
    if url:
        parts.append(Text(url, style="dim"))
    return Group(*parts)


def _progress(status: BatchStatus, activity: dict[str, dict[str, int]]) -> Table:
    """The phases of a running batch, with rate and remaining time."""
    table = _table(f"batch {status.batch_id}: {status.stage}, {status.contributors:,} contributors", status.outcome)
    for name in ("phase", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("done / total", "rate", "ETA"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("now", overflow="ellipsis", no_wrap=True)
    for phase in status.phases:
        rate, eta = _pace(phase)
        done = f"{phase.done:,} / {phase.total:,}"
        table.add_row(phase.store, _state(phase), done, rate, eta, escape(_now(phase.store, activity)))
    return table


def _results(status: BatchStatus) -> Table:
    """The phases of an ended batch, in records."""
    table = _table(f"batch {status.batch_id}: {status.outcome}, {status.contributors:,} contributors", status.outcome)
    for name in ("phase", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "changed", "after", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for phase in status.phases:
        after = "" if phase.after is None else f"{sum(phase.after.values()):,}"
        seconds = "" if (took := phase.seconds) is None else f"{took:,.1f}"
        before = f"{sum(phase.before.values()):,}"
        table.add_row(phase.store, _state(phase), before, f"{phase.tally.changed:,}", after, seconds)
    return table


def _table(title: str, outcome: Outcome) -> Table:
    return Table(title=title, title_style=_OUTCOME_STYLES[outcome], title_justify="left", box=None, pad_edge=False)


def _state(phase: PhaseStatus) -> Text:
    return Text(str(phase.state), style=_STYLES[phase.state])


def summary(status: BatchStatus, url: str | None) -> RenderableType:
    """A batch that has ended or waits: its phases, what went wrong, what can be done, and where to read on."""
    parts: list[RenderableType] = [_results(status)]
    for title, style, findings in (
        ("problem", "red", [str(problem) for problem in status.problems]),
        ("failure", "red", [f"{phase.store}: {phase.error}" for phase in status.phases if phase.error]),
        ("warning", "yellow", [str(warning) for warning in status.warnings]),
    ):
        parts += [Text(f"{title}: {finding}", style=style) for finding in findings]
    if status.canary is not None:
        parts.append(Text(f"canary: {status.canary}", style="red" if status.canary.problems else "green"))
    if status.verification is not None:
        parts.append(_verification(status.verification))
    parts += [Text(line, style="bold") for line in _advice(status)]
    if status.is_settled or status.outcome is not Outcome.RUNNING:
        parts.append(Text(f"The report: python -m starter report {status.batch_id}"))
    if status.is_settled and status.outcome is not Outcome.REFUSED:
        parts.append(Text(f"The certificate: python -m starter certificate export {status.batch_id}"))
    if url:
        parts.append(Text(f"Web UI: {url}"))
    return Group(*parts)


def _verification(found: Verification) -> Text:
    """What was found by looking apart from the eraser, in one line."""
    how = f"Looked for what is left, apart from the eraser, depth {found.depth}:"
    if found.residuals:
        records = sum(found.residuals.values())
        return Text(f"{how} {records:,} residuals in {len(found.residuals):,} places", style="bold red")
    read = f"{how} nothing found, {len(found.proven):,} places are proven"
    if found.not_proven:
        return Text(f"{read}; {len(found.not_proven):,} things are not, the report names them", style="yellow")
    return Text(read, style="green")


def _advice(status: BatchStatus) -> list[str]:
    """What an operator can do now."""
    batch = status.batch_id
    if status.paused:
        return [f"Paused. Go on: python -m starter resume {batch}"]
    if status.parked is not None:
        who = f"Who stays: python -m starter report {batch}"
        return [f"Parked. {status.parked}", who]
    if status.stage is Stage.APPROVAL:
        records = sum(sum(phase.impact.values()) for phase in status.phases)
        return [
            f"Waits for {status.approvals_needed - len(status.approvals)} approvals before {records:,} records are "
            f"touched: python -m starter approve {batch} --operator NAME",
            *_one_way(status),
        ]
    if status.error is not None:
        return [f"Stuck at the stage {status.stage}: {status.error}", f"Try again: python -m starter retry {batch}"]
    if any(phase.state is PhaseState.ROLLBACK_PARKED for phase in status.phases):
        return [f"The rollback is stuck. Mend the cause, then: python -m starter retry {batch}"]
    if any(phase.state is PhaseState.PARKED for phase in status.phases):
        return [f"Parked. Mend the cause, then: python -m starter retry {batch} (or skip, or rollback)"]
    if status.stage is Stage.RETAIN and status.retained_until and status.outcome is not Outcome.ROLLED_BACK:
        until = status.retained_until.strftime("%Y-%m-%d %H:%M UTC")
        return [f"Until {until} it can be undone: python -m starter rollback {batch}", *_one_way(status)]
    return []


def _one_way(status: BatchStatus) -> list[str]:
    """What an approver has to know, and who thinks of a rollback."""
    return [f"Cannot be undone, by the data map: {', '.join(stores)}"] if (stores := status.irreversible) else []


def _pace(phase: PhaseStatus) -> tuple[str, str]:
    """Contributors a second of the erasure, and the time that the rest will take."""
    if phase.started_at is None:
        return "", ""
    seconds = ((phase.ended_at or datetime.now(UTC)) - phase.started_at).total_seconds()
    if not phase.done or seconds <= 0:
        return "", ""
    rate = phase.done / seconds
    eta = "" if phase.ended_at else f"{(phase.total - phase.done) / rate:,.0f} s"
    return f"{rate:,.0f}/s", eta


def _now(store: str, activity: dict[str, dict[str, int]]) -> str:
    """What the store's running activities last reported."""
    reports = [progress for name, progress in activity.items() if name.endswith(f"_{store}")]
    return ", ".join(f"{place} {done:,}" for progress in reports for place, done in list(progress.items())[-2:])
