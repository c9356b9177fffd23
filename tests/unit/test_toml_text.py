"""TOML as text: what is written reads back as it was."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(TEXT, VALUES)
def test_a_key_and_its_value_read_back_as_they_were(name: str, value: Any) -> None:
    assert tomllib.loads(f"{toml_text.key(name)} = {toml_text.value(value)}") == {name: value}


@given(st.lists(TEXT, min_size=1, max_size=3), TEXT)
def test_a_table_of_several_names_reads_back(names: list[str], value: str) -> None:
    read: Any = tomllib.loads(f"[{toml_text.key(*names)}]\nx = {toml_text.value(value)}")
    for name in names:
        read = read[name]
    assert read == {"x": value}


@given(TEXT)
def test_a_comment_is_nothing_but_a_comment(text: str) -> None:
    assert tomllib.loads(toml_text.comment(text) + "\nx = 1") == {"x": 1}


def test_a_list_may_be_a_tuple_and_nothing_else_is_guessed() -> None:
    assert toml_text.value(("a", "b")) == '["a", "b"]'
    with pytest.raises(TypeError, match="float"):
        toml_text.value(1.5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"unit_metrics*": {"email": "email"}}, '[clickhouse."unit_metrics*"] email = "email"'),
        ({"auth": ["auth:{contributor_id}"]}, '[clickhouse] auth = ["auth:{contributor_id}"]'),
        ({"mask": [{"table": "a", "by": "b"}]}, '[clickhouse] mask = [{ table = "a", by = "b" }]'),
        ({"p": {"x": {"holds": "email", "mask": "text"}}}, '[clickhouse.p] x = { holds = "email", mask = "text" }'),
    ],
)
def test_where_an_entry_goes_is_said_in_one_line(entry: dict[str, Any], said: str) -> None:
    assert toml_text.place("clickhouse", entry) == said
