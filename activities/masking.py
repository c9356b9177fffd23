"""Masks: what an identity value is replaced with. One function a strategy, the same in every store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

CONSTANT = "DELETED_USER"
"""What every mask starts with; a plain one where nothing needs to stay distinct."""

TOKEN_LENGTH = len(CONSTANT) + 1 + 26
"""Length of a token, in characters: a column that takes tokens has to be this wide."""

_ROUNDS = 10
"""Of the Feistel network; eight are what NIST SP 800-38G asks of FF3, ten of FF1."""

TOKEN = re.compile(rf"{CONSTANT}-[a-z2-7]{{26}}")
"""What a token looks like."""


class Strategy(StrEnum):
    """How a value is replaced.

    token      by a token of the value; in a column or field of whole numbers by a number (`Masker.number`): equal
               values stay equal either way, and no other word is needed where the type says it
    constant   by `CONSTANT`
    null       by nothing, and the column or field stays
    remove     the field, the element or the member goes
    text       identities inside a text, each by its token
    """

    TOKEN = "token"
    CONSTANT = "constant"
    NULL = "null"
    REMOVE = "remove"
    TEXT = "text"


class Masker:
    """Computes masks under one batch's key.

    The token is a keyed hash of the value exactly as stored: equal values stay equal across stores, different ones
    stay different, and nobody can compute it once the batch key is destroyed.

    Args:
        key: 32 bytes, derived from the batch key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, value: str) -> str:
        """The mask of one value.

        Args:
            value: The value exactly as stored.

        Returns:
            ``DELETED_USER-`` and 26 characters of base32: 128 bits of HMAC-SHA256.
        """
        digest = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), hashlib.sha256)[:16]
        return f"{CONSTANT}-{base64.b32encode(digest).decode('ascii').rstrip('=').lower()}"

    def number(self, value: int, bits: int, *, signed: bool) -> int:
        """The mask of a number, for columns and fields that take no text.

        A keyed permutation (balanced Feistel network over HMAC-SHA256): different numbers stay different, however
        many there are. Masks lie in a range of their own: a signed type's lowest quarter, an unsigned one's highest.

        Args:
            value: 0 or more, and in the lowest quarter of an unsigned number of so many bits.
            bits: Width of the type: 16, 32 or 64.
            signed: Whether the type is signed.

        Returns:
            The mask: it fits the type.

        Raises:
            ValueError: The value is outside of what can be masked; the message does not hold it.
        """
        half = (bits - 2) // 2
        if not 0 <= value < 1 << (2 * half):
            raise ValueError(f"is outside of the {2 * half} bits that a mask can stand for")
        left, right = value >> half, value & ((1 << half) - 1)
        for round_ in range(_ROUNDS):
            message = b"number" + bytes([bits, round_]) + right.to_bytes(8, "big")
            digest = hmac.digest(self._key, message, hashlib.sha256)
            left, right = right, left ^ (int.from_bytes(digest[:8], "big") & ((1 << half) - 1))
        hidden = left << half | right
        return hidden - (1 << (bits - 1)) if signed else (1 << bits) - 1 - hidden

    def text(self, value: str, finder: IdentityFinder) -> str:
        """Masks identities inside free text.

        Args:
            value: The text.
            finder: Knows the identities to look for.

        Returns:
            The text, each identity replaced by its token; the same text where there is none.
        """
        parts: list[str] = []
        end = 0
        for start, stop in finder.spans(value):
            parts += [value[end:start], self.token(value[start:stop])]
            end = stop
        return "".join([*parts, value[end:]]) if parts else value


def is_mask(value: str) -> bool:
    """Whether a value is a mask already, and so must not be masked again."""
    return value == CONSTANT or TOKEN.fullmatch(value) is not None


def is_number_mask(value: int, bits: int, *, signed: bool) -> bool:
    """Whether a number lies in the range of masks of its type, and so must not be masked again."""
    size = 1 << (bits - 2)
    return value < size - (1 << (bits - 1)) if signed else value >= (1 << bits) - size


class IdentityFinder:
    """Finds identities inside free text, without regard to case, however many they are.

    An identity counts only where it stands by itself: ``12`` is not in ``123``, ``bob@x.io`` neither in
    ``notbob@x.io`` nor in ``bob@x.io.uk``; a full stop at the end of a sentence does not hide it.

    Args:
        values: The identities; they are data, never patterns.
    """

    START = re.compile(r"(?<![\w@+%-])(?<!\w[.'])(?=\S)")
    """Where one can begin."""
    END = re.compile(r"(?![\w@%-])(?!\.\w)")
    """Where one can end."""
    _PREFIX = 4

    def __init__(self, values: Iterable[str]) -> None:
        self._values = {lower(value) for value in values if value.strip()}
        lengths: dict[str, set[int]] = {}
        for value in self._values:
            lengths.setdefault(value[: self._PREFIX], set()).add(len(value))
        self._lengths = {prefix: sorted(known, reverse=True) for prefix, known in lengths.items()}
        self._prefixes = sorted({len(prefix) for prefix in lengths}, reverse=True)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields start and end of each identity in a text, from left to right, not overlapping."""
        lowered = lower(text)
        free_from = 0
        for boundary in self.START.finditer(text):
            start = boundary.start()
            if start >= free_from and (end := self._longest_at(lowered, start)) is not None:
                free_from = end
                yield start, end

    def _longest_at(self, lowered: str, start: int) -> int | None:
        """Where the longest identity that begins here ends; one look-up a length, however many identities there are."""
        for prefix in self._prefixes:
            for length in self._lengths.get(lowered[start : start + prefix], ()):
                end = start + length
                if lowered[start:end] in self._values and self.END.match(lowered, end):
                    return end
        return None


def lower(text: str) -> str:
    """Lower case, letter by letter (Unicode's simple mapping): the length stays, and no letter depends on the next.

    Of the letters that have a lower case, only these two have one that is longer, or another one at a word's end.
    """
    return text.replace("İ", "i").replace("Σ", "σ").lower()
