"""PostgreSQL's arrays and JSON as text: what is not changed stays to the letter."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from activities.stores.postgres.literals import At, Fate, change_elements, change_leaves, elements, leaves

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc") | TEXTS, inner, max_size=3),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}])


@given(DOCUMENTS, PATHS, LAYOUTS)
def test_json_that_is_not_changed_is_the_same_text(
    document: Any, path: tuple[str, ...], layout: dict[str, Any]
) -> None:
    text = json.dumps(document, **layout)
    assert change_leaves(text, [At(path, lambda value: value)]) == text
    assert change_leaves(text, [At((*path, "z"), lambda _: "x", Fate.REMOVED)]) == text


@given(DOCUMENTS, PATHS, LAYOUTS)
def test_every_text_and_number_at_a_path_and_below_is_changed_and_nothing_else(
    document: Any, path: tuple[str, ...], layout: dict[str, Any]
) -> None:
    text = json.dumps(document, **layout)
    changed = json.loads(change_leaves(text, [At(path, lambda _: "x")]))
    assert set(leaves(changed, path)) <= {"x"}
    assert changed == _changed(document, path)


def _changed(document: Any, path: tuple[str, ...]) -> Any:
    if isinstance(document, list):
        return [_changed(value, path) for value in document]
    if isinstance(document, dict):
        return {
            key: _changed(value, path[1:]) if not path or key == path[0] else value for key, value in document.items()
        }
    return "x" if not path and document is not None and not isinstance(document, bool) else document


def test_members_and_elements_are_removed_as_the_server_would_write_what_is_left() -> None:
    for text, removed, null in (
        ('{"a": 1, "b": 2, "c": 3}', '{"b": 2, "c": 3}', '{"a": null, "b": 2, "c": 3}'),
        ('{"b": 2, "a": {"x": [1, "}"]}}', '{"b": 2}', '{"b": 2, "a": null}'),
        ('[{"a": 1}, {"a": [2]}]', '[{}, {"a": []}]', '[{"a": null}, {"a": [null]}]'),
        ('{"b" : {"a" : 1} }', '{"b" : {"a" : 1} }', '{"b" : {"a" : 1} }'),
    ):
        assert change_leaves(text, [At(("a",), lambda _: "x", Fate.REMOVED)]) == removed
        assert change_leaves(text, [At(("a",), lambda _: "x", Fate.NULL)]) == null
    some = At(("a",), lambda value: Fate.REMOVED if value == "x" else value)
    assert change_leaves('{"a": ["x", "y", "x"]}', [some]) == '{"a": ["y"]}'


def test_what_stands_beside_is_judged_by_the_document_as_it_was() -> None:
    beside = [At(("a", "x"), lambda _: 0), At(("a", "y"), lambda _: 0, within=1, where=lambda part: part["x"] == 1)]
    assert change_leaves('{"a": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}', beside) == (
        '{"a": [{"x": 0, "y": 0}, {"x": 0, "y": 4}]}'
    )


@given(st.lists(st.none() | TEXTS | st.sampled_from(["NULL", "null", "", " ", "{}", '"', "\\", ","]), max_size=6))
def test_an_array_keeps_what_is_not_changed(values: list[str | None]) -> None:
    text = _array(values)
    assert list(elements(text)) == [value for value in values if value is not None]
    assert change_elements(text, lambda value: value) == text
    assert change_elements(text, lambda _: "x") == _array([None if value is None else "x" for value in values])
    assert change_elements(text, lambda value: Fate.REMOVED if len(str(value)) % 2 else value) == _array(
        [value for value in values if value is None or not len(value) % 2]
    )
    assert change_elements(text, lambda value: f"{value}\n") == _array(
        [value if value is None else f"{value}\n" for value in values]
    )


def _array(values: list[str | None]) -> str:
    """As PostgreSQL's array_out writes it."""

    def written(value: str | None) -> str:
        if value is None:
            return "NULL"
        if value == "" or value.upper() == "NULL" or any(letter in '"\\{}, \t\n\r\v\f' for letter in value):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return value

    return "{" + ",".join(map(written, values)) + "}"


def test_arrays_of_several_dimensions_and_other_bounds_keep_their_shape() -> None:
    assert change_elements('[0:1]={a,"b c"}', lambda _: "x") == "[0:1]={x,x}"
    assert change_elements("{{1,2},{NULL,3}}", lambda value: Fate.REMOVED if value == "1" else value) == (
        "{{NULL,2},{NULL,3}}"
    )
    assert change_elements('[0:1]={a,"b c"}', lambda value: Fate.REMOVED if value == "a" else value) == '{"b c"}'
