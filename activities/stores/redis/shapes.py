"""Shapes: what a sample of keys has in common, what varies shown as ``*``, so that no shape holds a value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from activities.identities import IdentityKind
from activities.stores.redis.forms import literal
from activities.suspicion import Suspicion

LITERALS = 16
"""Different words at one spot of a key; where there are more, they are values."""

SHARED = 3
"""Keys that have a word at the same spot before it counts as part of their shape."""

_SEPARATORS = re.compile(r"([:/|{}])")
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,31}")


@dataclass(frozen=True)
class Shape:
    """Keys that look alike.

    Args:
        parts: Words, separators, and None where they vary.
        keys: The keys, as text.
    """

    parts: tuple[str | None, ...]
    keys: tuple[str, ...]

    @cached_property
    def text(self) -> str:
        """The shape as the data map writes a form of key."""
        return self.written()

    def written(self, at: int | None = None, kind: IdentityKind | None = None) -> str:
        """The shape, with a placeholder at one of its spots."""
        texts = [
            f"{{{kind}}}" if number == at else "*" if part is None else literal(part)
            for number, part in enumerate(self.parts)
        ]
        return "".join(texts)

    @property
    def group(self) -> str:
        """A name for its group in the data map."""
        word = next((part for part in self.parts if part and _WORD.fullmatch(part)), "keys")
        return word.lower().replace(".", "_")

    def varying(self) -> Iterator[tuple[int, str, list[str]]]:
        """Yields each spot that varies, with the word before it and the values at it."""
        split = [_SEPARATORS.split(key) for key in self.keys]
        for number, part in enumerate(self.parts):
            if part is None:
                before = self.parts[number - 2] if number >= 2 else None
                yield number, before or "", sorted({each[number] for each in split})


def shapes(keys: Iterable[str], suspicion: Suspicion) -> list[Shape]:
    """The shapes of some keys, in order.

    Args:
        keys: The sample.
        suspicion: Knows identities by their look; a word that looks like one is no word.
    """
    structures: dict[tuple[str, ...], list[list[str]]] = {}
    for key in keys:
        split = _SEPARATORS.split(key)
        structures.setdefault(tuple(split[1::2]), []).append(split)
    found = [shape for split in structures.values() for shape in _divide(split, 0, suspicion)]
    return sorted(found, key=lambda shape: shape.text)


def _divide(keys: Sequence[Sequence[str]], at: int, suspicion: Suspicion, parts: Parts = ()) -> Iterator[Shape]:
    """Tells keys of the same separators apart by the words at one spot, then by those at the next."""
    if at == len(keys[0]):
        yield Shape(parts, tuple("".join(key) for key in keys))
        return
    if at % 2:
        yield from _divide(keys, at + 1, suspicion, (*parts, keys[0][at]))
        return
    counts = Counter(key[at] for key in keys)
    alone = len(keys[0]) == 1
    words = {text for text, count in counts.items() if (alone or count >= SHARED) and is_word(text, suspicion)}
    if "" in counts:
        words.add("")
    if len(words) > LITERALS:
        words = {""} & words
    for word in sorted(words):
        yield from _divide([key for key in keys if key[at] == word], at + 1, suspicion, (*parts, word))
    if rest := [key for key in keys if key[at] not in words]:
        yield from _divide(rest, at + 1, suspicion, (*parts, None))


Parts = tuple[str | None, ...]


def is_word(text: str, suspicion: Suspicion) -> bool:
    """Whether a text names a thing: it has neither digit nor ``@``, and does not look like an identity."""
    return _WORD.fullmatch(text) is not None and suspicion.by_content([text]) is None
