"""How identities are looked for in texts: what stands beside them, how they are spelled, and what may be shown."""

from __future__ import annotations

import html
import json
import time
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.identities import IdentityKind
from activities.masking import Masker
from activities.verification.needles import Match, Needles, masked
from activities.verification.spellings import decoded, folded
from activities.verification.surroundings import is_named_after_people

ODD = "100%_*?[a]\n\t'{x}\"\\b"
UUID = "6f1c2a9e-2b7d-4c6f-9a53-0d1e8f7b6c5a"
ANN = Contributor("12", ("Ann@x.io", "a.o'neil+x@x.io"), ("w-7", ODD))
BOB = Contributor(UUID, ("bob@x.io",), ("4711",))
JOSE = Contributor("c-77", ("josé@müller.example",), ("anna", "c-9.5"))
NEEDLES = Needles([ANN, BOB, JOSE])

MASK = Masker(b"k" * 32).token("bob@x.io")


def values(text: str, name: str = "", *, certain: bool = True) -> set[str]:
    return {match.value for match in NEEDLES.find(text, name) if match.certain is certain}


@pytest.mark.parametrize(
    "text",
    [
        "bob@x.io",
        " BOB@X.IO\t",
        "mail <bob@x.io>, or mailto:bob@x.io?subject=x",
        "ask bob@x.io.",
        '{"to":["bob@x.io"]}',
        "exports/bob@x.io.pdf",
        "exports/bob@x.io_2024",
        "to=bob%40x.io&x=1",
        "to%253Dbob%2540x.io",
        r"{\"to\": \"bob\u0040x.io\"}",
        r"first\nbob@x.io\nlast",
        "<a>bob&#64;x.io</a>",
        "联系bob@x.io请",
        "bob@x.io\0\0",
    ],
)
def test_an_address_is_found_however_it_is_spelled(text: str) -> None:
    assert values(text) == {"bob@x.io"}
    assert NEEDLES.suspects(["x", text, ""]) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "notbob@x.io",
        "bob@x.io.uk",
        "bob@x.iox",
        "bob@x-io",
        "bob+a@x.io",
        "a+bob@x.io",
        "not.bob@x.io",
        "not-bob@x.io",
        "_bob@x.io",
        "bob@x.io@y.io",
        "bob@x.io-y.example",
        "bob @x.io",
        "12345 and 4711x and x12",
        "w-77 W-7 ww-7",
        "C-77",
        UUID.upper(),
        UUID + "0",
        "jose@müller.example",
        MASK,
        "DELETED_USER",
        "DELETED_USER-",
        "",
    ],
)
def test_neighbours_are_not_found(text: str) -> None:
    assert values(text) == values(text, "worker_id") == set()


def test_what_an_id_is_joined_to_decides_whether_it_is_certain() -> None:
    assert values("w-7 said so") == values("avatars/w-7.png") == values("@w-7, look") == values("(w-7)") == {"w-7"}
    assert values("avatar_w-7") == set()
    assert values("avatar_w-7", certain=False) == values("w-7-2", certain=False) == {"w-7"}
    assert values(f"avatar_{UUID}-small") == {UUID}
    assert values("w-7@x.io") == values("w-7@x.io", certain=False) == set()


def test_a_chancy_id_is_a_whole_value_in_a_place_named_after_people() -> None:
    assert (
        values("12", "judgments.worker_id")
        == values(" 12 ", "userId")
        == values("session:12:a1", "session:*")
        == {"12"}
    )
    assert values("12", "score") == values("12", "total") == set()
    assert values("12", "score", certain=False) == {"12"}
    assert values('{"score": 3, "worker_id": 12}', "payload") == {"12"}
    assert values('[{"by": {"worker": ["12"]}}, 7]') == {"12"}
    assert values("anna", "login") == {"anna"}
    assert values("anna", "first_name", certain=False) == {"anna"}
    for text in ("anna went home at 12", "2024-12-12", "1.12", "12 apples", "-12"):
        assert values(text, "worker_comment") == values(text, certain=False) == set()
    many = Needles([Contributor("1234567")])
    assert [match.certain for match in many.find("call 1234567 now", "comment")] == [False]


def test_letters_are_one_whether_composed_or_not_and_in_any_case() -> None:
    composed = "josé@müller.example"
    for text in (composed, unicodedata.normalize("NFD", composed), composed.upper(), quote(composed)):
        assert values(text) == {composed}, text
    greek = Needles([Contributor("c-1", ("ΟΔΟΣ@x.io", "STRASSE@x.io"))])
    assert {match.value for match in greek.find("οδος@x.io, straße@x.io")} == {"ΟΔΟΣ@x.io"}


def test_ids_are_data_whatever_they_hold() -> None:
    for text in (ODD, f"x {ODD} y", json.dumps({"id": ODD}), json.dumps(json.dumps(ODD)), quote(ODD), html.escape(ODD)):
        assert ODD in values(text), text
    assert values("100_*?[a]") == values("100x_*?[a]\n\t'{x}\"\\b") == set()


def test_what_no_text_holds_is_no_error() -> None:
    assert values("\ud800bob@x.io\udcff") == {"bob@x.io"}
    assert values("\\") == values("%") == values("\\u12") == values("%zz &") == set()
    assert values("[" * 100_000) == values('{"a":' * 100_000 + "1") == set()
    assert Needles([]).find("anything") == []
    assert Needles([]).suspects(["anything"]) == []
    assert len(Needles([Contributor("", ("", " "), ("",))])) == 0


def test_a_long_text_full_of_chancy_ids_takes_no_longer_than_it_has_to() -> None:
    started = time.monotonic()
    assert values("12 " * 200_000, "worker_id") == set()
    assert values("12," * 200_000, "worker_id") == set()
    assert time.monotonic() - started < 30


def test_a_planted_word_is_looked_for_as_well() -> None:
    needles = Needles([], ["canary-0a1b"])
    assert [match.value for match in needles.find("sings for canary-0a1b")] == ["canary-0a1b"]


@given(st.sampled_from(["12", "w-7", "bob@x.io", UUID, "4711", "anna", "josé@müller.example"]))
def test_nothing_of_a_value_is_shown(value: str) -> None:
    another = "".join("z" if each.isalnum() else each for each in value)
    assert masked(Match(IdentityKind.EMAIL, value)) == masked(Match(IdentityKind.EMAIL, another))


letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda each: bool(each.strip()))
addresses = st.from_regex(r"[a-zA-Zéß]{1,6}@[a-z]{1,6}\.[a-z]{2,3}", fullmatch=True)


@given(ids, letters, letters)
def test_an_id_is_found_between_signs_that_join_nothing(value: str, before: str, after: str) -> None:
    needles = Needles([Contributor(value)])
    for text in (value, f"{before} ({value}) {after}"):
        found = needles.find(text, "worker_id")
        if any(match.value == unicodedata.normalize("NFC", value) for match in found):
            assert needles.suspects([text]) == [0]
    alone = [match.value for match in needles.find(value, "worker_id")]
    assert alone == [unicodedata.normalize("NFC", value)] or "DELETED_USER" in value.upper()


@given(
    addresses, st.sampled_from([json.dumps, quote, html.escape, str.upper, lambda each: json.dumps(json.dumps(each))])
)
def test_an_address_is_found_in_every_encoding(address: str, encode: object) -> None:
    assert callable(encode)
    text = f"to: {encode(address)} "
    needles = Needles([Contributor("c-1", (address,))])
    upper_is_longer = len(address.upper()) != len(address) and encode is str.upper
    assert bool(needles.find(text)) is not upper_is_longer
    assert needles.suspects(["", text]) == ([] if upper_is_longer else [1])


@given(st.lists(st.one_of(letters, addresses, st.sampled_from(["%62ob@x.io", "\\", "\\u001e", "%1E", "bob@x.io\x1e"]))))
def test_whatever_is_found_in_a_text_makes_it_suspect_among_others(texts: list[str]) -> None:
    suspects = NEEDLES.suspects(texts)
    assert suspects == sorted(set(suspects))
    for number, text in enumerate(texts):
        assert number in suspects or not NEEDLES.find(text, "worker")


@given(letters)
def test_a_text_without_regard_to_case_keeps_its_length(text: str) -> None:
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)


def test_every_letter_keeps_its_length_without_regard_to_case() -> None:
    assert all(len(folded(chr(code))) == 1 for code in range(0x110000))


@given(letters)
def test_a_text_without_escapes_has_no_other_spelling(text: str) -> None:
    plain = text.translate({ord(each): "" for each in "%\\&"})
    assert decoded(plain) == ([] if unicodedata.is_normalized("NFC", plain) else [unicodedata.normalize("NFC", plain)])


def test_names_of_people_are_known() -> None:
    personal = (
        "worker_id",
        "contributorId",
        "e_mail",
        "userName",
        "session:*",
        "created_by",
        "updatedBy",
        "author.login",
    )
    assert all(map(is_named_after_people, personal))
    assert not any(map(is_named_after_people, ("score", "count", "n", "baby_steps", "unit_id", "jobcache:*:*")))
