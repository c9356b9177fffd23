"""The identities of people as the database can compare them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from activities.contract import Contributor
from activities.identities import IdentityKind, IdentitySet
from activities.masking import is_mask

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def identities(page: Sequence[Contributor]) -> list[tuple[str, str, int | None, UUID | None]]:
    """The identities that can stand in a database: kind, text, and as an integer and a uuid where they are one.

    Blank values and masks are nobody's identity. An integer counts only in its one canonical spelling, since the
    server would read ``0b11`` as 3.

    Args:
        page: The people.
    """
    people = IdentitySet(page)
    return [
        (kind.value, value, _integer(value), UUID(value) if _UUID.fullmatch(value) else None)
        for kind in IdentityKind
        for value in people.normalized(kind)
        if value.strip() and not is_mask(value) and not _NOT_STORABLE.search(value)
    ]


def _integer(value: str) -> int | None:
    number = int(value) if _INTEGER.fullmatch(value) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None
