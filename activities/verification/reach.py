"""Which places are looked at, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from activities.contract import Finding
from activities.verification.contract import Scope

NAMED = 20
"""Places left out that one finding names."""


def is_within_reach(scope: Scope, store: str, place: str) -> bool:
    """Whether an operator lets a place be looked at.

    Args:
        scope: Where to look.
        store: The store.
        place: The place.
    """
    return any(fnmatchcase(f"{store} {place}", glob) for glob in scope.reach)


def left_out(store: str, places: Collection[str], why: str, remedy: str) -> list[Finding]:
    """What is said of places that nobody looks at: one finding at most, however many they are.

    Args:
        store: The store.
        places: Their names.
        why: Why nobody does, after their number: ``indices that the data map does not name``.
        remedy: What the operator can do.
    """
    if not places:
        return []
    named = sorted(places)[:NAMED]
    further = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return [Finding(store, f"{len(places)} {why}: {', '.join(named)}{further}", remedy)]
