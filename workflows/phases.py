"""The state machine of a phase: which state may follow which, and what a phase's status gathers on its way."""

from __future__ import annotations

from datetime import datetime

from activities.contract import BackUp, Erased, Finding, Impact, Tally
from activities.status import PhaseState, PhaseStatus

_NEXT: dict[PhaseState, frozenset[PhaseState]] = {
    PhaseState.PENDING: frozenset({PhaseState.BACKING_UP}),
    PhaseState.BACKING_UP: frozenset({PhaseState.BACKED_UP, PhaseState.FAILED}),
    PhaseState.BACKED_UP: frozenset({PhaseState.RUNNING}),
    PhaseState.RUNNING: frozenset({PhaseState.DONE, PhaseState.WARNED, PhaseState.FAILED}),
    PhaseState.DONE: frozenset(),
    PhaseState.WARNED: frozenset(),
    PhaseState.FAILED: frozenset(),
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

    def become(self, state: PhaseState, now: datetime) -> None:
        """Takes the next state.

        Args:
            state: The state.
            now: The workflow's time.

        Raises:
            IllegalTransitionError: The state cannot follow the present one.
        """
        if state not in _NEXT[self.status.state]:
            raise IllegalTransitionError(f"{self.store}: {self.status.state} -> {state}")
        self.status.state = state
        if state in (PhaseState.BACKING_UP, PhaseState.RUNNING):
            self.status.done = 0
        if state is PhaseState.RUNNING:
            self.status.started_at = now
        if state in (PhaseState.DONE, PhaseState.WARNED, PhaseState.FAILED):
            self.status.ended_at = now

    def backed_up(self, slice_: BackUp) -> None:
        """Adds what the back-up of one slice found."""
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

    def warn(self, warnings: list[Finding]) -> None:
        """Adds warnings, each once."""
        self.status.warnings += [warning for warning in warnings if warning not in self.status.warnings]


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {
        place: one.get(place, 0) + other.get(place, 0) for place in [*one, *(key for key in other if key not in one)]
    }
