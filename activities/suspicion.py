"""What looks like personal data: names of columns and fields, and samples of their values.

Used to find places that a data map does not name. A suspicion is a question to the operator, never a proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from activities.identities import IdentityKind
from activities.masking import is_mask

SAMPLE = 200
"""Values of one place that are looked at."""

_ADDRESS = re.compile(r"[^\s@<>\"',;]{1,64}@[^\s@<>\"',;]{1,190}\.[A-Za-z]{2,24}")

_NAMES = (
    (IdentityKind.EMAIL, re.compile(r"(^|_)(e_?mails?|mail(_?address)?)(_|$)")),
    (IdentityKind.WORKER_ID, re.compile(r"(^|_)workers?(_?ids?)?$")),
    (IdentityKind.CONTRIBUTOR_ID, re.compile(r"(^|_)contributors?(_?ids?)?$")),
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Suspicion:
    """What to look for, and where.

    Args:
        patterns: Regular expressions that a whole identity of a kind matches; a kind without one is known by name only.
        look: Globs of places to look at: ``postgres public.*``, ``redis *``; all of them unless said.
        ignore: Globs of places that hold nobody's data: somebody has looked.
    """

    patterns: dict[IdentityKind, str] = field(default_factory=dict)
    look: Sequence[str] = ("*",)
    ignore: Sequence[str] = ()

    def watches(self, store: str, place: str) -> bool:
        """Whether a place is to be looked at.

        Args:
            store: The store's name.
            place: The place, as a finding names it.
        """
        full = f"{store} {place}"
        return any(fnmatchcase(full, glob) for glob in self.look) and not any(
            fnmatchcase(full, glob) for glob in self.ignore
        )

    def by_name(self, name: str) -> IdentityKind | None:
        """The kind of identity that a column or field is named after: ``payeeEmail``, ``worker_ids``."""
        plain = _CAMEL.sub("_", name.rsplit(".", 1)[-1]).lower().replace("-", "_")
        return next((kind for kind, pattern in _NAMES if pattern.search(plain)), None)

    def by_content(self, values: Iterable[str]) -> tuple[IdentityKind, bool] | None:
        """The kind of identity that a sample of a place holds.

        Args:
            values: Values as stored; masks of earlier batches count for nothing.

        Returns:
            The kind, and whether it stands inside longer text; None where nothing looks like an identity.
        """
        sample = [value.strip() for value in values if value.strip() and not is_mask(value.strip())]
        for kind, pattern in self._patterns():
            whole = sum(pattern.fullmatch(value) is not None for value in sample)
            if whole and whole * 2 >= len(sample):
                return kind, False
        if any(_ADDRESS.search(value) for value in sample):
            return IdentityKind.EMAIL, True
        return None

    def _patterns(self) -> Iterable[tuple[IdentityKind, re.Pattern[str]]]:
        yield IdentityKind.EMAIL, _ADDRESS
        for kind, pattern in self.patterns.items():
            yield kind, re.compile(pattern)
