"""How two identities are compared."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.identities import BLANKS, IdentityKind, IdentitySet, canonical, forms, normal

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
    assert PEOPLE.spellings([IdentityKind.EMAIL]) == [
        " Bob@X.io ",
        "A+B@x.io",
        "Bob@X.io",
        "a+b@x.io",
        "bob@x.io",
    ]


def test_normalized_identities_are_distinct_and_sorted() -> None:
    assert PEOPLE.normalized(IdentityKind.EMAIL) == ["a+b@x.io", "bob@x.io"]


@given(st.text(), st.sampled_from(BLANKS), st.sampled_from(BLANKS))
def test_the_normal_form_of_an_address_has_no_case_and_no_blanks_around(value: str, before: str, after: str) -> None:
    plain = normal(value, IdentityKind.EMAIL)
    assert normal(plain, IdentityKind.EMAIL) == plain
    assert normal(f"{before}{value}{after}", IdentityKind.EMAIL) == plain
    assert plain in forms(value, IdentityKind.EMAIL)


@given(st.text(st.characters(max_codepoint=127)))
def test_every_engine_agrees_on_an_ascii_address(value: str) -> None:
    assert forms(value, IdentityKind.EMAIL) == {normal(value, IdentityKind.EMAIL)}
    assert forms(value.upper(), IdentityKind.EMAIL) == forms(value, IdentityKind.EMAIL)


@given(st.text(), st.sampled_from([IdentityKind.WORKER_ID, IdentityKind.CONTRIBUTOR_ID]))
def test_other_identities_have_one_form(value: str, kind: IdentityKind) -> None:
    assert forms(value, kind) == {normal(value, kind)} == {value}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ÄNNE@x.io", "änne@x.io", True),
        ("ΣΟΦΟΣ@x.io", "σοφοσ@x.io", True),
        ("İpek@x.io", "ipek@x.io", True),
        ("ıpek@x.io", "ipek@x.io", False),
        ("straße@x.io", "strasse@x.io", False),
        ("zoé@x.io", "zoe@x.io", False),
        ("bob@x.io\u00a0", "bob@x.io", False),
        ("bob@x.io", "notbob@x.io", False),
        ("bob@x.io", "bob@x.io.uk", False),
    ],
)
def test_addresses_with_other_letters_match_letter_by_letter(one: str, other: str, same: bool) -> None:
    assert IdentitySet([Contributor("c-1", (one,))]).holds(other, [IdentityKind.EMAIL]) is same
    assert IdentitySet([Contributor("c-1", (other,))]).holds(one, [IdentityKind.EMAIL]) is same


@given(st.text(), st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_the_canonical_form_of_a_contributor_is_one_line_of_json(
    contributor_id: str, emails: list[str], worker_ids: list[str]
) -> None:
    written = canonical(contributor_id, emails, worker_ids)
    assert written == json.dumps([contributor_id, sorted(emails), sorted(worker_ids)]).encode() + b"\n"
    assert written == canonical(contributor_id, reversed(emails), reversed(worker_ids))
