"""Identities: the values by which a store knows a contributor, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from activities.contract import Contributor
from activities.masking import IdentityFinder


class IdentityKind(StrEnum):
    """The kinds of identity that a place can hold."""

    CONTRIBUTOR_ID = "contributor_id"
    EMAIL = "email"
    WORKER_ID = "worker_id"


def normal(value: str, kind: IdentityKind) -> str:
    """The form in which two identities of a kind are compared: emails without case and surrounding blanks."""
    return value.strip().lower() if kind is IdentityKind.EMAIL else value


class IdentitySet:
    """The identities of a page of contributors, by kind.

    Args:
        contributors: The people.
    """

    def __init__(self, contributors: Iterable[Contributor]) -> None:
        self._spellings: dict[IdentityKind, set[str]] = {kind: set() for kind in IdentityKind}
        for contributor in contributors:
            self._spellings[IdentityKind.CONTRIBUTOR_ID].add(contributor.contributor_id)
            self._spellings[IdentityKind.EMAIL].update(contributor.emails)
            self._spellings[IdentityKind.WORKER_ID].update(contributor.worker_ids)
        self._normal = {kind: {normal(value, kind) for value in values} for kind, values in self._spellings.items()}

    def holds(self, value: str, kinds: Collection[IdentityKind]) -> bool:
        """Whether a stored value is an identity of one of these kinds."""
        return any(normal(value, kind) in self._normal[kind] for kind in kinds)

    def normalized(self, kind: IdentityKind) -> list[str]:
        """The identities of one kind in the form in which they are compared, sorted."""
        return sorted(self._normal[kind])

    def spellings(self, kinds: Collection[IdentityKind]) -> list[str]:
        """Every known spelling of the identities of these kinds, the normal form included, sorted."""
        return sorted(set().union(*(self._spellings[kind] | self._normal[kind] for kind in kinds)))

    def finder(self, kinds: Collection[IdentityKind]) -> IdentityFinder:
        """Finds the identities of these kinds inside free text."""
        return IdentityFinder(value for kind in kinds for value in self._normal[kind])
