"""When each stage and phase of a batch ran, drawn to one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from activities.report.contents import Contents
from activities.status import BatchStatus, PhaseState, PhaseStatus, Stage

UNSEEN = (Stage.REPORT, Stage.CERTIFY, Stage.SHRED, Stage.END)
"""Stages that take no time to speak of, or come after everything that is drawn."""

TITLES = {
    Stage.CHECK: "Check",
    Stage.RESOLVE: "Resolve identities",
    Stage.APPROVAL: "Approval",
    Stage.CANARY: "Canary",
    Stage.BACK_UP: "Back up",
    Stage.ERASE: "Erase",
    Stage.RECOUNT: "Recount",
    Stage.VERIFY: "Verify",
    Stage.ROLL_BACK: "Roll back",
    Stage.RETAIN: "Retain",
}


class Shape(StrEnum):
    """What a mark on the timeline stands for."""

    COMMAND = "command"
    VERIFICATION = "verification"
    CERTIFICATE = "certificate"


@dataclass(frozen=True)
class Span:
    """A stretch of time.

    Args:
        start: Where it begins, in percent of the whole.
        width: How long it is, in percent of the whole.
    """

    start: float
    width: float


@dataclass(frozen=True)
class Row:
    """One stage, or one phase of the erasure.

    Args:
        title: Its name.
        is_phase: Whether it is a phase, a part of the stage above.
        state: A phase's state; empty for a stage.
        failed: Whether it failed, parked, or was given up.
        spans: When it ran.
        began: When it first did.
        seconds: How long it ran, all spans together; None while it has not ended.
    """

    title: str
    is_phase: bool
    state: str
    failed: bool
    spans: list[Span]
    began: datetime
    seconds: float | None


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment.

    Args:
        shape: What it is.
        at: Where, in percent of the whole.
        says: What happened.
    """

    shape: Shape
    at: float
    says: str


@dataclass(frozen=True)
class Timeline:
    """What happened when.

    Args:
        start: When the batch began.
        end: When the erasure or the rollback had ended; where it has not, when the report was made.
        rows: Stages in order, the phases below the stage `erase`.
        marks: What happened in between, in order.
    """

    start: datetime
    end: datetime
    rows: list[Row]
    marks: list[Mark]

    @property
    def seconds(self) -> float:
        """All of it."""
        return (self.end - self.start).total_seconds()


def timeline(contents: Contents) -> Timeline | None:
    """The timeline of a batch; None where it has not begun.

    Args:
        contents: What is told of the batch.
    """
    status = contents.status
    if status.started_at is None:
        return None
    scale = _Scale(status.started_at, contents.ended_at or contents.at)
    return Timeline(scale.start, scale.end, list(_rows(status, scale)), list(_marks(status, scale)))


@dataclass(frozen=True)
class _Scale:
    start: datetime
    end: datetime

    def place(self, at: datetime) -> float:
        """Where a moment lies, in percent; what lies outside is on the edge."""
        whole = (self.end - self.start).total_seconds()
        share = (at - self.start).total_seconds() / whole if whole > 0 else 0.0
        return round(100 * min(1.0, max(0.0, share)), 3)

    def span(self, start: datetime, end: datetime) -> Span:
        return Span(self.place(start), round(self.place(end) - self.place(start), 3))


def _rows(status: BatchStatus, scale: _Scale) -> Iterator[Row]:
    unseen = {*UNSEEN, *_left_out(status)}
    times: dict[Stage, list[tuple[datetime, datetime | None]]] = {}
    ends = [entered.at for entered in status.stages[1:]]
    for entered, end in zip(status.stages, [*ends, None], strict=False):
        if entered.stage not in unseen and entered.at < scale.end:
            times.setdefault(entered.stage, []).append((entered.at, end))
    for stage in times:
        yield _row(TITLES.get(stage, str(stage).capitalize()), times[stage], scale)
        if stage is Stage.ERASE:
            yield from _phases(status, scale)
    if Stage.ERASE not in times:
        yield from _phases(status, scale)


def _left_out(status: BatchStatus) -> Iterator[Stage]:
    """Stages that this batch only passed through, since its policy asks for nothing there."""
    if not status.approvals_needed:
        yield Stage.APPROVAL
    if status.verification is None and status.stage is not Stage.VERIFY:
        yield Stage.VERIFY


def _phases(status: BatchStatus, scale: _Scale) -> Iterator[Row]:
    for phase in status.phases:
        if phase.started_at is not None:
            yield _row(phase.store, [(phase.started_at, phase.ended_at)], scale, phase)


def _row(
    title: str, times: list[tuple[datetime, datetime | None]], scale: _Scale, phase: PhaseStatus | None = None
) -> Row:
    took = [(end - start).total_seconds() for start, end in times if end is not None]
    return Row(
        title,
        phase is not None,
        str(phase.state) if phase else "",
        phase is not None and phase.state in (PhaseState.FAILED, PhaseState.PARKED, PhaseState.SKIPPED),
        [scale.span(start, end or scale.end) for start, end in times],
        times[0][0],
        sum(took) if len(took) == len(times) else None,
    )


def _marks(status: BatchStatus, scale: _Scale) -> Iterator[Mark]:
    found = [
        *(
            (each.at, Shape.COMMAND, f"{each.kind} by {each.operator}{' (no effect)' if each.ignored else ''}")
            for each in status.commands
        ),
        *((each.at, Shape.CERTIFICATE, f"certificate {each.number}") for each in status.certificates),
    ]
    if status.verification:
        found.append((status.verification.at, Shape.VERIFICATION, "verified"))
    for at, shape, says in sorted(found, key=lambda mark: mark[0]):
        if scale.start <= at <= scale.end:
            yield Mark(shape, scale.place(at), says)
