"""What a census counts: whose records are looked for, and the numbers of one place."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from devstack.platform.people import Person

MASK = "DELETED_USER"


@dataclass(frozen=True)
class Batch:
    """The identities to look for.

    Args:
        ids: Contributor ids.
        emails: Addresses, in lower case.
        worker_ids: Worker ids.
    """

    ids: frozenset[str]
    emails: frozenset[str]
    worker_ids: frozenset[str]

    @classmethod
    def of(cls, people: Collection[Person]) -> Batch:
        """The identities of these people."""
        return cls(
            frozenset(person.contributor_id for person in people),
            frozenset(person.email.lower() for person in people),
            frozenset(person.worker_id for person in people if person.worker_id is not None),
        )

    def has(self, value: str) -> bool:
        """Whether a value is an identity of the batch, of whichever kind."""
        return value in self.ids or value in self.worker_ids or value.strip().lower() in self.emails


@dataclass(frozen=True)
class Count:
    """What one place holds.

    Args:
        store: The store.
        place: The index, table, prefix or kind of key.
        total: Records.
        batch: Records that hold an identity of the batch.
        deleted: Records that hold a mask.
        others: A fingerprint of all that is neither: equal before and after means that nobody else was touched.
    """

    store: str
    place: str
    total: int
    batch: int
    deleted: int
    others: str


class Tally:
    """Counts the records of one place, and adds up a fingerprint in which their order does not matter."""

    def __init__(self) -> None:
        self._total = self._batch = self._deleted = self._sum = 0

    def add(self, *, batch: bool, deleted: bool, others: bytes | None) -> None:
        """Counts one record.

        Args:
            batch: Whether it holds an identity of the batch.
            deleted: Whether it holds a mask.
            others: What of it belongs to everybody else, if anything.
        """
        self._total += 1
        self._batch += batch
        self._deleted += deleted
        if others is not None:
            self._sum += int.from_bytes(hashlib.blake2b(others, digest_size=8).digest())

    def count(self, store: str, place: str) -> Count:
        """The numbers so far."""
        return Count(store, place, self._total, self._batch, self._deleted, fingerprint(self._sum))


def fingerprint(total: int) -> str:
    """A sum of 64-bit hashes as text."""
    return f"{total % 2**64:016x}"
