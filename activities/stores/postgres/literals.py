"""Arrays and JSON as the server writes them, changed value by value: what is not masked stays to the letter.

So a masked text is exactly what the server answers once it has stored it, which a rollback relies on; and a column of
json, which keeps its blanks and its repeated keys, keeps them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed does not know it
from typing import Any, TypeAlias


class Fate(Enum):
    """What may become of a value besides another value."""

    NULL = "null"
    REMOVED = "removed"


Changed: TypeAlias = str | int | Fate
"""What a value becomes."""

Change: TypeAlias = Callable[[str | int], Changed]
"""Answers what becomes of a text or a whole number."""

_ARRAY = re.compile(r'"(?:[^"\\]|\\.)*"|[^{},"\\ \t\n\r\v\f]+|[{},]', re.DOTALL)
_PLAIN = re.compile(r'[^{},"\\ \t\n\r\v\f]+')
_BLANK = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"[^,\]}\s]+")
_WHOLE = re.compile(r"-?\d+")


def elements(text: str) -> Iterator[str]:
    """Yields the elements of an array that are not null.

    Args:
        text: The array, as the server writes it.
    """
    for token in _ARRAY.findall(text, text.index("{")):
        if token not in "{}," and token != "NULL":
            yield _element(token)


def change_elements(text: str, change: Change) -> str:
    """An array with changed elements; one of several dimensions keeps its shape, and null stands for what is removed.

    Args:
        text: The array, as the server writes it; bounds other than 1 may stand before it.
        change: Answers what becomes of an element.
    """
    start = text.index("{")
    tokens: list[str] = _ARRAY.findall(text, start)
    flat = tokens[1:2] != ["{"]
    written: list[str] = []
    removed = False
    for token in tokens:
        if token in "{}," or token == "NULL":
            written.append(token)
            continue
        value = _element(token)
        changed = change(value)
        if changed is Fate.REMOVED and flat:
            removed = True
        else:
            written.append(token if not isinstance(changed, Fate) and str(changed) == value else _token(changed))
    if not removed:
        return text[:start] + "".join(written)
    return "{" + ",".join(each for each in written if each not in "{},") + "}"


def _element(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL) if token.startswith('"') else token


def _token(value: Changed) -> str:
    if isinstance(value, Fate):
        return "NULL"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.upper() != "NULL":
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def leaves(document: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yields the texts and numbers at a path and below, as text; arrays on the way are gone through.

    Args:
        document: Parsed JSON.
        path: Keys.
    """
    if isinstance(document, list):
        for value in document:
            yield from leaves(value, path)
    elif isinstance(document, Mapping):
        for key, value in document.items():
            if not path or key == path[0]:
                yield from leaves(value, path[1:])
    elif not path and isinstance(document, str | int | float) and not isinstance(document, bool):
        yield str(document)


@dataclass(frozen=True)
class At:
    """What becomes of the values at a path in JSON and below.

    Args:
        path: Keys; arrays on the way are gone through.
        change: Answers what becomes of a text or number.
        whole: What becomes of the value at the path itself, be it an object; None: of each text and number in it.
        within: How many keys of the path lead to the part that `where` judges.
        where: Whether a part of the document is to be changed; None: all are.
    """

    path: tuple[str, ...]
    change: Change
    whole: Fate | None = None
    within: int = 0
    where: Callable[[Any], bool] | None = None


def change_leaves(text: str, places: Sequence[At]) -> str:
    """JSON with changed values.

    Args:
        text: The document.
        places: What becomes of what in it; each is judged by the document as it was.
    """
    changed, _ = _Change(text, places).value(_skip(text, 0), (0,) * len(places))
    return "null" if isinstance(changed, Fate) else changed


_Depths: TypeAlias = tuple[int | None, ...]
"""Of each place how many keys of its path lead here; None: another path does."""


class _Change:
    """One walk through a document."""

    def __init__(self, text: str, places: Sequence[At]) -> None:
        self._text = text
        self._places = places
        self._nowhere: _Depths = (None,) * len(places)

    def value(self, at: int, depths: _Depths) -> tuple[str | Fate, int]:
        """The changed value that begins at a place of the text, and where it ends."""
        first = self._text[at]
        if first != "[":
            depths = tuple(self._judged(at, *each) for each in zip(self._places, depths, strict=True))
            for place, depth in zip(self._places, depths, strict=True):
                if depth == len(place.path) and place.whole is not None:
                    return place.whole, self.value(at, self._nowhere)[1]
        if first in "{[":
            return self._members(at, depths, keyed=first == "{")
        return self._scalar(at, depths)

    def _judged(self, at: int, place: At, depth: int | None) -> int | None:
        if place.where is None or depth != place.within:
            return depth
        end = self.value(at, self._nowhere)[1]
        return depth if place.where(json.loads(self._text[at:end])) else None

    def _members(self, at: int, depths: _Depths, *, keyed: bool) -> tuple[str, int]:
        text, start, close = self._text, at + 1, "}" if keyed else "]"
        kept: list[str] = []
        here = _skip(text, start)
        lead = text[start:here]
        while text[here] != close:
            below = depths
            if keyed:
                key, after = scanstring(text, here + 1)
                here = _skip(text, _skip(text, after) + 1)
                below = tuple(_below(key, *each) for each in zip(self._places, depths, strict=True))
            changed, end = self.value(here, below)
            stop = _skip(text, end)
            if changed is not Fate.REMOVED:
                written = changed if isinstance(changed, str) else "null"
                kept.append(text[start:here] + written + text[end:stop])
            if text[stop] == close:
                here = stop
            else:
                start = stop + 1
                here = _skip(text, start)
        if kept:  # the first one that is left stands where the first one stood
            kept[0] = lead + kept[0].lstrip(" \t\n\r")
        return text[at] + ",".join(kept) + close, here + 1

    def _scalar(self, at: int, depths: _Depths) -> tuple[str | Fate, int]:
        text = self._text
        value: str | int
        if text[at] == '"':
            value, end = scanstring(text, at + 1)
        else:
            match = _SCALAR.match(text, at)
            assert match is not None, "JSON out of the server is whole"
            value, end = match[0], match.end()
            if value in ("true", "false", "null"):
                return value, end
            value = int(value) if _WHOLE.fullmatch(value) else value
        changed: Changed = value
        for place, depth in zip(self._places, depths, strict=True):
            if depth == len(place.path) and not isinstance(changed, Fate):
                changed = place.change(changed)
        if isinstance(changed, Fate):
            return changed, end
        return (text[at:end] if changed == value else json.dumps(changed, ensure_ascii=False)), end


def _below(key: str, place: At, depth: int | None) -> int | None:
    if depth is None or depth == len(place.path):
        return depth
    return depth + 1 if key == place.path[depth] else None


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None, "nothing is a blank too"
    return match.end()
