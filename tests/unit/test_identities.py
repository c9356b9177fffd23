"""How two identities are compared."""

from __future__ import annotations

from activities.contract import Contributor
from activities.identities import IdentityKind, IdentitySet

ALL = list(IdentityKind)
PEOPLE = IdentitySet([Contributor("12", (" Bob@X.io ",), ("w-1",)), Contributor("c-7", ("a+b@x.io", "A+B@x.io"))])


def test_emails_match_without_regard_to_case_and_surrounding_blanks() -> None:
    assert PEOPLE.holds("BOB@x.io", [IdentityKind.EMAIL])
    assert PEOPLE.holds("  bob@x.io\n", [IdentityKind.EMAIL])


def test_ids_and_worker_ids_match_exactly() -> None:
    assert PEOPLE.holds("12", [IdentityKind.CONTRIBUTOR_ID])
    assert PEOPLE.holds("w-1", [IdentityKind.WORKER_ID])
    for value in ("123", "1", " 12", "W-1", "w-12"):
        assert not PEOPLE.holds(value, [IdentityKind.CONTRIBUTOR_ID, IdentityKind.WORKER_ID])


def test_a_value_of_another_kind_does_not_match() -> None:
    assert not PEOPLE.holds("12", [IdentityKind.EMAIL, IdentityKind.WORKER_ID])


def test_spellings_hold_every_known_form_and_the_normal_one() -> None:
    assert PEOPLE.spellings([IdentityKind.EMAIL]) == [" Bob@X.io ", "A+B@x.io", "a+b@x.io", "bob@x.io"]


def test_normalized_identities_are_distinct_and_sorted() -> None:
    assert PEOPLE.normalized(IdentityKind.EMAIL) == ["a+b@x.io", "bob@x.io"]
