"""What is known of a batch: kept by the workflow, answered by the query `status`, told by the report.

Plain data, importable in Temporal's sandbox, without personal data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from activities.contract import Finding, Tally, Unit


class Stage(StrEnum):
    """Where a batch is."""

    CHECK = "check"
    RESOLVE = "resolve"
    BACK_UP = "back up"
    ERASE = "erase"
    RECOUNT = "recount"
    REPORT = "report"
    END = "end"


class Outcome(StrEnum):
    """How a batch ended, or that it has not yet."""

    RUNNING = "running"
    ERASED = "erased"
    WARNED = "erased with warnings"
    REFUSED = "refused"
    FAILED = "failed"


class PhaseState(StrEnum):
    """Where a phase is."""

    PENDING = "pending"
    BACKING_UP = "backing up"
    BACKED_UP = "backed up"
    RUNNING = "running"
    DONE = "done"
    WARNED = "done with warnings"
    FAILED = "failed"


@dataclass
class PhaseStatus:
    """One phase.

    Args:
        store: The store's name.
        critical: Whether the batch stops when the phase fails.
        unit: What one activity execution covers.
        state: Where the phase is.
        done: Contributors dealt with in the present state, so far.
        total: Contributors to deal with.
        before: Records that held an identity of the batch when they were backed up, by place.
        after: Records that still hold one in the end, by place; None while not counted.
        erased: What the erasure did, by place.
        backup_bytes: Size of the plain pre-images, in bytes.
        version: The server's version.
        warnings: What may have stayed behind, and why.
        notes: What cost time and nothing else.
        error: Why the phase failed.
        started_at: When the erasure began (not the back-up).
        ended_at: When it ended.
    """

    store: str
    critical: bool
    unit: Unit = "slice"
    state: PhaseState = PhaseState.PENDING
    done: int = 0
    total: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] | None = None
    erased: dict[str, Tally] = field(default_factory=dict)
    backup_bytes: int = 0
    version: str = ""
    warnings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long the erasure took; None while it has not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def tally(self) -> Tally:
        """All places together."""
        return sum(self.erased.values(), Tally())


@dataclass
class BatchStatus:
    """One batch.

    Args:
        batch_id: The batch.
        operator: Who submitted it.
        data_map_digest: SHA-256, hex, of the data map in use.
        contributors: Distinct people of the CSV.
        duplicates: Rows of the CSV that were folded.
        unknown: People that the identity table does not know.
        stage: Where the batch is.
        outcome: How it ended.
        problems: What the check found: nothing was touched.
        phases: In the policy's order.
        slices: Pages of the manifest.
        manifest_digest: SHA-256, hex, over the manifest.
        started_at: When the workflow began.
        ended_at: When it ended.
    """

    batch_id: str
    operator: str
    data_map_digest: str
    contributors: int
    duplicates: int
    phases: list[PhaseStatus]
    unknown: int = 0
    stage: Stage = Stage.CHECK
    outcome: Outcome = Outcome.RUNNING
    problems: list[Finding] = field(default_factory=list)
    slices: int = 0
    manifest_digest: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def warnings(self) -> list[Finding]:
        """The warnings of all phases, in order."""
        return [warning for phase in self.phases for warning in phase.warnings]
