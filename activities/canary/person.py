"""Who the canary is, what is written of it, and what that may have become once it is erased."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activities.contract import Contributor
from activities.identities import IdentityKind, IdentitySet, canonical
from activities.masking import CONSTANT, Masker

if TYPE_CHECKING:
    from activities.vault import Vault

NAME = "Canary"
"""What stands where a name or any other text is wanted that identifies nobody."""


def own_name() -> str:
    """A name that nothing else in a store has: of a document, an object, a key."""
    return f"planted-canary-{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Canary:
    """A made-up contributor, and the batch that is going to erase it.

    Args:
        person: Its identities.
        masker: That batch's.
        table: The identity table.
        columns: Of that table the columns that hold identities, each with the canary's own.
    """

    person: Contributor
    masker: Masker
    table: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    def identity(self, kinds: Sequence[IdentityKind]) -> str | None:
        """Its first identity of the first of some kinds that it has any of."""
        held = {
            IdentityKind.CONTRIBUTOR_ID: (self.person.contributor_id,),
            IdentityKind.EMAIL: self.person.emails,
            IdentityKind.WORKER_ID: self.person.worker_ids,
        }
        return next((value for kind in kinds for value in held[kind]), None)

    def text(self, kinds: Sequence[IdentityKind]) -> str | None:
        """A text with an identity of each of some kinds in it; None where it has none of them."""
        found = [value for kind in kinds if (value := self.identity([kind])) is not None]
        return " ".join([NAME, *found]) if found else None

    def own(self, value: str, kinds: Collection[IdentityKind]) -> list[str]:
        """All that a text of its own may read, before the erasure and after it; an identity is a text too.

        Args:
            value: The text as it is planted.
            kinds: The kinds of identity that are looked for in it.
        """
        masked = self.masker.text(value, IdentitySet([self.person]).finder(kinds))
        return list(dict.fromkeys((value, self.masker.token(value), CONSTANT, masked)))

    def own_number(self, value: str, bits: int, *, signed: bool) -> list[str] | None:
        """The same of a whole number; None where the value is none, or one that no mask can stand for."""
        if not (value.isascii() and value.isdecimal() and str(int(value)) == value):
            return None
        try:
            return [value, str(self.masker.number(int(value), bits, signed=signed))]
        except ValueError:
            return None


@dataclass(frozen=True)
class Alone:
    """A slice of one person, before there is any manifest.

    Args:
        person: The person.
        batch_id: The batch.
        name: The slice's name.
    """

    person: Contributor
    batch_id: str
    name: str = "canary"

    async def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields the person."""
        yield [self.person]


async def name_of(vault: Vault, person: Contributor) -> str:
    """What a canary is called: the same identities are the same canary, and the name tells nothing of them.

    Args:
        vault: The vault.
        person: The canary.
    """
    content = canonical(person.contributor_id, person.emails, person.worker_ids)
    return await vault.name_batch(hashlib.sha256(content).digest(), "canary")
