"""What answers say of an expectation, and what is reported of their latencies."""

from __future__ import annotations

from array import array

import pytest

from activities.platform_api import Answer, Meaning
from activities.platform_api.messages import Expectation, Verdict
from activities.platform_api.report import percentiles
from activities.platform_api.run import judge

WORK, ERROR, KNOWN, UNCLEAR, TAKEN = (
    Answer(meaning, "")
    for meaning in (Meaning.WORK, Meaning.SYSTEM_ERROR, Meaning.KNOWN, Meaning.UNCLEAR, Meaning.TAKEN)
)


@pytest.mark.parametrize(
    ("fetch", "commit", "verdicts"),
    [
        (WORK, TAKEN, "met met not"),
        (WORK, KNOWN, "met not not"),
        (WORK, ERROR, "met not not"),
        (WORK, UNCLEAR, "unclear unclear not"),
        (ERROR, None, "met not met"),
        (KNOWN, None, "met not not"),
        (UNCLEAR, None, "unclear unclear unclear"),
    ],
)
def test_what_answers_say_depends_on_what_was_expected(fetch: Answer, commit: Answer | None, verdicts: str) -> None:
    words = {"met": Verdict.AS_EXPECTED, "not": Verdict.CONTRARY, "unclear": Verdict.UNCLEAR}
    expectations: tuple[Expectation | None, ...] = (None, "active", "erased")
    found = [judge(fetch, commit, expectation) for expectation in expectations]
    assert found == [words[word] for word in verdicts.split()]


def test_percentiles_are_times_that_were_measured() -> None:
    assert percentiles(array("d", range(100, 0, -1))) == {
        "count": 100,
        "p50": 50,
        "p90": 90,
        "p95": 95,
        "p99": 99,
        "max": 100,
    }
    assert percentiles(array("d", [7.04])) == {"count": 1, "p50": 7, "p90": 7, "p95": 7, "p99": 7, "max": 7}
    assert percentiles(array("d"))["p50"] is None
