"""The state machine of a phase."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from activities.contract import BackUp, Erased, Finding, Impact, Tally
from activities.status import PhaseState, PhaseStatus
from workflows.phases import IllegalTransitionError, Phase

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def phase(*states: PhaseState) -> Phase:
    made = Phase(PhaseStatus("postgres", critical=True))
    for state in states:
        made.become(state, NOW)
    return made


def test_a_phase_goes_from_back_up_to_done() -> None:
    done = phase(PhaseState.BACKING_UP, PhaseState.BACKED_UP, PhaseState.RUNNING, PhaseState.DONE)
    assert done.status.started_at == done.status.ended_at == NOW


@pytest.mark.parametrize("state", [PhaseState.RUNNING, PhaseState.DONE, PhaseState.FAILED])
def test_nothing_is_erased_that_was_not_backed_up(state: PhaseState) -> None:
    with pytest.raises(IllegalTransitionError, match="postgres: pending"):
        phase(state)


def test_a_new_state_counts_from_zero() -> None:
    backing_up = phase(PhaseState.BACKING_UP)
    backing_up.status.done = 7
    backing_up.become(PhaseState.BACKED_UP, NOW)
    assert backing_up.status.done == 7
    backing_up.become(PhaseState.RUNNING, NOW)
    assert backing_up.status.done == 0


def test_slices_add_up_by_place() -> None:
    gathering = phase()
    gathering.backed_up(BackUp({"a": 1, "b": 2}, bytes=10))
    gathering.backed_up(BackUp({"b": 3}, bytes=5))
    gathering.erased(Erased({"a": Tally(1, 1)}))
    gathering.erased(Erased({"a": Tally(2, 1, 0, 1), "b": Tally(5, 5)}))
    gathering.counted(Impact({"a": 1}))
    assert gathering.status.before == {"a": 1, "b": 5}
    assert gathering.status.backup_bytes == 15
    assert gathering.status.erased == {"a": Tally(3, 2, 0, 1), "b": Tally(5, 5)}
    assert gathering.status.tally == Tally(8, 7, 0, 1)
    assert gathering.status.after == {"a": 1}


def test_a_warning_is_kept_once() -> None:
    warned = phase()
    warning = Finding("place", "what", "remedy")
    warned.warn([warning])
    warned.warn([warning])
    assert warned.status.warnings == [warning]
