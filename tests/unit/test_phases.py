"""The state machine of a phase."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from activities.contract import BackUp, Erased, Finding, Health, Impact, Recovery, Restored, Tally
from activities.status import BatchStatus, CommandKind, Outcome, PhaseState, PhaseStatus, Stage, objection
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


def test_what_is_found_after_its_end_does_not_move_the_end_of_a_phase_but_a_new_run_does() -> None:
    warned = phase(PhaseState.BACKING_UP, PhaseState.BACKED_UP, PhaseState.RUNNING, PhaseState.DONE)
    warned.become(PhaseState.WARNED, NOW + timedelta(hours=1))
    assert (warned.status.state, warned.status.ended_at) == (PhaseState.WARNED, NOW)
    warned.become(PhaseState.RUNNING, NOW + timedelta(hours=2))
    warned.become(PhaseState.DONE, NOW + timedelta(hours=3))
    assert warned.status.ended_at == NOW + timedelta(hours=3)


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
    gathering.backed_up(BackUp({"a": 1, "b": 2}, bytes=10, digest="d0", slice="000000"))
    gathering.backed_up(BackUp({"b": 3}, bytes=5, digest="d1", slice="000001"))
    gathering.erased(Erased({"a": Tally(1, 1)}))
    gathering.erased(Erased({"a": Tally(2, 1, 0, 1), "b": Tally(5, 5)}))
    gathering.counted(Impact({"a": 1}))
    assert gathering.status.before == {"a": 1, "b": 5}
    assert gathering.status.backup_bytes == 15
    assert gathering.status.backups == {"000000": "d0", "000001": "d1"}
    assert gathering.status.erased == {"a": Tally(3, 2, 0, 1), "b": Tally(5, 5)}
    assert gathering.status.tally == Tally(8, 7, 0, 1)
    assert gathering.status.after == {"a": 1}


def test_a_warning_is_kept_once() -> None:
    warned = phase()
    warning = Finding("place", "what", "remedy")
    warned.warn([warning])
    warned.warn([warning])
    assert warned.status.warnings == [warning]


S = PhaseState


@pytest.mark.parametrize(
    "way",
    [
        (S.BACKING_UP, S.PARKED, S.BACKING_UP, S.BACKED_UP),
        (S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.PARKED, S.RUNNING, S.DONE),
        (S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.PARKED, S.SKIPPED, S.RUNNING, S.DONE, S.WARNED, S.RUNNING),
        (S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.ROLLING_BACK, S.ROLLBACK_PARKED, S.ROLLING_BACK, S.ROLLED_BACK),
        (S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.DONE, S.ROLLING_BACK, S.LEFT_ERASED),
    ],
)
def test_a_phase_may_park_run_again_and_be_rolled_back(way: tuple[PhaseState, ...]) -> None:
    assert phase(*way).status.state is way[-1]


@pytest.mark.parametrize("state", [S.RUNNING, S.BACKING_UP, S.ROLLING_BACK, S.DONE])
def test_a_phase_that_was_rolled_back_stays_so(state: PhaseState) -> None:
    back = phase(S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.ROLLING_BACK, S.ROLLED_BACK)
    with pytest.raises(IllegalTransitionError):
        back.become(state, NOW)


def test_only_a_phase_that_wrote_is_to_be_rolled_back() -> None:
    assert not phase(S.BACKING_UP, S.BACKED_UP).was_written
    assert phase(S.BACKING_UP, S.BACKED_UP, S.RUNNING).was_written


def test_a_rollback_names_each_place_that_differs() -> None:
    back = phase(S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.ROLLING_BACK, S.ROLLED_BACK)
    back.backed_up(BackUp({"a": 3, "b": 2}))
    back.restored(Restored({"a": Recovery(3, 3), "b": Recovery(2, 1, conflicted=1)}))
    back.counted(Impact({"a": 3, "b": 1}))
    back.compare()
    (difference,) = back.status.warnings
    assert difference.place == "postgres b"
    assert "held 2 records of the batch before and holds 1" in difference.what


def test_a_place_that_a_store_does_not_put_back_by_design_is_a_note_and_others_are_warnings() -> None:
    back = phase(S.BACKING_UP, S.BACKED_UP, S.RUNNING, S.ROLLING_BACK, S.ROLLED_BACK)
    back.backed_up(BackUp({"sessions": 3, "members": 2}))
    by_design = Finding("redis", "keys are not put back", "Log in again.")
    back.restored(Restored({"members": Recovery(2, 1, conflicted=1)}, notes=[by_design]))
    back.counted(Impact({"members": 1}))
    back.compare()
    assert [finding.place for finding in back.status.warnings] == ["postgres members"]
    assert [finding.place for finding in back.status.notes] == ["redis", "postgres sessions"]


PARKED = Finding("identities", "are shared", "Decide.")


def _status(
    stage: Stage, *states: PhaseState, outcome: Outcome = Outcome.RUNNING, parked: Finding | None = None
) -> BatchStatus:
    phases = [PhaseStatus(f"store{number}", critical=True, state=state) for number, state in enumerate(states)]
    return BatchStatus("b", "dana", "", 1, 0, phases, stage=stage, outcome=outcome, parked=parked)


@pytest.mark.parametrize(
    ("status", "kind", "makes_sense"),
    [
        (_status(Stage.ERASE, S.PARKED), CommandKind.RETRY, True),
        (_status(Stage.ERASE, S.PARKED), CommandKind.SKIP, True),
        (_status(Stage.ERASE, S.RUNNING), CommandKind.SKIP, False),
        (_status(Stage.ERASE, S.RUNNING), CommandKind.RETRY, False),
        (_status(Stage.ERASE, S.RUNNING), CommandKind.ROLLBACK, True),
        (_status(Stage.ERASE, S.RUNNING), CommandKind.SHRED, False),
        (_status(Stage.RESOLVE, S.PENDING, parked=PARKED), CommandKind.RETRY, True),
        (_status(Stage.RESOLVE, S.PENDING, parked=PARKED), CommandKind.SKIP, True),
        (_status(Stage.RESOLVE, S.PENDING, parked=PARKED), CommandKind.ROLLBACK, True),
        (_status(Stage.RESOLVE, S.PENDING, parked=PARKED), CommandKind.APPROVE, False),
        (_status(Stage.RESOLVE, S.PENDING), CommandKind.SKIP, False),
        (_status(Stage.RETAIN, S.DONE, outcome=Outcome.ERASED), CommandKind.RETRY, True),
        (_status(Stage.RETAIN, S.DONE, outcome=Outcome.ERASED), CommandKind.SHRED, True),
        (_status(Stage.RETAIN, S.ROLLED_BACK, outcome=Outcome.ROLLED_BACK), CommandKind.ROLLBACK, False),
        (_status(Stage.RETAIN, S.ROLLED_BACK, outcome=Outcome.ROLLED_BACK), CommandKind.RETRY, False),
        (_status(Stage.ROLL_BACK, S.ROLLBACK_PARKED), CommandKind.RETRY, True),
        (_status(Stage.SHRED, S.DONE), CommandKind.ROLLBACK, False),
        (_status(Stage.END, S.DONE), CommandKind.PAUSE, False),
        (_status(Stage.APPROVAL, S.PENDING), CommandKind.APPROVE, True),
        (_status(Stage.BACK_UP, S.BACKING_UP), CommandKind.APPROVE, False),
    ],
)
def test_a_command_makes_sense_or_the_reason_is_said(status: BatchStatus, kind: CommandKind, makes_sense: bool) -> None:
    reason = objection(status, kind, None)
    assert (reason is None) is makes_sense, reason


def test_a_batch_that_waits_as_a_whole_is_no_parked_phase() -> None:
    waits = _status(Stage.RESOLVE, S.PENDING, parked=PARKED)
    assert waits.needs_operator
    assert objection(waits, CommandKind.SKIP, "store0") == "no such phase is parked"
    assert objection(waits, CommandKind.RETRY, "store0") is not None


def test_what_the_check_warned_of_stands_when_a_phase_runs_again() -> None:
    again = phase(S.BACKING_UP, S.BACKED_UP, S.RUNNING)
    lasting, passing = Finding("a", "is not in the data map", "Name it."), Finding("b", "was in conflict", "Retry.")
    again.checked(Health("18.4", warnings=[lasting], notes=[passing]))
    again.warn([passing])
    again.start_over()
    assert (again.status.version, again.status.warnings, again.status.notes) == ("18.4", [lasting], [passing])
    again.warn([passing])
    again.start_over()
    assert again.status.warnings == [lasting]
