"""What came of many places, in one answer of bounded size: what is not named is counted."""

from __future__ import annotations

import pytest

from activities.contract import Contributor, Finding
from activities.errors import CriticalError
from activities.verification.contract import Place, Reading, Residual, Scan
from activities.verification.folding import NAMED, NAMED_RESIDUALS, Folding
from activities.verification.needles import Needles
from activities.verification.tally import ELSEWHERE, MOST, Tally, without_values

NEEDLES = Needles([Contributor("c-12-x", ("ann@x.io",))])
FOUND = Reading(residuals=[Residual("canary: note", "email", 1, "…")])


def folded(readings: dict[str, Reading], *told: Finding, passes: int = 1) -> Scan:
    folding = Folding("store", "canary", told)
    for _ in range(passes):
        folding.begin(NEEDLES)
        folding.add(Place("canary", 1, 1), FOUND, NEEDLES)
        for name, reading in readings.items():
            folding.add(Place(name, 1, 1), reading, NEEDLES)
        folding.end()
    return folding.scan("1", 2.0)


def test_more_places_than_can_be_named_are_counted() -> None:
    clean = {f"clean-{number:05}": Reading(records=2, bytes=3, masked=1) for number in range(2_000)}
    full = {
        f"full-{number:05}": Reading(residuals=[Residual(f"full-{number:05}: a", "email", number + 1, "…")])
        for number in range(700)
    }
    unread = {
        f"unread-{number:05}": Reading(not_proven=[Finding(f"unread-{number:05}", "x", "y")]) for number in range(600)
    }
    scan = folded({**clean, **full, **unread})
    assert len(scan.proven) == NAMED
    assert len(scan.proven) + scan.proven_further == 2_000
    assert len(scan.residuals) == NAMED_RESIDUALS
    assert sum(residual.count for residual in scan.residuals) == sum(range(1, 701))
    assert scan.residuals[0].place == "full-00699: a"
    assert scan.residuals[-1].place == f"({700 - NAMED_RESIDUALS + 1} further places)"
    assert len(scan.not_proven) == NAMED
    assert scan.not_proven[-1].what.startswith("101 further findings")
    assert len(scan.masked) == NAMED + 1
    assert (sum(scan.masked.values()), scan.masked[ELSEWHERE]) == (2_000, 1_500)
    assert (scan.records, scan.bytes, scan.seconds) == (4_000, 6_000, 2.0)


def test_a_place_is_proven_if_no_pass_and_no_catalogue_says_otherwise() -> None:
    readings = {"a": Reading(records=1, masked=2), "b": Reading(records=1), "c": Reading(), "d": Reading()}
    scan = folded(readings, Finding("b", "has detached parts", "x"), Finding("c: field", "is hidden", "x"), passes=2)
    assert scan.proven == ["a", "d"]
    assert (scan.records, scan.passes, scan.masked) == (2, 2, {"a": 2})


def test_a_pass_that_does_not_find_the_canary_proves_nothing() -> None:
    folding = Folding("store", "canary", ())
    folding.begin(NEEDLES)
    folding.add(Place("canary", 1, 1), FOUND, NEEDLES)
    folding.end()
    folding.begin(NEEDLES)
    folding.add(Place("canary", 1, 1), Reading(), NEEDLES)
    with pytest.raises(CriticalError, match="did not find the canary"):
        folding.end()


def test_an_identity_in_the_name_of_a_place_is_found_and_not_shown() -> None:
    names = ("answers: c-12-x", "ann@x.io", "of-c-12-x", "%61nn@x.io")
    told = Finding("t", "columns are left out: a, ann@x.io", "x")
    scan = folded(dict.fromkeys(names, Reading()), told)
    assert [(each.place, each.kind, each.count) for each in scan.residuals] == [
        ("* (its name)", "email", 2),
        ("answers: * (its name)", "contributor_id", 1),
    ]
    assert [each.place for each in scan.not_proven] == ["t", scan.store]
    assert "looks like one: of-* (its name) (1)" in scan.not_proven[1].what
    assert scan.not_proven[0].what == "columns are left out: a, *"
    assert "c-12-x" not in repr(scan)
    assert "nn@x.io" not in repr(scan)
    assert scan.proven == []


def test_a_name_is_shown_without_what_may_be_a_value() -> None:
    needles = Needles([Contributor("auth|anna", ("bob.o'neil@x.io",), ("anna.berg",))])
    shown = {
        "session:1a:list": "session:*:list",
        "mail:bob.o'neil@x.io": "mail:*",
        "mail:joe.cool@x.io:n": "mail:*:n",
        "by:auth|anna:x": "by:*:x",
        "anna.berg": "*",
        "mail:bob%2Eo%27neil%40x.io": "*",
        "": "",
        "a b:é": "*:*",
    }
    assert {name: without_values(name, needles) for name in shown} == shown
    paths = {"@timestamp": "@timestamp", "a.b_c": "a.b_c", "a.b2": "a.*", "joe.cool@x.io": "*", "x.anna.berg": "x.*"}
    assert {path: without_values(path, needles, ".") for path in paths} == paths


def test_a_tally_tells_a_bounded_number_of_places_apart() -> None:
    tally = Tally(NEEDLES)
    places = [f"t: column{number}" for number in range(MOST + 50)]
    tally.look(["ann@x.io, ann@x.io"] * len(places), places, range(len(places)))
    tally.look(["to ann@x.io", "x", "by c-12-x"], ["t: a"] * 3, [7, 7, 7])
    reading = tally.reading()
    assert len(reading.residuals) == MOST + 2
    assert sum(residual.count for residual in reading.residuals) == len(places) + 2
    assert reading.residuals[0] == Residual(ELSEWHERE, "email", 51, "…@… (8 characters)")
