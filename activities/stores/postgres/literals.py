"""Arrays and JSON as the server writes them, changed value by value: what is not masked stays to the letter.

So a masked text is exactly what the server answers once it has stored it, which a rollback relies on; and a column of
json, which keeps its blanks and its repeated keys, keeps them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, TypeAlias


class Fate(Enum):
    """What may become of a value besides another value."""

    NULL = "null"
    REMOVED = "removed"


Changed: TypeAlias = str | int | Fate
"""What a value becomes."""

Change: TypeAlias = Callable[[str | int], Changed]
"""Answers what becomes of a text or a whole number."""

_ARRAY = re.compile(r'"(?:[^"\\]|\\.)*"|[^{},"\\\s]+|[{},]', re.DOTALL)
_PLAIN = re.compile(r'[^\s"\\{},]+')
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
            written.append(token if changed == value else _token(changed))
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


def change_leaves(
    text: str,
    path: tuple[str, ...],
    change: Change,
    *,
    whole: Fate | None = None,
    within: int = 0,
    where: Callable[[Any], bool] = lambda _: True,
) -> str:
    """JSON with changed values at a path and below; arrays on the way are gone through.

    Args:
        text: The document.
        path: Keys.
        change: Answers what becomes of a text or number.
        whole: What becomes of the value at the path itself, be it an object; None: of each text and number in it.
        within: How many keys of the path lead to the part that `where` judges.
        where: Whether a part of the document is to be changed.
    """
    changed, _ = _Change(text, path, change, whole, within, where).value(_skip(text, 0), 0)
    return "null" if isinstance(changed, Fate) else changed


class _Change:
    """One walk through a document."""

    def __init__(
        self,
        text: str,
        path: tuple[str, ...],
        change: Change,
        whole: Fate | None,
        within: int,
        where: Callable[[Any], bool],
    ) -> None:
        self._text = text
        self._path = path
        self._change = change
        self._whole = whole
        self._within = within
        self._where = where

    def value(self, at: int, depth: int | None) -> tuple[str | Fate, int]:
        """The changed value that begins at a place, and where it ends.

        Args:
            at: The place.
            depth: How many keys of the path lead here; None: another path leads here.
        """
        first = self._text[at]
        if depth == self._within and first != "[":
            end = self.value(at, None)[1]
            if not self._where(json.loads(self._text[at:end])):
                return self._text[at:end], end
        if depth == len(self._path) and self._whole is not None and first != "[":
            return self._whole, self.value(at, None)[1]
        if first in "{[":
            return self._members(at, depth, keyed=first == "{")
        return self._scalar(at, depth == len(self._path))

    def _members(self, at: int, depth: int | None, *, keyed: bool) -> tuple[str, int]:
        text, start, close = self._text, at + 1, "}" if keyed else "]"
        kept: list[str] = []
        here = _skip(text, start)
        lead = text[start:here]
        while text[here] != close:
            below = depth
            if keyed:
                key, after = scanstring(text, here + 1)
                here = _skip(text, _skip(text, after) + 1)
                if depth is not None and depth < len(self._path):
                    below = depth + 1 if key == self._path[depth] else None
            changed, end = self.value(here, below)
            stop = _skip(text, end)
            if not isinstance(changed, Fate):
                kept.append(text[start:here] + changed + text[end:stop])
            elif changed is Fate.NULL:
                kept.append(text[start:here] + "null" + text[end:stop])
            if text[stop] == close:
                here = stop
            else:
                start = stop + 1
                here = _skip(text, start)
        if kept:  # the first one that is left stands where the first one stood
            kept[0] = lead + kept[0].lstrip(" \t\n\r")
        return text[at] + ",".join(kept) + close, here + 1

    def _scalar(self, at: int, reached: bool) -> tuple[str | Fate, int]:
        text = self._text
        if text[at] == '"':
            value, end = scanstring(text, at + 1)
        else:
            match = _SCALAR.match(text, at)
            assert match is not None, "JSON out of the server is whole"
            value, end = match[0], match.end()
            if value in ("true", "false", "null"):
                return value, end
            value = int(value) if _WHOLE.fullmatch(value) else value
        if not reached or (changed := self._change(value)) == value:
            return text[at:end], end
        if isinstance(changed, Fate):
            return changed, end
        return json.dumps(changed, ensure_ascii=False), end


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None, "nothing is a blank too"
    return match.end()
