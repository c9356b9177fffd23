"""Marks of erased identities, and what in a text may be one."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.identities import BLANKS, IdentityKind, forms
from activities.masking import CONSTANT, IdentityFinder, lower
from activities.sweeping.words import candidates
from activities.tombstones import TombstoneKey
from activities.tombstones.keeping import of
from activities.tombstones.marks import SIZE, stand_in

ID, EMAIL, WORKER = IdentityKind
KEY = TombstoneKey(bytes(range(32)))


def test_a_mark_is_an_hmac_of_kind_and_normal_form() -> None:
    expected = hmac.new(bytes(range(32)), b"email\0ann@x.io", hashlib.sha256).digest()[:16]
    assert KEY.mark(EMAIL, " Ann@X.io\t") == expected
    outer = hashlib.sha256(KEY.pads[64:] + hashlib.sha256(KEY.pads[:64] + b"email\0ann@x.io").digest()).digest()
    assert outer[:16] == expected, "the key as PostgreSQL takes it makes the same"


@given(st.text(), st.sampled_from(BLANKS), st.sampled_from(BLANKS))
def test_addresses_have_one_mark_whatever_their_case_and_blanks_and_ids_one_a_spelling(
    value: str, before: str, after: str
) -> None:
    assert KEY.mark(EMAIL, value) == KEY.mark(EMAIL, f"{before}{lower(value)}{after}")
    assert KEY.mark(ID, value) != KEY.mark(ID, f"{value} ")
    assert len({KEY.mark(kind, value) for kind in IdentityKind}) == 3, "an id is not a worker id"
    assert KEY.mark(EMAIL, value) in KEY.marks(EMAIL, value)
    assert len(KEY.marks(EMAIL, value)) == len(forms(value, EMAIL))
    assert KEY.mark(ID, value) != TombstoneKey(bytes(32)).mark(ID, value)


@given(st.text())
def test_what_stands_for_an_id_is_of_the_same_person(contributor_id: str) -> None:
    person = KEY.person(contributor_id)
    assert KEY.person(stand_in(person)) == person
    assert len(person) == SIZE


@pytest.mark.parametrize("contributor_id", ["erased-", "erased-12", "erased-zz", "erased"])
def test_an_id_that_looks_like_a_stand_in_is_an_id(contributor_id: str) -> None:
    assert KEY.person(contributor_id) == KEY.mark(ID, contributor_id)


def test_somebody_has_a_tombstone_an_identity_and_none_for_masks_and_blanks() -> None:
    person = Contributor("12", ("Ann@x.io", "ANN@X.IO ", f"{CONSTANT}-{'a' * 26}", " "), ("12", CONSTANT))
    rows = of(KEY, person)
    assert {row.person for row in rows} == {KEY.mark(ID, "12")}
    assert {(row.kind, row.mark) for row in rows} == {
        (kind, mark)
        for kind, value in ((ID, "12"), (EMAIL, "ann@x.io"), (EMAIL, "ANN@X.IO"), (WORKER, "12"))
        for mark in KEY.marks(kind, value)
    }


PIECES = st.text(st.sampled_from("aB12.@+-%_'/:;,=!()\"\\ éΣß漢\n"), max_size=8)


@given(st.lists(PIECES, min_size=1, max_size=6), st.text(st.sampled_from("aB1.@+-%'/:éΣ"), min_size=1, max_size=6))
def test_every_identity_that_an_erasure_finds_in_a_text_is_a_candidate(pieces: list[str], identity: str) -> None:
    text = identity.join(pieces)
    found = {text[start:end] for start, end in IdentityFinder([identity]).spans(text)}
    seen = {value for _, value in candidates(text, [WORKER])}
    assert found <= seen
    assert all(lower(value) in seen for value in found)
    addresses = {value for _, value in candidates(text, [EMAIL])}
    assert {value for value in found if "@" in value} <= addresses


def test_masks_in_texts_and_parts_of_words_are_no_candidates() -> None:
    token = f"{CONSTANT}-{'b' * 26}"
    text = f"{token} wrote to ann@x.io.uk; see w-123."
    seen = {value for _, value in candidates(text, list(IdentityKind))}
    assert {"ann@x.io.uk", "w-123"} <= seen
    assert not {token, "ann@x.io", "w-12", "23", "x.io"} & seen
