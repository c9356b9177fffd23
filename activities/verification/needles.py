"""The identities of a batch as a verification looks for them: all at once, in any text.

Written apart from the erasers' own comparison, so that what that overlooks is found here. It is wider: encoded
spellings count (percent signs, JSON and HTML escapes, also one inside another), and so does an address in any case.
What is compressed, encrypted or in base64 is not found in a text; a scanner unpacks what it can.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from activities.contract import Contributor
from activities.identities import IdentityKind
from activities.verification.spellings import decoded, folded, may_be_spelled_otherwise, plain
from activities.verification.surroundings import certainty, is_inside_a_word, is_masked

SHORT = 3
"""An id of fewer characters is met by chance."""

WORD = 8
"""An id of letters alone is a word like any other up to this length."""

_BETWEEN = "\x1e"
"""Stands between texts that are searched together; no letter, and no part of an address."""


@dataclass(frozen=True)
class Match:
    """An identity that stands in a text.

    Args:
        kind: Of which kind.
        value: It, as the batch spells it: never to be shown.
        certain: Whether it cannot be there by chance, or as a part of something else. One that is not certain is no
            residual, and leaves its place not proven.
        planted: Whether the scan itself has planted it.
    """

    kind: IdentityKind
    value: str
    certain: bool = True
    planted: bool = False


class _Needle(NamedTuple):
    value: str
    kind: IdentityKind
    chancy: bool
    planted: bool


class Needles:
    """The identities of some contributors, to be looked for in texts.

    Args:
        people: The contributors.
        planted: What a scan has planted itself, to see that it finds them.
    """

    def __init__(self, people: Iterable[Contributor], planted: Iterable[str] = ()) -> None:
        by_form: dict[str, dict[str, _Needle]] = {}
        own = [(value.strip(), IdentityKind.EMAIL, True) for value in planted]
        for value, kind, is_planted in [*own, *_identities(people)]:
            spelled = plain(value)
            form = folded(spelled)
            needle = _Needle(spelled, kind, is_chancy(spelled), is_planted)
            # addresses are one whatever their case, ids are not
            by_form.setdefault(form, {}).setdefault(form if "@" in spelled else spelled, needle)
        self._needles = [tuple(needles.values()) for needles in by_form.values()]
        self._has_chancy = any(needle.chancy for needles in self._needles for needle in needles)
        self._automaton = (
            AhoCorasick(by_form, matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)
            if by_form
            else None
        )

    @property
    def has_numbers(self) -> bool:
        """Whether an id is made of digits alone, so that a number may be somebody's."""
        return any(needle.value.isdecimal() for needles in self._needles for needle in needles if needle.chancy)

    def __len__(self) -> int:
        return sum(map(len, self._needles))

    def find(self, text: str, name: str = "") -> list[Match]:
        """Every identity in a text, each once.

        Args:
            text: The text; a number as its digits.
            name: What the place is called (column, field, key): decides whether a chancy id is somebody's.
        """
        found: dict[str, Match] = {}
        for view in (plain(text), *decoded(text)):
            for _, _, needle, certain in self._spans(view, name):
                _add(found, Match(needle.kind, needle.value, certain, needle.planted))
        if self._has_chancy and text.lstrip()[:1] in ("{", "["):
            for key, leaf in _leaves_of_json(text):
                for match in self.find(leaf, key or name):
                    _add(found, match)
        return list(found.values())

    def suspects(self, texts: Sequence[str]) -> list[int]:
        """Which of many texts may hold an identity: whatever `find` finds is in one of these. Much faster than it.

        Args:
            texts: The texts.

        Returns:
            Their numbers, ascending.
        """
        together = _BETWEEN.join(texts)
        numbers = set(self._touched(texts, together))
        if may_be_spelled_otherwise(together):
            escaped = [number for number, text in enumerate(texts) if may_be_spelled_otherwise(text)]
            numbers.update(self._suspects_otherwise(texts, escaped))
        return sorted(numbers)

    def _suspects_otherwise(self, texts: Sequence[str], numbers: Sequence[int]) -> Iterator[int]:
        """The texts that an identity is in once escapes are taken away."""
        for form in decoded(_BETWEEN.join(texts[number] for number in numbers)):
            parts = form.split(_BETWEEN)
            if len(parts) == len(numbers):
                yield from (numbers[part] for part in self._touched(parts, form))
            else:  # one of the texts spells the sign between them
                yield from (number for number in numbers if self._is_in(decoded(texts[number])))

    def _is_in(self, forms: Sequence[str]) -> bool:
        return any(True for _ in self._touched(forms, _BETWEEN.join(forms)))

    def _touched(self, texts: Sequence[str], together: str) -> Iterator[int]:
        """The texts that an identity is in, whatever stands beside it but letters and digits."""
        if self._automaton is None:
            return
        starts: list[int] = []
        for _, start, end in self._automaton.find_matches_as_indexes(folded(together), overlapping=True):
            if is_inside_a_word(together, start, end):
                continue
            starts = starts or list(accumulate((len(text) + 1 for text in texts), initial=0))
            yield min(bisect_right(starts, start) - 1, len(texts) - 1)

    def blanked(self, text: str) -> str:
        """A text with ``*`` in place of every identity, certain or not.

        Args:
            text: The text, such as a place's name.
        """
        view, blanked, end = plain(text), "", 0
        for start, stop, _, _ in sorted(self._spans(view, ""), key=lambda span: span[:2]):
            blanked += view[end:start] + "*" * (start >= end)
            end = max(end, stop)
        return blanked + view[end:] if end or not self.find(text) else "*"

    def _spans(self, view: str, name: str) -> Iterator[tuple[int, int, _Needle, bool]]:
        """Where identities stand in a text, which, and whether for certain."""
        if self._automaton is None:
            return
        for number, start, end in self._automaton.find_matches_as_indexes(folded(view), overlapping=True):
            if is_inside_a_word(view, start, end) or is_masked(view, start, end):
                continue
            for needle in self._needles[number]:
                if "@" not in needle.value and view[start:end] != needle.value:
                    continue
                if (certain := certainty(view, start, end, name, chancy=needle.chancy)) is not None:
                    yield start, end, needle, certain


def masked(match: Match) -> str:
    """What may be shown of a match: what it is and how long it is, and nothing of itself.

    Args:
        match: The match.
    """
    form = "…@…" if "@" in match.value else "…"
    return f"{form} ({len(match.value)} characters)"


def _identities(people: Iterable[Contributor]) -> Iterator[tuple[str, IdentityKind, bool]]:
    for person in people:
        pairs = [(person.contributor_id, IdentityKind.CONTRIBUTOR_ID)]
        pairs += [(email.strip(), IdentityKind.EMAIL) for email in person.emails]
        pairs += [(worker_id, IdentityKind.WORKER_ID) for worker_id in person.worker_ids]
        yield from ((value, kind, False) for value, kind in pairs if value.strip())


def is_chancy(value: str) -> bool:
    """Whether an id may well stand somewhere by chance: a number, or a short word.

    Args:
        value: The id.
    """
    return value.isdecimal() or len(value) < SHORT or (value.isalpha() and len(value) <= WORD)


def _add(found: dict[str, Match], match: Match) -> None:
    known = found.setdefault(match.value, match)
    if match.certain and not known.certain:
        found[match.value] = replace(known, certain=True)


def _leaves_of_json(text: str) -> Iterator[tuple[str, str]]:
    """Every value of a text that is JSON, and every key, as text, with the name of what it is in."""
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(text, parse_float=str))]
    except (ValueError, RecursionError):
        return
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            yield from ((name, key) for key in value)
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((name, each) for each in value)
        elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            yield name, str(value)
