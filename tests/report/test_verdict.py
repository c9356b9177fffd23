"""The verdict never says more than was proven, and every report says the same of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.contract import Finding
from activities.messages import Depth, Verification
from activities.pages import Tone, took
from activities.report import as_html, as_json, as_markdown
from activities.report.timeline import Shape, timeline
from activities.report.verdict import verdict
from activities.status import BatchStatus, CommandKind, CommandRecord, Issued, Outcome, PhaseState
from tests.report import statuses
from tests.report.statuses import BATCHES, at, contents

DEPTHS: tuple[Depth, ...] = ("mapped", "catalogue", "deep")

VERIFICATIONS = st.builds(
    Verification,
    depth=st.sampled_from(DEPTHS),
    at=st.sampled_from([at(200), at(365)]),
    proven=st.sampled_from([[], ["redis auth:*"]]),
    residuals=st.sampled_from([{}, {"redis auth:*": 1}]),
    not_proven=st.sampled_from([[], [Finding("s3 bucket", "was sampled", "")]]),
)


@given(
    outcome=st.sampled_from(Outcome),
    found=st.none() | VERIFICATIONS,
    states=st.lists(st.sampled_from([*[PhaseState.DONE] * 9, PhaseState.SKIPPED, PhaseState.FAILED]), min_size=5),
    after=st.sampled_from([0, 0, 0, None, 3]),
    warned=st.booleans(),
    held=st.integers(0, 1),
)
def test_it_is_green_only_where_everything_was_proven_and_nothing_is_left(
    outcome: Outcome, found: Verification | None, states: list[PhaseState], after: int | None, warned: bool, held: int
) -> None:
    status = replace(statuses.erased(), outcome=outcome, verification=found, held=held)
    for phase, state in zip(status.phases, states, strict=False):
        phase.state = state
    status.phases[0].after = None if after is None else {"project-qa": after}
    if warned:
        status.cautions.append(Finding("identities", "something was left out", ""))
    is_proven = found is not None and (
        found.at == at(365) and bool(found.proven) and not found.not_proven and found.depth in ("catalogue", "deep")
    )
    residuals = found is not None and bool(found.residuals)
    went_through = all(phase.state is PhaseState.DONE for phase in status.phases)
    clean = outcome in (Outcome.ERASED, Outcome.WARNED) and went_through and after == 0 and not residuals
    tone = verdict(status).tone
    assert (tone is Tone.GREEN) is (clean and is_proven and not warned)
    if outcome in (Outcome.ERASED, Outcome.WARNED) and (residuals or not went_through):
        assert tone is Tone.RED
    if clean and not is_proven:
        assert tone is Tone.AMBER


def _after(status: BatchStatus, count: int) -> BatchStatus:
    status.phases[1].after = {"platform.unit_metrics": count}
    return status


def _skipped(status: BatchStatus) -> BatchStatus:
    status.phases[4].state, status.phases[4].after = PhaseState.SKIPPED, None
    return status


def _rolled_back_wholly() -> BatchStatus:
    status = statuses.rolled_back()
    redis = status.phases[-1]
    redis.state, redis.warnings = PhaseState.ROLLED_BACK, []
    return status


@pytest.mark.parametrize(
    ("batch", "tone", "says"),
    [
        (statuses.proven, Tone.GREEN, "erased and proven"),
        (statuses.erased, Tone.AMBER, "erased, not verified"),
        (statuses.partly_proven, Tone.AMBER, "2 people under a legal hold were left out"),
        (lambda: replace(statuses.erased(), verification=statuses.verification("mapped")), Tone.AMBER, "nowhere else"),
        (lambda: replace(statuses.erased(), verification=statuses.verification("deep", 300)), Tone.AMBER, "ran again"),
        (lambda: replace(statuses.proven(), verification=Verification("deep", at(365))), Tone.AMBER, "no place whole"),
        (statuses.residuals, Tone.RED, "found identities of the batch in 4 places"),
        (lambda: _after(statuses.proven(), 2), Tone.RED, "2 records that still hold an identity"),
        (lambda: _skipped(statuses.proven()), Tone.RED, "not erased from redis"),
        (_rolled_back_wholly, Tone.GREY, "Nobody counts as erased"),
        (lambda: _skipped(_rolled_back_wholly()), Tone.AMBER, "but for redis: that was not put back"),
        (statuses.rolled_back, Tone.AMBER, "but for redis: that was not put back"),
        (statuses.refused, Tone.RED, "nothing was touched"),
        (statuses.running, Tone.GREY, "Nothing here is final"),
        (statuses.parked, Tone.AMBER, "until an operator decides"),
    ],
)
def test_each_way_to_end_has_a_verdict_of_its_own(batch: Callable[[], BatchStatus], tone: Tone, says: str) -> None:
    found = verdict(batch())
    assert found.tone is tone
    assert says in f"{found.title}. {found.says}"


@pytest.mark.parametrize("name", BATCHES)
def test_every_form_of_the_report_begins_with_the_same_verdict(name: str) -> None:
    told = contents(name)
    title = told.verdict.title
    assert as_markdown(told).startswith(f"# Batch {told.status.batch_id}: {title}\n")
    assert (as_json(told.status)["verdict"], as_json(told.status)["tone"]) == (title, told.verdict.tone)
    assert f"<title>{told.status.batch_id}: {title}</title>" in as_html(told)


def test_what_was_found_again_is_told_once_and_before_all_warnings() -> None:
    concerns = contents("residuals").concerns
    assert [(concern.kind, concern.finding.place) for concern in concerns] == [
        ("residual", f"elasticsearch project-x: {statuses.HOSTILE}"),
        ("residual", "identity table"),
        ("residual", "postgres archive.contributors_2023.email"),
        ("residual", "redis stream:events"),
    ]
    assert "`retry`" in concerns[2].finding.remedy, "the batch's own words"
    assert [concern.kind for concern in contents("parked").concerns] == ["waits", "failure"]


def test_a_reason_cannot_break_the_table_that_it_stands_in() -> None:
    told = contents("erased")
    told.status.commands = [CommandRecord(CommandKind.PAUSE, "kim", "one | two\nthree", at(20))]
    (row,) = [line for line in as_markdown(told).splitlines() if "| pause |" in line]
    assert "| one \\| two three |" in row


def test_the_timeline_is_drawn_to_scale() -> None:
    told = contents("partly-proven")
    drawn = timeline(told)
    assert drawn is not None
    rows = {row.title: row for row in drawn.rows}
    assert list(rows) == [
        "Check",
        "Resolve identities",
        "Approval",
        "Back up",
        "Erase",
        *statuses.PLACES,
        "Recount",
        "Verify",
    ]
    assert (rows["Erase"].spans[0].start, rows["Erase"].spans[0].width) == pytest.approx(
        (100 * 168 / 372, 100 * (345 - 168) / 372), abs=0.01
    )
    assert (rows["clickhouse"].seconds, rows["Recount"].seconds) == (55, 7)
    assert [mark.shape for mark in drawn.marks] == [*[Shape.COMMAND] * 3, Shape.VERIFICATION, Shape.CERTIFICATE]
    assert [mark.at for mark in drawn.marks] == sorted(mark.at for mark in drawn.marks)
    assert all(span.start + span.width <= 100.01 for row in drawn.rows for span in row.spans)


def test_a_stage_that_was_come_to_twice_has_a_bar_for_each_time_and_what_runs_has_no_duration() -> None:
    rolled_back = timeline(contents("rolled-back"))
    running = timeline(contents("running"))
    assert rolled_back is not None
    assert running is not None
    assert [row.title for row in rolled_back.rows][-2:] == ["Retain", "Roll back"]
    assert running.end == at(400), "when the report was made"
    assert {row.title: row.seconds for row in running.rows}["s3"] is None
    again = statuses.erased()
    again.stages += [replace(entered, at=entered.at + timedelta(days=2)) for entered in again.stages[4:]]
    again.ended_at = at(372) + timedelta(days=2)
    again.certificates.append(Issued(1, "00" * 32, "k-1", again.ended_at + timedelta(seconds=1)))
    drawn = timeline(replace(contents("erased"), status=again))
    assert drawn is not None
    assert [len(row.spans) for row in drawn.rows if row.title in ("Erase", "Recount")] == [2, 2]
    assert {mark.shape for mark in drawn.marks} == {Shape.COMMAND}, "what came afterwards is not on the scale"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (3599.7, "1 h 0 min"), (90_000, "1 d 1 h"), (None, "–")],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert took(seconds) == text
