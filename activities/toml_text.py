"""TOML as text, for the few shapes of a data map; reading is the standard library's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHORT = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPED = re.compile(r'[\x00-\x1f"\\\x7f]')


def key(*names: str) -> str:
    """A key of one or several names, each quoted where it has to be."""
    return ".".join(name if _BARE.fullmatch(name) else _string(name) for name in names)


def value(held: Any) -> str:
    """A value on one line: text, bool, int, a list or a mapping of these.

    Raises:
        TypeError: It is of another type.
    """
    match held:
        case str():
            return _string(held)
        case bool():
            return "true" if held else "false"
        case int():
            return str(held)
        case list() | tuple():
            return f"[{', '.join(value(each) for each in held)}]"
        case Mapping():
            inside = ", ".join(f"{key(name)} = {value(each)}" for name, each in held.items())
            return f"{{ {inside} }}" if inside else "{}"
    raise TypeError(f"a data map holds no {type(held).__name__}")


def comment(text: str) -> str:
    """A comment, whatever the text holds."""
    return "\n".join(f"# {_ESCAPED.sub(_escape_controls, line)}".rstrip() for line in text.split("\n"))


def place(table: str, entry: Mapping[str, Any]) -> str:
    """Where in a data map an entry goes, in words: the table's head, and what to write below it.

    Args:
        table: The store's table.
        entry: Nested keys below it.
    """
    said = []
    for name, held in entry.items():
        if isinstance(held, Mapping):
            lines = "; ".join(f"{key(each)} = {value(inner)}" for each, inner in held.items())
            said.append(f"[{key(table, name)}] {lines}")
        else:
            said.append(f"[{key(table)}] {key(name)} = {value(held)}")
    return "; ".join(said)


def _string(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04x}")


def _escape_controls(found: re.Match[str]) -> str:
    return found[0] if found[0] in '"\\\t' else _escape(found)
