"""A fetch's CSV, its histogram, and what the data map may say of it."""

from __future__ import annotations

import copy
import itertools
import re
import tomllib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.datamap import DataMap, DataMapError
from activities.fetching import rows
from activities.fetching.histogram import BARS, bars
from tests.processes import ROOT

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
ODD = st.text(st.sampled_from('",;\r\n\t|= a@\x0b\x1fé\u2028\ufffd'), max_size=8)
VALUES = TEXTS | ODD | st.sampled_from(["ann@x.io", "o'brien@example.com", 'w-"12"'])


@settings(max_examples=40)
@given(st.lists(st.tuples(VALUES, st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))), st.integers(1, 9))
async def test_a_csv_is_read_as_it_was_written_wherever_it_is_cut(
    people: list[tuple[str, list[str], list[str]]], size: int
) -> None:
    pattern = re.compile("(?s).+")
    named = [
        rows.fit(contributor_id, list(dict.fromkeys(emails)), list(dict.fromkeys(worker_ids)))
        for contributor_id, emails, worker_ids in people
        if rows.is_readable(contributor_id, pattern)
    ]
    content = rows.encode(named[:2], header=True) + rows.encode(named[2:])

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    assert [person async for person in rows.decode(chunks())] == named


@given(st.dictionaries(st.integers(0, 1_000_000), st.integers(1, 1_000)))
def test_a_histogram_counts_everybody_in_few_bars_of_equal_width(days: dict[int, int]) -> None:
    found = bars(days)
    assert len(found) <= BARS
    assert sum(bar.contributors for bar in found) == sum(days.values())
    for bar in found:
        assert bar.contributors == sum(people for day, people in days.items() if bar.first <= day <= bar.last)
    assert len({bar.last - bar.first for bar in found}) <= 1
    for one, other in itertools.pairwise(found):
        assert other.first == one.last + 1


def test_a_person_whom_no_cell_can_name_is_named_by_the_id_alone() -> None:
    assert rows.fit("12", ["a@x.io", "b c@x.io", "none"], ["w-1", "w,2"]) == Contributor("12", ("a@x.io",), ("w-1",))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: f.pop("status"), "fetch.status: Field required"),
        (lambda f: f.pop("last_activity"), "fetch.last_activity: Field required"),
        (lambda f: f.update(since="x"), "fetch.since"),
        (lambda f: f.update(table="contributors"), "fetch.table: Value error, name schema and table"),
        (
            lambda f: f.update(projects={"table": "public.jobs", "by": "who"}),
            "fetch.projects: Value error, name a column",
        ),
        (lambda f: f.update(projects={"column": "a", "count": "b"}), "fetch.projects: Value error, name a column"),
        (lambda f: f.update(projects=7), "fetch.projects"),
        (lambda f: f.update(timezone=""), "fetch.timezone"),
    ],
)
def test_a_mistake_in_the_data_map_is_named_by_its_key(change: Callable[[dict[str, Any]], object], named: str) -> None:
    source = copy.deepcopy(tomllib.loads((ROOT / "erasure.toml").read_text()))
    change(source["fetch"])
    with pytest.raises(DataMapError, match=re.escape(named)):
        DataMap.parse(source, "erasure.toml")
    del source["fetch"]
    assert DataMap.parse(source, "erasure.toml").fetch is None
