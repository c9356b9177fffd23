"""S3's part of the data map: where a contributor's objects are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from activities.errors import CriticalError
from activities.identities import IdentityKind, IdentitySet
from activities.rules import StrictModel

_TEMPLATE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*)\{(\w+)\}(.*)", re.DOTALL)


@dataclass(frozen=True)
class ObjectTemplate:
    """Where a contributor's objects are: everything below a prefix that ends in ``/``, or one exact key.

    Args:
        text: As the data map writes it; also the place in counts.
        bucket: The bucket.
        before: What comes before the identity in the key.
        kind: Which identity.
        after: What comes after it.
    """

    text: str
    bucket: str
    before: str
    kind: IdentityKind
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a template.

        Raises:
            ValueError: It is not ``s3://bucket/key`` with exactly one placeholder.
        """
        kinds = [str(kind) for kind in IdentityKind]
        match = _TEMPLATE.fullmatch(text)
        if match is None or match[3] not in kinds or "{" in match[2] + match[4]:
            placeholders = ", ".join(f"{{{kind}}}" for kind in kinds)
            raise ValueError(f"{text!r} has to be s3://bucket/key with exactly one of {placeholders}")
        return cls(text, match[1], match[2], IdentityKind(match[3]), match[4])

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for everything below."""
        return self.after.endswith("/")

    def keys(self, identities: IdentitySet) -> list[str]:
        """The prefixes or keys of these people.

        Raises:
            CriticalError: An identity has a slash: it would reach into somebody else's folder.
        """
        values = identities.spellings([self.kind])
        if crooked := sum("/" in value or not value for value in values):
            what = f"{crooked} identities of the slice hold a slash and would reach into the files of others"
            raise CriticalError(self.text, what, "Leave these people out, and delete their files by hand.")
        return [f"{self.before}{value}{self.after}" for value in values]


def _is_template(text: str) -> str:
    ObjectTemplate.parse(text)
    return text


class S3Map(StrictModel):
    """S3's part of the data map.

    Args:
        objects: Templates such as ``s3://bucket/contributors/{contributor_id}/``.
    """

    objects: Annotated[list[Annotated[str, AfterValidator(_is_template)]], Field(min_length=1)]

    @property
    def templates(self) -> list[ObjectTemplate]:
        """The templates."""
        return [ObjectTemplate.parse(text) for text in self.objects]
