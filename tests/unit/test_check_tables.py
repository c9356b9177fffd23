"""What a dry run says in a terminal."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

from rich.console import Console

from activities.checking.messages import Check, CheckStatus, Forecast, Pace, Preview
from activities.contract import Extent, Finding
from starter import check_tables

STATUS = CheckStatus(
    "dry-run-1",
    14,
    ["clickhouse", "redis"],
    dry_run=True,
    previews=[
        Preview("clickhouse", {"unit_metrics": 1_200, "other": 0}, {"unit_metrics": Extent(90_000, 3, 2_000_000)}),
        Preview("redis", {"auth": 48}, {"auth": Extent(lost=48)}),
    ],
    irreversible=["clickhouse"],
    forecast=Forecast(
        [Pace("clickhouse", 61.0, "the last 3 batches here"), Pace("redis", 1.5, "rates")], 7_000, "size"
    ),
)

CHECKS = [
    Check("CSV", "14 contributors"),
    Check("contributors", "14 of 40", warnings=[Finding("holds", "1 are under a legal hold", "Left out.")]),
    Check("clickhouse", "26.7", problems=[Finding("unit_metrics", "has 21 unfinished mutations", "Wait for them.")]),
    Check("redis", failure=Finding("check_redis", "cannot be reached", "Start it."), unreachable=True),
    Check("s3", "S3", notes=[Finding("[bold]", "is no markup", "It is shown.")]),
]


def shown() -> str:
    console = Console(file=StringIO(), width=120)
    console.print(check_tables.whole(STATUS, CHECKS, timedelta(days=7)))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def line(begin: str) -> list[str]:
    """The cells of the first line that begins so."""
    found = next(each for each in shown().splitlines() if each.startswith(begin))
    return found.removeprefix(begin).split()


def test_each_check_has_its_state_and_every_finding_its_remedy() -> None:
    assert line("CSV")[0] == "ok"
    assert line("contributors")[0] == "warned"
    assert line("clickhouse")[0] == "failed"
    assert line("redis")[:3] == ["could", "not", "run"]
    for said in (
        "holds: 1 are under a legal hold. Left out.",
        "unit_metrics: has 21 unfinished mutations. Wait for them.",
        "check_redis: cannot be reached. Start it.",
        "note: [bold]: is no markup. It is shown.",
    ):
        assert said in shown()


def test_the_impact_is_told_by_store_and_place_with_what_cannot_be_undone() -> None:
    assert line("  unit_metrics") == ["1,200", "90.0", "kB", "3", "2.0", "MB"]
    assert line("  other") == ["0"]
    assert line("  auth") == ["48", "48"]
    assert "Cannot be undone: 48 records of redis are not put back by a rollback." in shown()
    assert "Cannot be undone, by the data map: clickhouse." in shown()
    assert "until its back-up is shredded, 7 days after the end." in shown()
    assert "Nothing was written to any store" in shown()


def test_the_estimate_is_a_sum_with_the_basis_of_each_step() -> None:
    assert "About 0:01:02 in all" in shown()
    assert "61.0  the last 3 batches here" in shown()
    assert line("size of the back-up") == ["7.0", "kB", "size"]
