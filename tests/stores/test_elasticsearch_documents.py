"""What an erasure makes of one Elasticsearch document: no server needed."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.contract import Contributor
from activities.identities import IdentitySet
from activities.masking import CONSTANT, Masker
from activities.stores.elasticsearch.documents import (
    DocumentMask,
    ElasticsearchMap,
    OutOfRangeError,
    WholeNumber,
    text_of,
)

MASKER = Masker(b"k" * 32)
ANN = Contributor("c-1", emails=("Ann@x.io",), worker_ids=("12", "w-7"))

RULES = {
    "email": "email",
    "worker_id": "worker_id",
    "worker_name": {"beside": "worker_id", "mask": "constant"},
    "judgments.worker_id": "worker_id",
    "judgments.worker_name": {"beside": "judgments.worker_id", "mask": "constant"},
    "comment": {"holds": ["email", "worker_id"], "mask": "text"},
    "gone": {"holds": "email", "mask": "remove"},
    "void": {"holds": "email", "mask": "null"},
    "number": "worker_id",
}
NUMBERS = {"number": WholeNumber(64), "small": WholeNumber(16)}


def masks(rules: dict[str, Any] | None = None, *people: Contributor) -> DocumentMask:
    parsed = ElasticsearchMap.model_validate({"p-*": rules or RULES}).root["p-*"]
    return DocumentMask(parsed, IdentitySet(people or (ANN,)), MASKER, NUMBERS)


def masked(source: dict[str, Any], rules: dict[str, Any] | None = None) -> dict[str, Any]:
    before = copy.deepcopy(source)
    after = masks(rules)(source)
    assert source == before, "the document given must not be touched"
    return after


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"email": "bob@x.io", "worker_id": "123", "worker_name": "Bob", "comment": "by 123, notann@x.io"},
        {"email": None, "worker_id": [], "judgments": {}, "comment": ["x", None, [1, True]]},
        {"worker_id": True, "judgments": [None, "12", [["12"]]], "email": {"worker_id": "12"}},
        {"email": CONSTANT, "worker_id": MASKER.token("12"), "worker_name": "stays"},
        {"other": "ann@x.io", "nested": {"worker_id": "12"}},
    ],
)
def test_a_document_without_an_identity_comes_back_as_the_same_object(source: dict[str, Any]) -> None:
    assert masks()(source) is source


def test_an_address_is_masked_in_any_spelling_and_the_token_is_of_the_value_as_stored() -> None:
    assert masked({"email": " ANN@x.IO "}) == {"email": MASKER.token(" ANN@x.IO ")}


def test_a_number_that_is_an_id_is_masked_and_one_that_contains_it_is_not() -> None:
    assert masked({"worker_id": [12, 123, "012", "12"]}) == {
        "worker_id": [MASKER.token("12"), 123, "012", MASKER.token("12")]
    }


def test_a_number_in_a_field_of_numbers_becomes_a_number_that_no_id_has() -> None:
    mask = MASKER.number(12, 64, signed=True)
    assert mask < -(2**62)
    source = {"number": [12, 123, "12", Decimal("12.0"), Decimal("1.2E+1"), Decimal("12.5"), -12, None, mask]}
    assert masked(source) == {"number": [mask, 123, mask, mask, mask, Decimal("12.5"), -12, None, mask]}
    ignored = {"number": ["w-7", "w-8"]}  # no number: the index does not know it
    assert masked(ignored) == {"number": [MASKER.token("w-7"), "w-8"]}
    beside = {"number": {"beside": "worker_id"}, "worker_id": "worker_id"}
    assert masked({"worker_id": 12, "number": 4711}, beside)["number"] == MASKER.number(4711, 64, signed=True)


@pytest.mark.parametrize("number", [-1, 2**14, 10**30])
def test_a_number_that_no_mask_can_stand_for_is_named_by_its_field(number: int) -> None:
    people = Contributor("c", worker_ids=(str(number),))
    if number == 10**30:
        assert masks({"small": "worker_id"}, people)({"small": number}) == {"small": MASKER.token(str(number))}
        return
    with pytest.raises(OutOfRangeError, match="small"):
        masks({"small": "worker_id"}, people)({"small": number})


def test_every_value_in_an_object_that_is_named_as_a_whole_is_looked_at() -> None:
    assert masked({"email": {"a": "ANN@x.io", "b": [{"c": "ann@x.io"}, "bob@x.io"], "d": 1}}) == {
        "email": {"a": MASKER.token("ANN@x.io"), "b": [{"c": MASKER.token("ann@x.io")}, "bob@x.io"], "d": 1}
    }


def test_arrays_of_arrays_are_the_same_field() -> None:
    assert masked({"worker_id": [["w-7", "w-8"], [["12"]]]}) == {
        "worker_id": [[MASKER.token("w-7"), "w-8"], [[MASKER.token("12")]]]
    }


def test_only_the_object_that_held_the_identity_loses_its_name() -> None:
    source = {
        "worker_name": "Team",
        "judgments": [
            {"worker_id": "12", "worker_name": "Ann", "score": 1},
            {"worker_id": "13", "worker_name": "Bob", "score": 2},
            [{"worker_id": "w-7", "worker_name": ["Ann", "A."]}],
        ],
    }
    assert masked(source) == {
        "worker_name": "Team",
        "judgments": [
            {"worker_id": MASKER.token("12"), "worker_name": CONSTANT, "score": 1},
            {"worker_id": "13", "worker_name": "Bob", "score": 2},
            [{"worker_id": MASKER.token("w-7"), "worker_name": [CONSTANT, CONSTANT]}],
        ],
    }


def test_parallel_arrays_are_masked_at_the_same_positions() -> None:
    assert masked({"worker_id": ["11", "12"], "worker_name": ["Bob", "Ann"]}) == {
        "worker_id": ["11", MASKER.token("12")],
        "worker_name": ["Bob", CONSTANT],
    }


def test_names_that_cannot_be_told_apart_are_all_masked() -> None:
    assert masked({"worker_id": ["11", "12"], "worker_name": ["Bob", "Ann", "Cy"]})["worker_name"] == [CONSTANT] * 3


@pytest.mark.parametrize(
    "source",
    [
        {"judgments.worker_id": "12", "judgments.worker_name": "Ann"},
        {"judgments": {"worker_id": "12"}, "judgments.worker_name": "Ann"},
        {"judgments.worker_id": "12", "judgments": {"worker_name": "Ann"}},
    ],
)
def test_dotted_keys_are_the_same_field(source: dict[str, Any]) -> None:
    text = json.dumps(masked(source))
    assert "Ann" not in text
    assert MASKER.token("12") in text


def test_a_name_that_is_an_object_keeps_its_shape() -> None:
    name = {"first": "Ann", "last": ["A", "B"], "title": None}
    assert masked({"worker_id": "12", "worker_name": name})["worker_name"] == {
        "first": CONSTANT,
        "last": [CONSTANT, CONSTANT],
        "title": None,
    }


def test_remove_takes_the_value_away_and_null_empties_it() -> None:
    source = {"gone": "ann@x.io", "void": ["ann@x.io", "bob@x.io"], "a": 1}
    assert masked(source) == {"void": [None, "bob@x.io"], "a": 1}
    assert masked({"gone": ["ann@x.io", "bob@x.io"]}) == {"gone": ["bob@x.io"]}


def test_free_text_keeps_its_other_words() -> None:
    assert masked({"comment": ["ann@x.io's task, see 12 and 123.", "nothing"]}) == {
        "comment": [f"{MASKER.token('ann@x.io')}'s task, see {MASKER.token('12')} and 123.", "nothing"]
    }


def test_masking_twice_is_masking_once() -> None:
    once = masked({"email": "ann@x.io", "worker_id": [12], "comment": "by w-7", "worker_name": "Ann"})
    assert masks()(once) is once


def test_the_order_of_keys_stays() -> None:
    assert list(masked({"z": 1, "email": "ann@x.io", "a": 2})) == ["z", "email", "a"]


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["12", "ann@x.io", 12])
keys = st.sampled_from(
    [
        *("email", "worker_id", "worker_name", "judgments", "comment", "judgments.worker_id", "gone", "void", "number"),
        *("other", "x.y"),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def places(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every scalar with its path as Elasticsearch sees it."""
    if isinstance(value, dict):
        return [entry for key, v in value.items() for entry in places(v, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [entry for v in value for entry in places(v, path)]
    return [(path, value)]


@given(st.dictionaries(keys, values, max_size=5))
def test_no_identity_is_left_and_nothing_outside_the_rules_changes(source: dict[str, Any]) -> None:
    before = copy.deepcopy(source)
    after = masks()(source)
    assert source == before
    assert masks()(after) is after
    held = {"email": "ann@x.io", "gone": "ann@x.io", "void": "ann@x.io", "worker_id": "12", "judgments.worker_id": "12"}
    held["number"] = "12"
    for path, value in places(after):
        if path in held and not isinstance(value, bool):
            assert str(value) != held[path]
    # whatever lies at a path without a rule is there as before, in the same order
    assert [e for e in places(after) if not _at_a_rule(e[0])] == [e for e in places(before) if not _at_a_rule(e[0])]


def _at_a_rule(path: str) -> bool:
    return any(f"{path}.".startswith(f"{rule}.") for rule in RULES)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_text_and_back_is_the_same_document(document: Any) -> None:
    assert json.loads(text_of(document), parse_float=Decimal, parse_int=Decimal) == document


def test_a_fraction_keeps_its_digits() -> None:
    text = '{"a":1.10,"b":0.12345678901234567890123,"c":-0.0}'
    assert text_of(json.loads(text, parse_float=Decimal)) == text


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"p-*": {}}, "names no field"),
        ({"a,b": {"email": "email"}}, "cannot be an index"),
        ({"p-*": {"a..b": "email"}}, "full dotted path"),
        ({"p-*": {"a.*": "email"}}, "full dotted path"),
        ({"p-*": {"name": {"beside": "email"}}}, "no rule with `holds`"),
        ({"p-*": {"j.id": "worker_id", "name": {"beside": "j.id"}}}, "not fields of the same object"),
        ({"p-*": {"email": {"holds": "email", "mask": "shred"}}}, "token"),
    ],
)
def test_a_data_map_that_cannot_work_is_refused_in_words(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ElasticsearchMap.model_validate(table)
