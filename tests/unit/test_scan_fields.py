"""Which fields of an index a document's ``_source`` does not show, by its settings and mapping."""

from __future__ import annotations

from typing import Any

import pytest

from activities.verification.scanners.elasticsearch.fields import MOST, unshown

KEYWORD = {"type": "keyword"}
TEXT = {"type": "text"}
FIELDS: dict[str, Any] = {"a": KEYWORD, "b": {"properties": {"c": KEYWORD, "d": TEXT}}, "e": {"type": "binary"}}


@pytest.mark.parametrize(
    ("source", "columns", "missing"),
    [
        ({}, [], []),
        ({"excludes": ["b"]}, ["b.c"], ["b.d"]),
        ({"excludes": ["b.*"]}, ["b.c"], ["b.d"]),
        ({"excludes": ["*.d"]}, [], ["b.d"]),
        ({"excludes": ["b.cc", "ab"]}, [], []),
        ({"excludes": "a"}, ["a"], []),
        ({"includes": ["a", "e"]}, ["b.c"], ["b.d"]),
        ({"includes": ["b*"], "excludes": ["b.c"]}, ["a", "b.c"], []),
        ({"enabled": False}, ["a", "b.c"], ["b.d"]),
    ],
)
def test_what_source_leaves_out_is_read_by_columns_or_missing(
    source: dict[str, Any], columns: list[str], missing: list[str]
) -> None:
    fields = unshown("i", {}, {"_source": source, "properties": FIELDS})
    assert fields.doc_values == columns
    assert [finding.place for finding in fields.not_proven] == [f"i: {path}" for path in missing]
    assert fields.binary == {"e"}


def test_a_synthetic_source_is_not_what_was_written() -> None:
    for settings in ({"mapping": {"source": {"mode": "synthetic"}}}, {"mode": "logsdb"}, {"mode": "time_series"}):
        (finding,) = unshown("i", settings, {"properties": FIELDS}).not_proven
        assert (finding.place, "synthetic" in finding.what) == ("i", True)
    stored = {"mode": "logsdb", "mapping": {"source": {"mode": "stored"}}}
    assert unshown("i", stored, {"properties": FIELDS}).not_proven == []
    disabled = unshown("i", {"mapping": {"source": {"mode": "disabled"}}}, {"properties": {"a": KEYWORD, "d": TEXT}})
    assert (disabled.doc_values, [each.place for each in disabled.not_proven]) == (["a"], ["i: d"])


def test_how_a_hidden_field_is_kept_decides_whether_it_is_read() -> None:
    fields = {
        "stored": {"type": "text", "store": True},
        "flavoured": {"type": "text", "fields": {"raw": KEYWORD}},
        "shortened": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 9}}},
        "shorter": {"type": "keyword", "ignore_above": 9},
        "changed": {"type": "keyword", "normalizer": "lowercase"},
        "indexed": {"type": "keyword", "doc_values": False},
        "nowhere": {"type": "text", "index": False},
        "harmless": {"type": "float"},
        "flat": {"type": "flattened"},
    }
    found = unshown("i", {}, {"_source": {"enabled": False}, "properties": fields})
    assert found.stored == ["stored"]
    assert found.doc_values == ["flavoured.raw", "shortened.raw", "shorter", "changed"]
    assert [each.place for each in found.not_proven] == ["i: shortened", "i: changed", "i: indexed", "i: flat"]


def test_more_columns_than_one_search_answers_with_are_not_proven() -> None:
    many = {f"f{number:03}": KEYWORD for number in range(MOST + 3)}
    found = unshown("i", {}, {"_source": {"enabled": False}, "properties": many})
    assert (len(found.doc_values), len(found.not_proven)) == (MOST, 3)
