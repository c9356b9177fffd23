"""What happened to a batch, read out of its status as entries for the chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from activities.certificate.chain import Entry
from activities.status import BACK, BatchStatus, CommandKind, PhaseStatus


def entries(status: BatchStatus) -> list[Entry]:
    """Everything that is known to have happened, in order of time: the submission, each command, each phase, the end.

    Args:
        status: What is known of the batch.
    """
    return sorted(_entries(status), key=lambda entry: entry.at)


def time(moment: datetime | None) -> str | None:
    """A time in UTC, as certificates write it; always of the same length, so that texts sort as times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def why_shredded(status: BatchStatus) -> str:
    """Who or what ended the retention."""
    asked = [command for command in status.commands if command.kind is CommandKind.SHRED and command.ignored is None]
    return f"{asked[-1].operator} asked for it" if asked else "the retention ended"


def _entries(status: BatchStatus) -> Iterator[Entry]:
    if at := time(status.started_at):
        submitted = {
            "contributors": status.contributors,
            "duplicates": status.duplicates,
            "data_map_digest": status.data_map_digest,
        }
        yield Entry(at, "submitted", status.operator, detail=submitted)
    for number, command in enumerate(status.commands):
        if at := time(command.at):
            detail = {"number": number, "phase": command.phase, "no_effect": command.ignored}
            yield Entry(at, str(command.kind), command.operator, command.reason, detail)
    for phase in status.phases:
        yield from _of(phase, status.ended_at)
    if at := time(status.ended_at):
        yield Entry(at, "ended", detail={"outcome": str(status.outcome)})


def _of(phase: PhaseStatus, batch_ended: datetime | None) -> Iterator[Entry]:
    if at := time(phase.started_at):
        yield Entry(at, "phase began", detail={"store": phase.store})
        if ended := time(batch_ended if phase.state in BACK else phase.ended_at):
            detail = {"store": phase.store, "state": str(phase.state), **asdict(phase.tally)}
            yield Entry(ended, "phase ended", detail=detail)
