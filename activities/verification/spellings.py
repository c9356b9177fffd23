"""How one text can be spelled: composed and decomposed letters, cases, percent signs, JSON's and HTML's escapes."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote

ROUNDS = 3
"""Encodings one inside another that are taken away: JSON in JSON in a URL."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = [(r"\"", '"'), (r"\/", "/"), (r"\n", "\n"), (r"\t", "\t"), (r"\r", "\r"), (r"\b", "\b"), (r"\f", "\f")]
"""The escapes that texts are full of."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    """A text with its letters composed (NFC), and what is no character replaced by a sign that stands for none."""
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", text)
    return _SURROGATE.sub("\ufffd", composed)


def folded(text: str) -> str:
    """A text without regard to case, letter by letter: its length stays, and ``ß`` is not ``ss``."""
    if text.isascii():
        return text.lower()
    lowered = _SURROGATE.sub("\ufffd", text).replace("İ", "i").replace("Σ", "σ").lower()
    return lowered.replace("ς", "σ")


def may_be_spelled_otherwise(text: str) -> bool:
    """Whether `decoded` may make anything of a text."""
    escaped = "%" in text or "\\" in text or "&" in text
    return escaped or not (text.isascii() or unicodedata.is_normalized("NFC", text))


def decoded(text: str) -> list[str]:
    """What a text says once its escapes are taken away; several where several kinds of escapes may have been meant.

    Args:
        text: The text, or several with a sign between them that is in no escape.

    Returns:
        Spellings other than the text itself, their letters composed.
    """
    if not may_be_spelled_otherwise(text):
        return []
    forms: dict[str, None] = {}
    ends = []
    for decode in (_from_json, _from_url, _from_html):
        if rounds := list(_rounds(decode, text)):
            forms.update(dict.fromkeys(rounds))
            ends.append(rounds[-1])
    # one kind of escape may hide another: what one has left to do is done by all of them together
    forms.update(dict.fromkeys(_rounds(_from_any, ends[0] if len(ends) == 1 else text)))
    forms[plain(text)] = None
    forms.pop(text, None)
    return list(dict.fromkeys(map(plain, forms)))


def _rounds(decode: Callable[[str], str], text: str) -> Iterator[str]:
    for _ in range(ROUNDS):
        form = decode(text)
        if form == text:
            return
        yield form
        text = form


def _from_any(text: str) -> str:
    return _from_html(_from_url(_from_json(text)))


def _from_json(text: str) -> str:
    if "\\" not in text:
        return text
    pieces = text.split("\\\\")  # a backslash that is escaped itself escapes nothing
    return "\\".join(_unescaped(piece) for piece in pieces)


def _unescaped(text: str) -> str:
    for escaped, letter in _SIMPLE:
        if "\\" not in text:
            return text
        text = text.replace(escaped, letter)
    return _ESCAPE.sub(_letter, text)


def _from_url(text: str) -> str:
    return unquote(text) if "%" in text else text


def _from_html(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _letter(escape: re.Match[str]) -> str:
    code, low, byte, letter = escape.groups()
    if code and low and 0xD800 <= int(code, 16) < 0xDC00:
        return chr(0x10000 + ((int(code, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if code:
        return chr(int(code, 16)) + (chr(int(low, 16)) if low else "")
    return chr(int(byte, 16)) if byte else letter
