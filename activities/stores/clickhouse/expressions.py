"""SQL over what lies in a column: its texts, whether one passes a test, and the column with some of them changed.

All three walk the column's shape alike. A field that stands beside another one is looked at where the two part: in
each element of an array of tuples by itself, and in the whole row where they share nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from activities.stores.clickhouse.cluster import literal
from activities.stores.clickhouse.shapes import ArrayOf, Leaf, MapOf, Shape, TupleOf

Path = tuple[str, ...]
Test = Callable[[str], str]
"""Makes a condition of an expression of text."""


@dataclass(frozen=True)
class Beside:
    """What has to hold beside a value.

    Args:
        path: Where to look, from the same shape.
        test: Passed by one of the texts there.
    """

    path: Path
    test: Test


@dataclass(frozen=True)
class Change:
    """How some of a column's values are changed.

    Args:
        path: To these values.
        apply: Makes a changed value of a leaf and an expression of it.
        drops: Which texts go altogether, as elements of their array or entries of their map.
        beside: What has to hold beside them.
    """

    path: Path
    apply: Callable[[Leaf, str], str]
    drops: Test | None = None
    beside: Beside | None = None


def text(leaf: Leaf, value: str) -> str:
    """A value as text; NULL is empty, and what pads a FixedString is no part of it."""
    plain = f"ifNull(CAST({value} AS Nullable(String)), '')"
    return f"trim(TRAILING '\\0' FROM {plain})" if leaf.width else plain


def texts(shape: Shape, value: str, path: Path, beside: Beside | None = None, depth: int = 0) -> str:
    """An array of the texts that a path leads to."""
    x, y = _variables(depth)
    match shape:
        case Leaf():
            return f"[{text(shape, value)}]"
        case ArrayOf(of=Leaf() as leaf):
            return f"arrayMap({x} -> {text(leaf, x)}, {value})"
        case ArrayOf(of=of):
            return f"arrayFlatten(arrayMap({x} -> {texts(of, x, path, beside, depth + 1)}, {value}))"
        case MapOf() if not path:
            return (
                f"arrayConcat({', '.join(texts(part, each, (), None, depth) for part, each in _halves(shape, value))})"
            )
    step, rest = path[0], path[1:]
    condition, beside = _parted(shape, value, step, beside, depth)
    if isinstance(shape, MapOf):
        inner = texts(shape.value, y, rest, beside, depth + 1)
        found = f"arrayFlatten(arrayMap(({x}, {y}) -> if({x} = {literal(step)}, {inner}, []), {_entries(value)}))"
    else:
        of, element = _element(shape, value, step)
        found = texts(of, element, rest, beside, depth)
    return f"if({condition}, {found}, [])" if condition else found


def holds(shape: Shape, value: str, path: Path, test: Test, depth: int = 0) -> str:
    """Whether one of the texts that a path leads to passes a test."""
    x, y = _variables(depth)
    match shape:
        case Leaf():
            return test(text(shape, value))
        case ArrayOf(of=of):
            return f"arrayExists({x} -> {holds(of, x, path, test, depth + 1)}, {value})"
        case MapOf() if not path:
            return f"({' OR '.join(holds(part, each, (), test, depth) for part, each in _halves(shape, value))})"
        case MapOf(value=of):
            inner = holds(of, y, path[1:], test, depth + 1)
            return f"arrayExists(({x}, {y}) -> {x} = {literal(path[0])} AND {inner}, {_entries(value)})"
        case TupleOf():
            of, element = _element(shape, value, path[0])
            return holds(of, element, path[1:], test, depth)


def changed(shape: Shape, value: str, changes: Sequence[Change], depth: int = 0) -> str:
    """A value with changes made to what lies in it."""
    if not changes:
        return value
    match shape:
        case Leaf():
            for change in changes:
                value = change.apply(shape, value)
            return value
        case ArrayOf():
            return _changed_array(shape, value, changes, depth)
        case MapOf():
            return _changed_map(shape, value, changes, depth)
        case TupleOf():
            return f"tuple({', '.join(_changed_part(shape, value, name, changes, depth) for name in shape.names)})"


def _changed_array(shape: ArrayOf, value: str, changes: Sequence[Change], depth: int) -> str:
    x, _ = _variables(depth)
    kept = value
    if isinstance(shape.of, Leaf):
        for change in changes:
            if change.drops is not None:
                kept = f"arrayFilter({x} -> NOT ({change.drops(text(shape.of, x))}), {kept})"
        changes = [change for change in changes if change.drops is None]
    return f"arrayMap({x} -> {changed(shape.of, x, changes, depth + 1)}, {kept})" if changes else kept


def _changed_map(shape: MapOf, value: str, changes: Sequence[Change], depth: int) -> str:
    x, y = _variables(depth)
    for change in changes:
        if change.drops is not None:
            entry = holds(shape, f"map({x}, {y})", change.path, change.drops, depth + 1)
            value = f"mapFilter(({x}, {y}) -> NOT ({entry}), {value})"
    changes = [change for change in changes if change.drops is None]
    whole = [change for change in changes if not change.path]
    key, entry = (
        changed(of, each, whole if name in shape.masked else [], depth + 1)
        for name, of, each in (("key", shape.key, x), ("value", shape.value, y))
    )
    for step in sorted({change.path[0] for change in changes if change.path}):
        own = y
        for change in changes:
            if change.path[:1] == (step,):
                condition, beside = _parted(shape, value, step, change.beside, depth + 1)
                inner = changed(shape.value, own, [replace(change, path=change.path[1:], beside=beside)], depth + 1)
                own = f"if({condition}, {inner}, {own})" if condition else inner
        entry = f"if({x} = {literal(step)}, {own}, {entry})"
    return f"mapApply(({x}, {y}) -> ({key}, {entry}), {value})" if changes else value


def _changed_part(shape: TupleOf, value: str, name: str, changes: Sequence[Change], depth: int) -> str:
    of, element = _element(shape, value, name)
    for change in changes:
        if change.path[0] == name:
            condition, beside = _parted(shape, value, name, change.beside, depth)
            inner = changed(of, element, [replace(change, path=change.path[1:], beside=beside)], depth)
            element = f"if({condition}, {inner}, {element})" if condition else inner
    return element


def _parted(shape: Shape, value: str, step: str, beside: Beside | None, depth: int) -> tuple[str, Beside | None]:
    """The condition of what stands beside, where the paths part; else what is to be looked at further on."""
    if beside is None:
        return "", None
    if beside.path[:1] == (step,):
        return "", replace(beside, path=beside.path[1:])
    return holds(shape, value, beside.path, beside.test, depth + 1), None


def _element(shape: Shape, value: str, name: str) -> tuple[Shape, str]:
    assert isinstance(shape, TupleOf), "a path was checked against its shape"
    number = shape.names.index(name)
    return shape.of[number], f"tupleElement({value}, {number + 1})"


def _halves(shape: MapOf, value: str) -> list[tuple[Shape, str]]:
    """Keys and values of a map, as far as they are masked."""
    names = {"key": f"mapKeys({value})", "value": f"mapValues({value})"}
    return [(ArrayOf(of), names[name]) for name, of in shape.masked.items()]


def _entries(value: str) -> str:
    return f"mapKeys({value}), mapValues({value})"


def _variables(depth: int) -> tuple[str, str]:
    return f"erasure_x{depth}", f"erasure_y{depth}"
