"""Identities: the values by which a store knows a contributor, and how two of them are compared.

Contributor ids and worker ids match exactly. Emails match without the blanks around them and without regard to case,
by Unicode's simple lower case: PostgreSQL's `lower` and Elasticsearch's `lowercase` have the same. ClickHouse's
`lowerUTF8` differs in two letters (Σ at a word's end, İ), and a PostgreSQL with the locale C knows ASCII only: there
an address with other letters is found as it is spelled in the identity table and in the CSV, and in lower case.
Nothing is folded further: `ß` is not `ss`, `ı` is not `i`, an accent is no decoration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _quoted

from activities.contract import Contributor
from activities.masking import IdentityFinder, lower

BLANKS = " \t\n\r\f\v"
"""What may stand around an address; no other white space, since not every engine can strip it."""

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class IdentityKind(StrEnum):
    """The kinds of identity that a place can hold."""

    CONTRIBUTOR_ID = "contributor_id"
    EMAIL = "email"
    WORKER_ID = "worker_id"


def normal(value: str, kind: IdentityKind) -> str:
    """The form in which two identities of a kind are compared: emails without case and surrounding blanks."""
    return lower(value.strip(BLANKS)) if kind is IdentityKind.EMAIL else value


def forms(value: str, kind: IdentityKind) -> set[str]:
    """What an engine may make of an identity when it lowers it: the normal form, and those of engines that differ."""
    if kind is not IdentityKind.EMAIL:
        return {value}
    stripped = value.strip(BLANKS)
    return {lower(stripped), stripped.lower(), stripped.translate(_ASCII_LOWER)}


def canonical(contributor_id: str, emails: Iterable[str], worker_ids: Iterable[str]) -> bytes:
    """A contributor as the digest of a CSV is taken: the same for the same identities, in whatever order they stand."""
    return f"[{_quoted(contributor_id)}, [{_joined(emails)}], [{_joined(worker_ids)}]]\n".encode()


def _joined(values: Iterable[str]) -> str:
    return ", ".join(map(_quoted, sorted(values)))


class IdentitySet:
    """The identities of a page of contributors, by kind.

    Args:
        contributors: The people.
    """

    def __init__(self, contributors: Iterable[Contributor]) -> None:
        self._spellings: dict[IdentityKind, set[str]] = {kind: set() for kind in IdentityKind}
        for contributor in contributors:
            self._spellings[IdentityKind.CONTRIBUTOR_ID].add(contributor.contributor_id)
            for email in contributor.emails:
                self._spellings[IdentityKind.EMAIL] |= {email, email.strip(BLANKS)}
            self._spellings[IdentityKind.WORKER_ID].update(contributor.worker_ids)
        self._normal = {kind: {normal(value, kind) for value in values} for kind, values in self._spellings.items()}

    def holds(self, value: str, kinds: Collection[IdentityKind]) -> bool:
        """Whether a stored value is an identity of one of these kinds."""
        return any(normal(value, kind) in self._normal[kind] for kind in kinds)

    def normalized(self, kind: IdentityKind) -> list[str]:
        """The identities of one kind in every form in which an engine may compare them, sorted."""
        return sorted(set().union(*(forms(value, kind) for value in self._spellings[kind])))

    def spellings(self, kinds: Collection[IdentityKind]) -> list[str]:
        """Every known spelling of the identities of these kinds, the normal form included, sorted."""
        return sorted(set().union(*(self._spellings[kind] | self._normal[kind] for kind in kinds)))

    def finder(self, kinds: Collection[IdentityKind]) -> IdentityFinder:
        """Finds the identities of these kinds inside free text."""
        return IdentityFinder(value for kind in kinds for value in self._normal[kind])
