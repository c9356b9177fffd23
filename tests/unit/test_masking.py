"""Masks and the search for identities in free text."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.masking import CONSTANT, TOKEN, TOKEN_LENGTH, IdentityFinder, Masker, is_mask, is_number_mask, lower

MASKER = Masker(b"k" * 32)


def found(text: str, *identities: str) -> list[str]:
    return [text[start:end] for start, end in IdentityFinder(identities).spans(text)]


@given(st.text(), st.text())
def test_equal_values_get_equal_tokens_and_different_values_different_ones(one: str, other: str) -> None:
    assert (MASKER.token(one) == MASKER.token(other)) == (one == other)


@given(st.text())
def test_a_token_is_recognised_as_a_mask_and_has_the_promised_length(value: str) -> None:
    token = MASKER.token(value)
    assert is_mask(token)
    assert len(token) == TOKEN_LENGTH
    assert token.startswith(CONSTANT)


WIDTHS = st.tuples(st.sampled_from([16, 32, 64]), st.booleans())


@given(WIDTHS, st.data())
def test_numbers_stay_apart_and_their_masks_fit_the_type_in_a_range_of_their_own(
    width: tuple[int, bool], data: st.DataObject
) -> None:
    bits, signed = width
    allowed = st.integers(0, (1 << (bits - 2)) - 1)
    one, other = data.draw(allowed), data.draw(allowed)
    masks = [MASKER.number(value, bits, signed=signed) for value in (one, other)]
    assert (masks[0] == masks[1]) == (one == other)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    assert all(low <= mask <= high and is_number_mask(mask, bits, signed=signed) for mask in masks)
    assert not is_number_mask(one, bits, signed=signed)
    assert masks[0] != Masker(b"l" * 32).number(one, bits, signed=signed) or bits == 16


def test_every_number_of_a_narrow_type_has_a_mask_of_its_own() -> None:
    assert len({MASKER.number(value, 16, signed=True) for value in range(1 << 14)}) == 1 << 14


@pytest.mark.parametrize("value", [-1, 1 << 62])
def test_a_number_that_no_mask_can_stand_for_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        MASKER.number(value, 64, signed=True)


def test_another_key_gives_another_token() -> None:
    assert MASKER.token("bob@x.io") != Masker(b"l" * 32).token("bob@x.io")


@pytest.mark.parametrize("value", ["", "DELETED_USER-", "DELETED_USERS", "xDELETED_USER", "DELETED_USER-short"])
def test_a_value_that_only_resembles_a_mask_is_none(value: str) -> None:
    assert not is_mask(value)


@pytest.mark.parametrize(
    "text",
    ["12", "worker 12 left", "(12)", "12.", "id=12,", "see 12; then", '"12"', "12\n", "<12>", "a: 12!", "…12…"],
)
def test_an_identity_that_stands_by_itself_is_found(text: str) -> None:
    assert found(text, "12") == ["12"]


@pytest.mark.parametrize("text", ["123", "012", "a12", "12a", "1.12", "12.5", "12-3", "_12", "w-12"])
def test_an_identity_inside_a_longer_word_is_not_found(text: str) -> None:
    assert found(text, "12") == []


@pytest.mark.parametrize(
    "text", ["notbob@x.io", "bob@x.io.uk", "a.bob@x.io", "a+bob@x.io", "o'bob@x.io", "bob@x.iox", "bob@x.io-y"]
)
def test_an_address_inside_a_longer_one_is_not_found(text: str) -> None:
    assert found(text, "bob@x.io") == []


@pytest.mark.parametrize("text", ["Bob@X.io", "mail <BOB@X.IO>", "mailto:bob@x.io?x", "bob@x.io. Thanks", "x,bob@x.io"])
def test_an_address_is_found_in_any_case_and_punctuation(text: str) -> None:
    assert [match.lower() for match in found(text, "bob@x.io")] == ["bob@x.io"]


def test_the_longest_identity_wins() -> None:
    assert found("w-1 and w-1.b", "w-1", "w-1.b") == ["w-1", "w-1.b"]


@given(st.lists(st.text(min_size=1), max_size=5), st.text())
def test_identities_are_data_and_never_patterns(identities: list[str], text: str) -> None:
    wanted = {lower(identity) for identity in identities}
    for match in found(text, *identities):
        assert lower(match) in wanted


@given(st.from_regex(r"[\w.%*?\[\\'-]{1,8}", fullmatch=True).filter(lambda value: value.strip()))
def test_an_identity_between_blanks_is_found_whatever_its_characters(identity: str) -> None:
    first_is_hidden = IdentityFinder.START.match(f" {identity} ", 1) is None
    assert found(f" {identity} ", identity) == ([] if first_is_hidden else [identity])


def test_letters_whose_lower_case_is_longer_do_not_shift_positions() -> None:
    assert found("İİ bob@x.io", "bob@x.io") == ["bob@x.io"]


def test_every_letter_is_lowered_by_itself() -> None:
    letters = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [letter for letter in letters if len(lower(letter)) != 1] == []
    assert lower("".join(letters)) == "".join(map(lower, letters))


@given(st.text())
def test_lowering_is_the_full_mapping_but_for_two_letters(text: str) -> None:
    assert lower(text) == lower(lower(text))
    if not set(text) & set("İΣ"):
        assert lower(text) == text.lower()


def test_masking_a_text_replaces_the_identities_and_nothing_else() -> None:
    finder = IdentityFinder(["bob@x.io", "12"])
    text = "Ask Bob@x.io or 12, not 123 or notbob@x.io."
    masked = MASKER.text(text, finder)
    assert masked == f"Ask {MASKER.token('Bob@x.io')} or {MASKER.token('12')}, not 123 or notbob@x.io."
    assert MASKER.text(masked, finder) == masked


def test_ten_thousand_identities_are_searched_at_once() -> None:
    finder = IdentityFinder(f"person{number}@example.com" for number in range(10_000))
    text = "hello person9999@example.com and person10000@example.com " * 100
    assert len(list(finder.spans(text))) == 100


@given(st.lists(st.text(min_size=1), max_size=4), st.text())
def test_what_stands_beside_identities_in_a_text_stays(identities: list[str], text: str) -> None:
    finder = IdentityFinder(identities)
    ends = [0, *(end for span in finder.spans(text) for end in span), len(text)]
    beside = [re.escape(text[start:stop]) for start, stop in zip(ends[::2], ends[1::2], strict=True)]
    assert re.fullmatch(TOKEN.pattern.join(beside), MASKER.text(text, finder))


@given(st.text().filter(lambda value: not is_mask(value)))
def test_every_mask_is_known_again_and_no_value_is_taken_for_one(value: str) -> None:
    assert is_mask(CONSTANT)
    assert is_mask(MASKER.token(value))
    assert not is_mask(f"{MASKER.token(value)}.")
    assert not is_mask(f" {CONSTANT}")
