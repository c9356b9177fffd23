"""A tally of records that are read side by side, and of texts whose name is not the place that they stand in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from activities.contract import Finding
from activities.verification.contract import Reading
from activities.verification.needles import Needles, masked
from activities.verification.surroundings import MASK
from activities.verification.tally import ELSEWHERE, MOST, Tally, without_values

_NAMED = re.compile(
    r"""(?<![\w-])([A-Za-z_][\w-]{0,63})\\*["']?>?\s{0,8}[:=>]\s{0,8}\\*["']?([^\s"'\\,;&<>()\[\]{}]+)"""
)
"""A name and its value, as in JSON, YAML, an address's query, XML."""

COLUMN = "COPY "
"""What the name of a dumped table's column starts with: such a name is no value, and may be shown."""

Found = dict[tuple[str, str, bool], str]
"""What one record holds: a sample, masked, by place, kind, and whether it is certain."""


class Evidence(Tally):
    """Counts what is found in one place.

    Args:
        needles: What is looked for.
        but_planted: Whether to pass over what the scan itself has planted, where that stands in other places too.
    """

    def __init__(self, needles: Needles, *, but_planted: bool = False) -> None:
        super().__init__(needles)
        self._but_planted = but_planted
        self._missed: Counter[tuple[str, str, str]] = Counter()

    def found(self, texts: Sequence[str], places: Sequence[str], names: Sequence[str]) -> Iterator[tuple[int, Found]]:
        """Searches texts; yields for each that holds an identity its number, and what it holds.

        Args:
            texts: The texts; a number as its digits.
            places: Where each stands: never a value.
            names: What each is called: decides whether a chancy identity is somebody's.
        """
        self.masked += sum(text.startswith(MASK) for text in texts)
        for number in self._needles.suspects(texts):
            matches = self._needles.find(texts[number], names[number])
            yield (
                number,
                {
                    (places[number], str(each.kind), each.certain): masked(each)
                    for each in matches
                    if not (each.planted and self._but_planted)
                },
            )

    def add(self, record: int, found: Found) -> None:
        """Counts what a record holds.

        Args:
            record: Its number. What belongs to one record is added without another's between.
            found: What it holds.
        """
        for (place, kind, certain), sample in found.items():
            self._count(self._needles.blanked(place), record, kind, sample, certain)

    def miss(self, place: str, what: str, remedy: str) -> None:
        """Counts one more record that was not read, or in part only.

        Args:
            place: Where it is.
            what: Which records these are, and why: ``objects that may not be read``.
            remedy: What the operator can do.
        """
        key = (place, what, remedy)
        self._missed[key if key in self._missed or len(self._missed) < MOST else (ELSEWHERE, what, remedy)] += 1

    def reading(self) -> Reading:
        """What came of it."""
        self.leave_out(
            Finding(place, f"{what}: {count:,}", remedy) for (place, what, remedy), count in self._missed.items()
        )
        return super().reading()


class Inside:
    """What one record holds that comes in pieces: a body, an event.

    Args:
        evidence: What is seen of its place.
        place: Where it is.
    """

    def __init__(self, evidence: Evidence, place: str) -> None:
        self._evidence = evidence
        self.place = place
        self.holds: Found = {}

    def look(self, texts: Sequence[str], names: Sequence[str]) -> None:
        """Searches texts that stand in it.

        Args:
            texts: The texts.
            names: What each is called; empty where nothing names it. Names may be values, and are not shown.
        """
        places = [
            f"{self.place}: {name.removeprefix(COLUMN)}" if name.startswith(COLUMN) else self.place for name in names
        ]
        for _, found in self._evidence.found(texts, places, names):
            self.holds.update(found)


def shown(name: str, needles: Needles) -> str:
    """The name of a file or folder, without what in it may be a value.

    Args:
        name: The name.
        needles: What may not be shown in any case.
    """
    return "*" if "@" in name or needles.find(name) else without_values(name, needles, ":/.,;|")


def named_values(text: str) -> Iterator[tuple[str, str]]:
    """What stands beside a name in a text: ``"worker_id": 12``, ``worker=12``, ``<id>12</id>``."""
    if ":" in text or "=" in text or ">" in text:
        yield from _NAMED.findall(text)
