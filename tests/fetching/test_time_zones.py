"""Since when somebody is inactive, whichever way it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.fetching.register import Register

TABLE = "CREATE TABLE people (id text PRIMARY KEY, email text, worker_id text, status text, seen {kind})"


async def _people(bare: Register, kind: str, **seen: str) -> None:
    await bare.sql(TABLE.format(kind=kind))
    for name, moment in seen.items():
        await bare.sql(f"INSERT INTO people VALUES ('{name}', '', '', 'INACTIVE', '{moment}')")


async def test_a_moment_is_the_same_in_whichever_zone_it_was_written_and_whatever_the_database_has(
    bare: Register,
) -> None:
    await bare.sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$"
    )
    await bare.pool.expire_connections()
    await _people(
        bare,
        "timestamptz",
        kolkata="2026-02-10 05:29:59+05:30",
        utc="2026-02-09 23:59:58Z",
        new_york="2026-02-09 18:59:57-05",
        exactly="2026-02-10 09:00:00+09",
        tokyo="2026-02-10 09:00:01+09",
    )
    found = await bare.fetch(as_of=datetime(2026, 2, 20, tzinfo=UTC))
    assert found.ids == ["new_york", "utc", "kolkata"]


async def test_days_are_24_hours_also_where_the_clock_was_changed_between(bare: Register) -> None:
    """On 29 March 2026, Berlin's clock goes from 2 to 3."""
    await _people(
        bare, "timestamp", before="2026-03-28 12:59:59", after="2026-03-28 13:00:00", gone="2026-03-29 02:30:00"
    )
    berlin = bare.data_map(timezone="Europe/Berlin")
    as_of = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert (await bare.fetch(berlin, as_of=as_of, days=1)).ids == ["before"]
    assert (await bare.fetch(as_of=as_of, days=1)).ids == [], "with a clock that shows UTC it would be another hour"
    assert (await bare.fetch(berlin, as_of=as_of + timedelta(hours=14), days=1)).ids == ["before", "after", "gone"]


async def test_in_an_hour_that_the_clock_shows_twice_nobody_counts_as_inactive_too_early(bare: Register) -> None:
    """On 25 October 2026, Berlin's clock goes from 3 back to 2: 02:15 is 00:15 or 01:15 in UTC."""
    await _people(bare, "timestamp without time zone", twice="2026-10-25 02:15:00", once="2026-10-25 01:59:59")
    berlin = bare.data_map(timezone="Europe/Berlin")
    for minute, ids in ((30, ["once"]), (75, ["once"]), (76, ["once", "twice"])):
        as_of = datetime(2026, 10, 26, tzinfo=UTC) + timedelta(minutes=minute)
        assert (await bare.fetch(berlin, as_of=as_of, days=1)).ids == ids


@pytest.mark.parametrize(("zone", "hour"), [("UTC", 0), ("Asia/Tokyo", -9), ("America/New_York", 5)])
async def test_a_day_lasts_until_its_end_where_it_was_written(bare: Register, zone: str, hour: int) -> None:
    await _people(bare, "date", day="2026-01-10", ever="-infinity", today="2026-01-21", tomorrow="2026-01-23")
    ends = datetime(2026, 1, 11, tzinfo=UTC) + timedelta(hours=hour)
    data_map = bare.data_map(timezone=zone)
    assert (await bare.fetch(data_map, as_of=ends + timedelta(days=10))).ids == ["day"]
    early = await bare.fetch(data_map, as_of=ends + timedelta(days=10) - timedelta(seconds=1))
    assert early.ids == []
    assert (early.fetched.counts.no_activity, early.fetched.counts.in_future) == (1, 2)
    later = await bare.fetch(data_map, as_of=ends + timedelta(days=10, hours=1))
    assert later.fetched.counts.in_future == 1, "today is not in the future"
