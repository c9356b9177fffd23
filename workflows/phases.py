"""The state machine of a phase: which state may follow which, and what a phase's status gathers on its way."""

from __future__ import annotations

from datetime import datetime

from activities.contract import BackUp, Erased, Finding, Health, Impact, Purged, Recovery, Restored, Tally
from activities.status import PhaseState, PhaseStatus

_S = PhaseState
_ENDED = frozenset({_S.DONE, _S.WARNED, _S.FAILED, _S.PARKED, _S.SKIPPED})
_AGAIN = frozenset({_S.BACKING_UP, _S.RUNNING, _S.ROLLING_BACK})

_NEXT: dict[PhaseState, frozenset[PhaseState]] = {
    _S.PENDING: frozenset({_S.BACKING_UP}),
    _S.BACKING_UP: frozenset({_S.BACKED_UP, _S.FAILED, _S.PARKED, _S.ROLLING_BACK}),
    _S.BACKED_UP: frozenset({_S.RUNNING, _S.ROLLING_BACK}),
    _S.RUNNING: frozenset({_S.DONE, _S.WARNED, _S.FAILED, _S.PARKED, _S.ROLLING_BACK}),
    _S.DONE: frozenset({_S.WARNED}) | _AGAIN,
    _S.WARNED: _AGAIN,
    _S.FAILED: _AGAIN,
    _S.PARKED: frozenset({_S.SKIPPED}) | _AGAIN,
    _S.SKIPPED: _AGAIN,
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.LEFT_ERASED, _S.ROLLBACK_PARKED}),
    _S.ROLLBACK_PARKED: frozenset({_S.ROLLING_BACK, _S.SKIPPED}),
    _S.ROLLED_BACK: frozenset(),
    _S.LEFT_ERASED: frozenset(),
}


class IllegalTransitionError(Exception):
    """A phase was to take a state that cannot follow its present one: a defect of the workflow."""


class Phase:
    """One store's erasure, as the workflow follows it.

    Args:
        status: What is known of it; changed in place.
    """

    def __init__(self, status: PhaseStatus) -> None:
        self.status = status

    @property
    def store(self) -> str:
        """The store's name."""
        return self.status.store

    @property
    def was_written(self) -> bool:
        """Whether its erasure ever began: only then is there something to roll back."""
        return self.status.started_at is not None

    def become(self, state: PhaseState, now: datetime) -> None:
        """Takes the next state; to stay in the present one is no transition.

        Args:
            state: The state.
            now: The workflow's time.

        Raises:
            IllegalTransitionError: The state cannot follow the present one.
        """
        if state is self.status.state:
            return
        if state not in _NEXT[self.status.state]:
            raise IllegalTransitionError(f"{self.store}: {self.status.state} -> {state}")
        if state in _ENDED and self.status.state is not PhaseState.DONE:  # what is found later ends nothing anew
            self.status.ended_at = now
        self.status.state = state
        if state in _AGAIN:
            self.status.done = 0
            self.status.error = None
        if state is PhaseState.RUNNING:
            self.status.started_at = self.status.started_at or now

    def leave_erased(self, now: datetime) -> None:
        """Ends a rollback that the data map rules out, and says so: nobody is to believe that the store is as before.

        Args:
            now: The workflow's time.
        """
        self.become(PhaseState.LEFT_ERASED, now)
        what = "was not put back, it cannot be undone: the data map says rollback = false"
        self.warn([Finding(self.store, what, "Put it back from a back-up of your own, where there is one.")])

    def start_over(self) -> None:
        """Forgets what earlier executions did: a re-run counts anew, and finds as already clean what they cleaned."""
        self.status.erased = {}
        self.status.warnings = list(self.status.standing)
        self.status.after = None

    def backed_up(self, slice_: BackUp) -> None:
        """Adds what the back-up of one slice found."""
        self.status.backups[slice_.slice] = slice_.digest
        self.status.backup_bytes += slice_.bytes
        self.status.before = _added(self.status.before, slice_.places)

    def erased(self, slice_: Erased) -> None:
        """Adds what the erasure of one slice did."""
        for place, tally in slice_.places.items():
            self.status.erased[place] = self.status.erased.get(place, Tally()) + tally
        self.warn(slice_.warnings)

    def counted(self, slice_: Impact) -> None:
        """Adds what one slice still holds in the end."""
        self.status.after = _added(self.status.after or {}, slice_.places)

    def previewed(self, slice_: Impact) -> None:
        """Adds what an erasure of one slice would touch."""
        self.status.impact = _added(self.status.impact, slice_.places)

    def restored(self, slice_: Restored) -> None:
        """Adds what the rollback of one slice did."""
        for place, recovery in slice_.places.items():
            self.status.restored[place] = self.status.restored.get(place, Recovery()) + recovery
        self.warn(slice_.warnings)
        self.note(slice_.notes)

    def purged(self, slice_: Purged) -> None:
        """Adds what was removed for ever of one slice."""
        self.status.purged = _added(self.status.purged, slice_.places)
        self.warn(slice_.warnings)

    def compare(self) -> None:
        """Names every place that does not hold after the rollback what it held before."""
        after = self.status.after or {}
        for place in sorted({*self.status.before, *after}):
            before, now = self.status.before.get(place, 0), after.get(place, 0)
            if before != now:
                what = f"held {before:,} records of the batch before and holds {now:,} after the rollback"
                finding = Finding(f"{self.store} {place}", what, "Compare it with the report's other findings.")
                by_design = bool(self.status.notes) and place not in self.status.restored
                (self.note if by_design else self.warn)([finding])

    def warn(self, warnings: list[Finding]) -> None:
        """Adds warnings, each once."""
        self.status.warnings += [warning for warning in warnings if warning not in self.status.warnings]

    def checked(self, health: Health) -> None:
        """Takes what the check learned; its problems are the batch's."""
        self.status.version = health.version
        self.status.standing = health.warnings
        self.note(health.notes)
        self.warn(health.warnings)

    def note(self, notes: list[Finding]) -> None:
        """Adds notes, each once."""
        self.status.notes += [note for note in notes if note not in self.status.notes]


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {
        place: one.get(place, 0) + other.get(place, 0) for place in [*one, *(key for key in other if key not in one)]
    }
