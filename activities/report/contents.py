"""What a report tells, whatever it is written as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from activities.contract import Finding
from activities.pages import Tone, Verdict, counted, moment
from activities.report.verdict import is_stale, verdict
from activities.sharing import Stayer
from activities.status import BatchStatus, Outcome, PhaseState, PhaseStatus, Stage

DEPTHS = {
    "mapped": "the places that the data map names, and no others",
    "catalogue": "every text-like place that the stores' own catalogues name, small objects included",
    "deep": "whatever can be read: binary columns, numbers and large objects too",
}
"""How far a verification looks, in words."""


@dataclass(frozen=True)
class Held:
    """Somebody under a legal hold.

    Args:
        contributor_id: Who.
        left_out: Stores in which nothing of them was touched.
        too_late: Stores in which they were erased before the hold.
    """

    contributor_id: str
    left_out: list[str] = field(default_factory=list)
    too_late: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        late = f"; erased before the hold: {', '.join(self.too_late)}" if self.too_late else ""
        return f"`{self.contributor_id}` left out: {', '.join(self.left_out) or 'nowhere'}{late}"


@dataclass(frozen=True)
class Concern:
    """Something that needs attention.

    Args:
        kind: What it is, in a word.
        tone: How bad it is.
        finding: Where, what, and what to do.
    """

    kind: str
    tone: Tone
    finding: Finding


def told(finding: Finding) -> str:
    """A finding in sentences; one that quotes another needs no second full stop, and one without remedy ends there."""
    what = finding.what if finding.what.endswith((".", "!", "?")) else f"{finding.what}."
    return f"{finding.place}: {what} {finding.remedy}".rstrip()


@dataclass(frozen=True)
class Place:
    """What was in a place before and after.

    Args:
        name: The place.
        before: Records that held an identity of the batch.
        changed: Records that were masked or deleted.
        after: Records that still hold one; None where nobody counted.
    """

    name: str
    before: int
    changed: int
    after: int | None


@dataclass(frozen=True)
class Contents:
    """What a report tells of a batch.

    Args:
        status: What is known of the batch.
        at: When the report was made.
        held: The people under a legal hold. A report names nobody but them and the next, since they are not erased.
        stayers: People who stay and have an identity of somebody of the batch.
    """

    status: BatchStatus
    at: datetime
    held: Sequence[Held] = ()
    stayers: Sequence[Stayer] = ()

    @property
    def verdict(self) -> Verdict:
        """What it says first."""
        return verdict(self.status)

    @property
    def ended_at(self) -> datetime | None:
        """When the erasure or the rollback had ended; None where it has not. A refusal ends with its report."""
        status = self.status
        if status.outcome is Outcome.REFUSED:
            return next((entered.at for entered in status.stages if entered.stage is Stage.REPORT), None)
        return None if status.outcome is Outcome.RUNNING else status.ended_at

    @property
    def backed_up(self) -> list[PhaseStatus]:
        """The phases that were backed up, and whose records were counted then."""
        before = (PhaseState.PENDING, PhaseState.BACKING_UP)
        return [phase for phase in self.status.phases if phase.state not in before]

    @property
    def concerns(self) -> list[Concern]:
        """What needs attention, the worst first."""
        status = self.status
        errors = [Finding(phase.store, phase.error, "") for phase in status.phases if phase.error]
        residuals, warnings = self._warnings()
        kinds = (
            ("waits", Tone.AMBER, list(self._waits())),
            ("problem", Tone.RED, status.problems),
            ("failure", Tone.RED, errors),
            ("residual", Tone.RED, residuals),
            ("warning", Tone.AMBER, warnings),
        )
        return [Concern(kind, tone, finding) for kind, tone, found in kinds for finding in found]

    @property
    def notes(self) -> list[Finding]:
        """What cost time, or is so by design."""
        return [note for phase in self.status.phases for note in phase.notes]

    @property
    def not_proven(self) -> list[Finding]:
        """What nobody can vouch for, and why; empty where nothing counts as erased."""
        status, found = self.status, self.status.verification
        if status.outcome not in (Outcome.ERASED, Outcome.WARNED):
            return []
        missing = [
            Finding(phase.store, "was not counted again after the erasure", "")
            for phase in status.phases
            if phase.after is None
        ]
        if found is None:
            what = "nobody but the eraser has looked for what may be left"
            missing.insert(0, Finding("every store", what, "Verify the batch."))
        else:
            if is_stale(status, found):
                what = f"a phase ran again after the verification of {moment(found.at)}"
                missing.insert(0, Finding("every store", what, "Verify the batch again."))
            missing += found.not_proven
        if status.held:
            what = f"{counted(status.held, 'person', 'people')} under a legal hold: nobody looked for them"
            missing.append(Finding("legal holds", what, ""))
        return missing

    @property
    def back_up(self) -> str:
        """What became of the back-up, and whether there is a way back."""
        status = self.status
        if status.outcome is Outcome.REFUSED:
            return "There is none: nothing was touched."
        if status.shredded:
            return "The back-up was shredded: nobody can roll back any more."
        one_way = f"The data map says that this cannot be undone: {', '.join(status.irreversible)}."
        until = f"A rollback is possible until {moment(status.retained_until)}."
        lives = "The encrypted back-up of what was erased lives until it is shredded."
        given = ((until, status.retained_until), (one_way, status.irreversible), (lives, self.backed_up))
        return " ".join(sentence for sentence, applies in given if applies) or "There is none yet."

    @staticmethod
    def places(phase: PhaseStatus) -> list[Place]:
        """The places of a phase, by name.

        Args:
            phase: The phase.
        """
        return [
            Place(
                name,
                phase.before.get(name, 0),
                phase.erased[name].changed if name in phase.erased else 0,
                None if phase.after is None else phase.after.get(name, 0),
            )
            for name in sorted({*phase.before, *phase.erased, *(phase.after or {})})
        ]

    def _warnings(self) -> tuple[list[Finding], list[Finding]]:
        """What is still in a store, and every other warning; the batch warns of most residuals by itself."""
        status = self.status
        found = status.verification.residuals if status.verification else {}
        of_phases = [(f"{phase.store} {each.place}", each) for phase in status.phases for each in phase.warnings]
        others = [each for each in status.warnings if all(each is not warning for _, warning in of_phases)]
        warnings = [*((each.place, each) for each in others), *of_phases]
        told = {place: replace(each, place=place) for place, each in warnings if place in found}
        untold = {
            place: Finding(place, f"{counted(count, 'record', 'records')} still hold an identity of the batch", "")
            for place, count in found.items()
            if place not in told
        }
        residuals = [finding for _, finding in sorted((told | untold).items())]
        return residuals, [each for place, each in warnings if place not in found]

    def _waits(self) -> Iterator[Finding]:
        """What nothing goes on without."""
        status = self.status
        if status.paused:
            yield Finding("batch", "an operator has paused it", "`resume` goes on.")
        if status.parked:
            yield status.parked
        if status.stage is Stage.APPROVAL:
            missing = status.approvals_needed - len(status.approvals)
            yield Finding("batch", f"waits for {counted(missing, 'approval', 'approvals')}", "`approve` it.")
        if status.error:
            yield Finding(f"stage {status.stage}", status.error, "`retry` tries again.")
        for phase in status.phases:
            if phase.state is PhaseState.PARKED:
                yield Finding(phase.store, "is parked", "Mend the cause, then `retry`; or `skip`, or `rollback`.")
            if phase.state is PhaseState.ROLLBACK_PARKED:
                yield Finding(phase.store, "cannot be put back yet", "Mend the cause, then `retry`.")
