"""What is known of a batch: kept by the workflow, answered by the query `status`, told by the report.

Plain data, importable in Temporal's sandbox, without personal data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from activities.canary.messages import CanaryResult
from activities.contract import Finding, Recovery, Tally, Unit
from activities.messages import Certified, Verification, WhenShared


class Stage(StrEnum):
    """Where a batch is."""

    CHECK = "check"
    RESOLVE = "resolve"
    APPROVAL = "approval"
    CANARY = "canary"
    BACK_UP = "back up"
    ERASE = "erase"
    RECOUNT = "recount"
    VERIFY = "verify"
    REPORT = "report"
    ROLL_BACK = "roll back"
    CERTIFY = "certify"
    RETAIN = "retain"
    SHRED = "shred"
    END = "end"


class Outcome(StrEnum):
    """How a batch came out, or that it has not yet."""

    RUNNING = "running"
    ERASED = "erased"
    WARNED = "erased with warnings"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"


class PhaseState(StrEnum):
    """Where a phase is."""

    PENDING = "pending"
    BACKING_UP = "backing up"
    BACKED_UP = "backed up"
    RUNNING = "running"
    DONE = "done"
    WARNED = "done with warnings"
    FAILED = "failed"
    PARKED = "parked"
    SKIPPED = "skipped"
    ROLLING_BACK = "rolling back"
    ROLLBACK_PARKED = "rollback parked"
    ROLLED_BACK = "rolled back"
    LEFT_ERASED = "left erased"


PARKED = (PhaseState.PARKED, PhaseState.ROLLBACK_PARKED)
"""States in which a phase waits for an operator."""

ERASED = (PhaseState.DONE, PhaseState.WARNED)
"""States of a phase that went through."""

BACK = (PhaseState.ROLLED_BACK, PhaseState.LEFT_ERASED)
"""States of a phase whose rollback has ended."""


class CommandKind(StrEnum):
    """What an operator can ask of a batch."""

    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    ROLLBACK = "rollback"
    SHRED = "shred"


@dataclass(frozen=True)
class CommandRecord:
    """One command, as it is kept with the batch.

    Args:
        kind: What was asked.
        operator: Who asked; ``policy`` where the batch's own policy did.
        reason: Why.
        at: When it came.
        phase: Of which phase; None for the batch.
        ignored: Why it had no effect; None where it had one.
    """

    kind: CommandKind
    operator: str
    reason: str
    at: datetime
    phase: str | None = None
    ignored: str | None = None


@dataclass(frozen=True)
class Entered:
    """When a batch came to a stage; it may come to one again.

    Args:
        stage: The stage.
        at: When.
    """

    stage: Stage
    at: datetime


@dataclass(frozen=True)
class Issued(Certified):
    """A certificate that the batch was given.

    Args:
        at: When.
    """

    at: datetime


@dataclass
class PhaseStatus:
    """One phase.

    Args:
        store: The store's name.
        critical: Whether the batch parks when the phase fails; others warn and go on.
        unit: What one activity execution covers.
        reversible: Whether a rollback puts the store back; the data map's ``rollback = false`` says that it does not.
        state: Where the phase is.
        done: Contributors dealt with in the present state, so far.
        total: Contributors to deal with.
        impact: Records that an erasure would touch, by place; counted only where somebody has to approve.
        before: Records that held an identity of the batch when they were backed up, by place.
        after: Records that still hold one in the end, by place; None while not counted.
        erased: What the erasure did, by place.
        restored: What the rollback did, by place.
        purged: What shredding removed for ever, by place.
        backups: Digest of each slice's back-up, by the slice's name.
        backup_bytes: Size of the plain pre-images, in bytes.
        version: The server's version.
        standing: Warnings of the check: a phase that runs again does not take them back.
        warnings: What may have stayed behind, and why; those of the check too.
        notes: What cost time, or is so by design.
        error: Why the phase failed or parked.
        started_at: When the erasure began (not the back-up); None where nothing was ever written.
        ended_at: When it ended.
    """

    store: str
    critical: bool
    unit: Unit = "slice"
    reversible: bool = True
    state: PhaseState = PhaseState.PENDING
    done: int = 0
    total: int = 0
    impact: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] | None = None
    erased: dict[str, Tally] = field(default_factory=dict)
    restored: dict[str, Recovery] = field(default_factory=dict)
    purged: dict[str, int] = field(default_factory=dict)
    backups: dict[str, str] = field(default_factory=dict)
    backup_bytes: int = 0
    version: str = ""
    standing: list[Finding] = field(default_factory=list)
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

    @property
    def recovery(self) -> Recovery:
        """All places of the rollback together."""
        return sum(self.restored.values(), Recovery())


@dataclass
class BatchStatus:
    """One batch.

    Args:
        batch_id: The batch.
        operator: Who submitted it.
        data_map_digest: SHA-256, hex, of the data map in use.
        contributors: Distinct people of the CSV.
        duplicates: Rows of the CSV that were folded.
        phases: In the policy's order.
        unknown: People that the identity table does not know.
        held: People that are under a legal hold and were left out.
        stage: Where the batch is.
        stages: When it came to each stage, in order.
        outcome: How it came out.
        paused: Whether an operator holds it still.
        shared: Identities of the batch that somebody has who stays.
        when_shared: What becomes of them: the policy's word, or an operator's.
        attempt: Which attempt to resolve identities the manifest is of.
        parked: Why the batch as a whole waits for an operator, before anything is touched; None where it does not.
        problems: What the check found: nothing was touched.
        cautions: Warnings that concern no phase in particular.
        approvals_needed: How many have to approve.
        approvals: Who did.
        commands: Everything that operators asked for, in order.
        slices: Pages of the manifest.
        manifest_digest: SHA-256, hex, over the manifest.
        retained_until: Until when a rollback is possible.
        shredded: Whether the back-up is unreadable for ever.
        canary: How it went with the made-up contributor who is erased first; None where there was none.
        verification: What was found by looking for residuals apart from the erasers; None where nobody has.
        certificates: What was issued of it, in order.
        error: Why certifying or shredding is stuck.
        started_at: When the workflow began.
        ended_at: When the erasure or the rollback had ended.
    """

    batch_id: str
    operator: str
    data_map_digest: str
    contributors: int
    duplicates: int
    phases: list[PhaseStatus]
    unknown: int = 0
    held: int = 0
    stage: Stage = Stage.CHECK
    stages: list[Entered] = field(default_factory=list)
    outcome: Outcome = Outcome.RUNNING
    paused: bool = False
    shared: int = 0
    when_shared: WhenShared = "park"
    attempt: int = 0
    parked: Finding | None = None
    problems: list[Finding] = field(default_factory=list)
    cautions: list[Finding] = field(default_factory=list)
    approvals_needed: int = 0
    approvals: list[str] = field(default_factory=list)
    commands: list[CommandRecord] = field(default_factory=list)
    slices: int = 0
    manifest_digest: str = ""
    retained_until: datetime | None = None
    shredded: bool = False
    canary: CanaryResult | None = None
    verification: Verification | None = None
    certificates: list[Issued] = field(default_factory=list)
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def warnings(self) -> list[Finding]:
        """The batch's warnings and those of all phases, in order."""
        beside = self.verification.cautions if self.verification else []
        return [*self.cautions, *beside, *(warning for phase in self.phases for warning in phase.warnings)]

    @property
    def irreversible(self) -> list[str]:
        """The stores that no rollback puts back, in order."""
        return [phase.store for phase in self.phases if not phase.reversible]

    @property
    def left_erased(self) -> list[str]:
        """The stores that a rollback left as they are, in order."""
        return [phase.store for phase in self.phases if phase.state is PhaseState.LEFT_ERASED]

    @property
    def needs_operator(self) -> bool:
        """Whether nothing goes on before somebody decides."""
        waits = any(phase.state in PARKED for phase in self.phases) or self.stage is Stage.APPROVAL
        return waits or self.paused or self.error is not None or self.parked is not None

    @property
    def is_settled(self) -> bool:
        """Whether the erasure or the rollback has ended and is reported."""
        return self.stage in (Stage.RETAIN, Stage.SHRED, Stage.END)


def objection(status: BatchStatus, kind: CommandKind, phase: str | None) -> str | None:
    """Why a command makes no sense now; None where it does.

    Args:
        status: What is known of the batch.
        kind: What is asked.
        phase: Of which phase; None for the batch.
    """
    known = {each.store: each for each in status.phases}
    if phase is not None and phase not in known:
        return f"there is no phase {phase}: choose one of {', '.join(known)}"
    if status.stage is Stage.END:
        return "the batch has ended"
    wanted = [known[phase]] if phase else status.phases
    match kind:
        case CommandKind.APPROVE:
            return None if status.stage is Stage.APPROVAL else f"it waits for no approval (stage {status.stage})"
        case CommandKind.PAUSE:
            return "it is paused already" if status.paused else None
        case CommandKind.RESUME:
            return None if status.paused else "it is not paused"
        case CommandKind.SKIP:
            return None if _is_parked(status, phase, wanted) else "no such phase is parked"
        case CommandKind.ROLLBACK:
            return _no_rollback(status)
        case CommandKind.SHRED:
            if status.stage is Stage.RETAIN:
                return None
            return f"there is nothing to shred yet (stage {status.stage}): roll back or let it end first"
        case CommandKind.RETRY:
            return _no_retry(status, phase, wanted)


def can_rerun(status: BatchStatus, phase: PhaseStatus) -> bool:
    """Whether a phase that has ended may run again."""
    ended = (*ERASED, PhaseState.FAILED, PhaseState.SKIPPED)
    return phase.state in ended and status.stage is not Stage.SHRED and status.outcome is not Outcome.ROLLED_BACK


def _no_rollback(status: BatchStatus) -> str | None:
    if status.outcome is Outcome.ROLLED_BACK or status.stage is Stage.ROLL_BACK:
        return "it is rolled back already, or on its way"
    if status.stage is Stage.SHRED:
        return "its back-up is being shredded: there is no way back"
    return None


def _is_parked(status: BatchStatus, phase: str | None, wanted: list[PhaseStatus]) -> bool:
    """Whether what is asked for waits: the batch as a whole where no phase is named, or one of some phases."""
    return (phase is None and status.parked is not None) or any(each.state in PARKED for each in wanted)


def _no_retry(status: BatchStatus, phase: str | None, wanted: list[PhaseStatus]) -> str | None:
    if status.error is not None or _is_parked(status, phase, wanted):
        return None
    if any(can_rerun(status, each) for each in wanted):
        return None
    return "no such phase is parked or has ended"
