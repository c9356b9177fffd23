"""Text that is JSON: where its values stand, so that some can be replaced and every other character stays."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

Step: TypeAlias = str | int

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class NotJSONError(ValueError):
    """The text is no JSON object or array."""


@dataclass(frozen=True)
class Value:
    """A value that holds no others.

    Args:
        steps: Names and numbers that lead to it.
        start: Where it begins.
        end: Where it ends.
        held: What it is.
        is_name: Whether it is the name of a value, and no value.
    """

    steps: tuple[Step, ...]
    start: int
    end: int
    held: str | int | float | bool | None
    is_name: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names that lead to it; arrays are looked through."""
        return tuple(step for step in self.steps if isinstance(step, str))


def values(text: str) -> list[Value]:
    """The values of a JSON object or array and their names, in their order.

    Raises:
        NotJSONError: It is none.
    """
    start = _skip(text, 0)
    if text[start : start + 1] not in ("{", "["):
        raise NotJSONError
    found: list[Value] = []
    try:
        json.loads(text)
        end = _walk(text, start, (), found)
    except (ValueError, RecursionError):
        raise NotJSONError from None
    assert _skip(text, end) == len(text), "the whole text was read"
    return found


def spliced(text: str, changes: dict[tuple[int, int], str]) -> str:
    """A text with some of its pieces replaced.

    Args:
        text: The text.
        changes: Start and end of each piece, and what stands there instead.
    """
    parts, done = [], 0
    for (start, end), new in sorted(changes.items()):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def _walk(text: str, start: int, steps: tuple[Step, ...], found: list[Value]) -> int:
    """Reads the value that begins at a place; the text is known to be JSON."""
    if text[start] in "{[":
        return _walk_container(text, start, steps, found)
    end: int
    held, end = _DECODER.raw_decode(text, start)
    found.append(Value(steps, start, end, held))
    return end


def _walk_container(text: str, start: int, steps: tuple[Step, ...], found: list[Value]) -> int:
    closing = "}" if text[start] == "{" else "]"
    at, number = _skip(text, start + 1), 0
    while text[at] != closing:
        step: Step = number
        if closing == "}":
            began = at
            step, at = _DECODER.raw_decode(text, began)
            found.append(Value((*steps, step), began, at, step, is_name=True))
            at = _skip(text, _skip(text, at) + 1)
        at = _skip(text, _walk(text, at, (*steps, step), found))
        if text[at] == ",":
            at = _skip(text, at + 1)
        number += 1
    return at + 1


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None, "nothing matches as well"
    return blank.end()
