"""What one place holds, added up while it is read: its memory does not grow with the place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from activities.contract import Finding
from activities.verification.contract import Reading, Residual
from activities.verification.needles import Needles, masked
from activities.verification.surroundings import MASK

MOST = 1_000
"""Places within a place that are told apart; what comes after these is added up."""

ELSEWHERE = "(further places)"

_ADDRESS = re.compile(r"[^:/,;|\s]+@[^:/,;|\s]*")
_WORD = re.compile(r"@?[A-Za-z_-]{1,64}")


class Tally:
    """Counts what is found in one place.

    Args:
        needles: What is looked for.
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._counts: dict[tuple[str, str, bool], int] = {}
        self._samples: dict[tuple[str, str, bool], str] = {}
        self._latest: dict[tuple[str, str, bool], int] = {}
        self._not_proven: dict[tuple[str, str], Finding] = {}
        self.records = 0
        self.bytes = 0
        self.masked = 0

    def look(self, texts: Sequence[str], places: Sequence[str], records: Sequence[int]) -> None:
        """Looks for identities in some texts, in the order in which they were read, and counts masks.

        Args:
            texts: The texts; a number as its digits.
            places: Where each stands: never a value.
            records: To which record each belongs, as its number.
        """
        self.masked += sum(text.startswith(MASK) for text in texts)
        for number in self._needles.suspects(texts):
            self.examine(texts[number], places[number], records[number])

    def examine(self, text: str, place: str, record: int) -> None:
        """Counts the identities in one text.

        Args:
            text: The text.
            place: Where it stands; what it is called begins after the last colon and blank.
            record: The number of its record.
        """
        for match in self._needles.find(text, place.rpartition(": ")[2]):
            self._count(self._needles.blanked(place), record, match.kind.value, masked(match), match.certain)

    def leave_out(self, findings: Iterable[Finding]) -> None:
        """Notes what was not read, each once."""
        self._not_proven.update({(finding.place, finding.what): finding for finding in findings})

    def reading(self) -> Reading:
        """What came of it."""
        return Reading(
            records=self.records,
            bytes=self.bytes,
            residuals=self._found(certain=True),
            uncertain=self._found(certain=False),
            masked=self.masked,
            not_proven=list(self._not_proven.values()),
        )

    def _found(self, *, certain: bool) -> list[Residual]:
        found = [
            Residual(place, kind, count, self._samples[place, kind, certain])
            for (place, kind, is_certain), count in self._counts.items()
            if is_certain is certain
        ]
        return sorted(found, key=lambda residual: (-residual.count, residual.place))

    def _count(self, place: str, record: int, kind: str, sample: str, certain: bool) -> None:
        key = (place, kind, certain)
        if key not in self._counts and len(self._counts) >= MOST:
            key = (ELSEWHERE, kind, certain)
        if self._latest.get(key) != record:
            self._counts[key] = self._counts.get(key, 0) + 1
            self._latest[key] = record
            self._samples.setdefault(key, sample)


def without_values(name: str, needles: Needles, separators: str = ":/,;|") -> str:
    """A name made of parts, such as a key, with ``*`` for every part that may be a value.

    Args:
        name: The name.
        needles: None of these is shown, even if it is a mere word.
        separators: What its parts are separated by.
    """
    blanked = _ADDRESS.sub("*", needles.blanked(name))
    parts = re.split(f"([{re.escape(separators)}])", blanked)
    return "".join(part if part in separators or _WORD.fullmatch(part) else "*" for part in parts)
