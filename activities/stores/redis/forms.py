"""Forms of keys: literal text, ``*`` for anything, and at most one identity."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from activities.identities import IdentityKind, IdentitySet

_TOKEN = re.compile(r"\\(.)|\{(\w*)\}|(\*)|([^\\{*]+|.)", re.DOTALL)
_KINDS = [str(kind) for kind in IdentityKind]


@dataclass(frozen=True)
class Glob:
    """Literal text with anything between its pieces.

    Args:
        pieces: The literal pieces, one more than there are ``*``.
    """

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        r"""Reads a form without an identity; ``\*``, ``\{``, ``\}`` and ``\\`` stand for the characters themselves.

        Raises:
            ValueError: It has a placeholder.
        """
        (pieces, kinds) = _read(text)
        if kinds:
            raise ValueError(f"{text!r} has a placeholder: identities stand in what the key holds, not in its name")
        return cls(tuple(pieces[0]))

    @property
    def is_exact(self) -> bool:
        """Whether it stands for itself only."""
        return len(self.pieces) == 1

    @property
    def head(self) -> str:
        """What everything of this form begins with."""
        return self.pieces[0]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The form as a regular expression."""
        return re.compile(".*".join(map(re.escape, self.pieces)), re.DOTALL)

    def matches(self, text: str) -> bool:
        """Whether a text is of this form."""
        return text == self.head if self.is_exact else self.pattern.fullmatch(text) is not None

    def ends(self, text: str) -> Iterator[int]:
        """Where a beginning of a text that is of this form may end."""
        if self.is_exact:
            if text.startswith(self.head):
                yield len(self.head)
            return
        if not text.startswith(self.head):
            return
        tail = self.pieces[-1]
        for match in re.finditer(f"(?={re.escape(tail)})", text):
            if self.pattern.fullmatch(text, 0, end := match.start() + len(tail)):
                yield end

    def starts(self, text: str) -> Iterator[int]:
        """Where an end of a text that is of this form may start."""
        if self.is_exact:
            if text.endswith(self.head):
                yield len(text) - len(self.head)
            return
        if not text.endswith(self.pieces[-1]):
            return
        for match in re.finditer(f"(?={re.escape(self.head)})", text):
            if self.pattern.fullmatch(text, match.start()):
                yield match.start()


@dataclass(frozen=True)
class KeyTemplate:
    """A form of key with one identity in it.

    Args:
        text: As the data map writes it.
        before: What comes before the identity.
        kind: Which identity.
        after: What comes after it.
    """

    text: str
    before: Glob
    kind: IdentityKind
    after: Glob

    @classmethod
    def parse(cls, text: str) -> Self:
        r"""Reads a template; ``\*``, ``\{``, ``\}`` and ``\\`` stand for the characters themselves.

        Raises:
            ValueError: It has not exactly one placeholder, or none can tell where the identity ends.
        """
        (pieces, kinds) = _read(text)
        if len(kinds) != 1:
            raise ValueError(f"{text!r} needs exactly one of {', '.join(f'{{{kind}}}' for kind in _KINDS)}")
        before, after = Glob(tuple(pieces[0])), Glob(tuple(pieces[1]))
        if not (before.is_exact or before.pieces[-1]) or not (after.is_exact or after.head):
            raise ValueError(
                f"{text!r}: with * beside the placeholder, 12 would also find 123: put a separator between"
            )
        return cls(text, before, IdentityKind(kinds[0]), after)

    @property
    def is_exact(self) -> bool:
        """Whether each identity makes one key whose name is known: no ``*``, and no address, which has any case."""
        return self.before.is_exact and self.after.is_exact and self.kind is not IdentityKind.EMAIL

    @cached_property
    def form(self) -> Glob:
        """The form of its keys, whoever's they are."""
        return Glob((*self.before.pieces, *self.after.pieces))

    def names(self, key: str, identities: IdentitySet) -> bool:
        """Whether a key is of this form, with one of the identities in it; identities are data, whatever they hold."""
        return any(identities.holds(reading, [self.kind]) for reading in self.readings(key))

    def readings(self, key: str) -> Iterator[str]:
        """What may be the identity in a key; nothing where the key is not of this form."""
        ends = [*self.after.starts(key)]
        for start in self.before.ends(key) if ends else ():
            yield from (key[start:end] for end in ends if start < end)

    def key(self, identity: str) -> str:
        """The key that an identity makes, each ``*`` standing for itself."""
        return f"{'*'.join(self.before.pieces)}{identity}{'*'.join(self.after.pieces)}"


def scanned_for(forms: Iterable[Glob]) -> bytes:
    """What one scan asks the server for: everything that begins as all forms do.

    Args:
        forms: At least one.
    """
    heads = [form.head for form in forms]
    first, last = min(heads), max(heads)
    common = next((first[:end] for end in range(len(first), 0, -1) if last.startswith(first[:end])), "")
    return escape(Glob((common, ""))).encode("utf-8", "surrogateescape")


def escape(form: Glob) -> str:
    """A form in Redis's own notation."""
    return "*".join(re.sub(r"([*?\[\]\\])", r"\\\1", piece) for piece in form.pieces)


def literal(text: str) -> str:
    """A text as a form writes it that stands for it alone."""
    return re.sub(r"([\\*{}])", r"\\\1", text)


def _read(text: str) -> tuple[list[list[str]], list[str]]:
    """Literal pieces before and after each placeholder, and the placeholders."""
    pieces, kinds = [[""]], []
    for match in _TOKEN.finditer(text):
        escape, placeholder, star, literal = match.groups()
        if placeholder is not None:
            if placeholder not in _KINDS:
                known = ", ".join(f"{{{kind}}}" for kind in _KINDS)
                raise ValueError(
                    f"{text!r}: {{{placeholder}}} is none of {known}; write \\{{{placeholder}\\}} where keys have it so"
                )
            kinds.append(placeholder)
            pieces.append([""])
        elif star:
            pieces[-1].append("")
        else:
            pieces[-1][-1] += escape or literal
    return pieces, kinds
