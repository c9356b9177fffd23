"""How long an erasure will take, reckoned from what is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checking.estimating import AROUND, VERIFICATION, reckon
from activities.checking.messages import Forecast, Measured, Preview
from activities.contract import Extent, Tally
from activities.messages import Verification
from activities.status import BatchStatus, Outcome, PhaseState, PhaseStatus

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)

STORES = ("elasticsearch", "clickhouse", "postgres", "s3", "redis")


def past(records: int, seconds: float, around: float, kept: int = 0) -> BatchStatus:
    """A batch with the same number of records in each store, each phase of the same length."""
    phases = [
        PhaseStatus(
            store,
            critical=True,
            state=PhaseState.DONE,
            before={"x": records},
            erased={"x": Tally(records, records)},
            backup_bytes=kept,
            started_at=BEGAN,
            ended_at=BEGAN + timedelta(seconds=seconds),
        )
        for store in STORES
    ]
    status = BatchStatus("b", "o", "d", 1, 0, phases, outcome=Outcome.ERASED, started_at=BEGAN)
    status.ended_at = BEGAN + timedelta(seconds=seconds * len(STORES) + around)
    return status


def measured(records: int, looking: float = 0.0, size: int | None = None, rewritten: int = 0) -> Measured:
    extent = {"x": Extent(size, rewritten=rewritten)}
    previews = [Preview(store, {"x": records}, extent, looking) for store in STORES]
    return Measured("b", "d", previews, before=1.0)


def seconds(forecast: Forecast) -> dict[str, float]:
    return {pace.step: pace.seconds for pace in forecast.paces}


def test_a_batch_like_an_earlier_one_takes_as_long_as_that() -> None:
    forecast = reckon(measured(1_000), [past(1_000, 7.0, 12.0)], None)
    assert seconds(forecast) == pytest.approx({**dict.fromkeys(STORES, 7.0), AROUND: 12.0})
    assert forecast.seconds == pytest.approx(5 * 7 + 12)
    assert {pace.basis for pace in forecast.paces} == {"the last batch here"}


def test_the_middle_of_several_earlier_ones_counts_and_no_phase_is_shorter_than_looking_takes() -> None:
    earlier = [past(1_000, 7.0, 12.0), past(1_000, 9.0, 13.0), past(1_000, 700.0, 12.5)]
    forecast = reckon(measured(1_000), earlier, None)
    assert seconds(forecast) == pytest.approx({**dict.fromkeys(STORES, 9.0), AROUND: 12.5})
    assert {pace.basis for pace in forecast.paces} == {"the last 3 batches here"}
    slow = reckon(measured(1_000, looking=60.0), earlier, None)
    assert seconds(slow) == pytest.approx({**dict.fromkeys(STORES, 60.0), AROUND: 61.0})


def test_without_earlier_ones_it_is_what_looking_took_and_known_rates() -> None:
    forecast = reckon(measured(8_000, looking=2.0, rewritten=80_000_000), [], None)
    assert all(2.0 < took < 50 for step, took in seconds(forecast).items() if step != AROUND)
    assert all("two cores" in pace.basis for pace in forecast.paces)
    assert seconds(forecast)["clickhouse"] > seconds(reckon(measured(8_000, looking=2.0), [], None))["clickhouse"]


def test_where_there_is_nothing_to_erase_only_looking_takes_time() -> None:
    forecast = reckon(measured(0, looking=3.0), [past(1_000, 70.0, 12.0)], None)
    assert all(3.0 < took <= 4 for step, took in seconds(forecast).items() if step != AROUND)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.floats(0.1, 1e4), st.booleans())
def test_more_records_never_take_less_time(one: int, other: int, took: float, known: bool) -> None:
    earlier = [past(5_000, took, took)] if known else []
    few, many = sorted((one, other))
    assert reckon(measured(few), earlier, None).seconds <= reckon(measured(many), earlier, None).seconds + 1e-6


def test_the_back_up_is_as_large_as_earlier_ones_were_or_as_the_records_are() -> None:
    known = reckon(measured(500), [past(1_000, 1.0, 1.0, kept=10_000)], 123)
    assert (known.back_up, known.basis, known.room) == (5 * 5_000, "the last batches' own", 123)
    unknown = reckon(measured(1_000, size=1_000_000), [], None)
    assert 3_000_000 < unknown.back_up < 5_000_000, "of ClickHouse and Redis the values alone are kept"
    assert (unknown.basis, unknown.room) == ("the size of the records", None)


def test_a_verification_is_measured_anew_until_a_batch_has_ended_with_one() -> None:
    verified = replace(measured(1_000), verifying=30.0)
    without = past(1_000, 7.0, 12.0)
    forecast = reckon(verified, [without], None)
    assert seconds(forecast)[VERIFICATION] == 30.0
    assert "two cores" in forecast.paces[-2].basis, "that one ended without"
    with_one = past(1_000, 7.0, 50.0)
    with_one.verification = Verification("mapped", BEGAN)
    forecast = reckon(verified, [without, with_one], None)
    assert seconds(forecast)[AROUND] == pytest.approx(50.0)
    assert VERIFICATION not in seconds(forecast), "it is part of that"
    assert seconds(reckon(measured(1_000), [without, with_one], None))[AROUND] == pytest.approx(12.0)


def test_a_phase_that_did_not_go_through_is_no_measure() -> None:
    batch = past(1_000, 7.0, 12.0)
    batch.phases[0] = replace(batch.phases[0], state=PhaseState.SKIPPED)
    forecast = reckon(measured(1_000), [batch], None)
    assert "two cores" in forecast.paces[0].basis
    assert forecast.paces[1].basis == "the last batch here"
