"""S3's part of the data map: where a contributor's objects are, and which objects are searched for identities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field

from activities.identities import IdentityKind, IdentitySet
from activities.rules import StrictModel

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class KeyPattern:
    """A form of key: ``*`` stands for anything within one segment; one that ends in ``/`` for everything below it.

    Args:
        key: The form, without its bucket.
    """

    key: str

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for everything below."""
        return self.key.endswith("/") or not self.key

    @cached_property
    def segments(self) -> list[re.Pattern[str]]:
        """One expression a segment."""
        return [_glob(segment) for segment in self.key.removesuffix("/").split("/")] if self.key else []

    def parts(self, key: str) -> list[str] | None:
        """A key's segments, as many as the form has, where their number fits."""
        if not self.key:
            return []
        parts = key.split("/", len(self.segments)) if self.is_prefix else key.split("/")
        return parts if len(parts) == len(self.segments) + self.is_prefix else None

    def matches(self, key: str) -> bool:
        """Whether a key is of this form."""
        parts = self.parts(key)
        return parts is not None and all(
            pattern.fullmatch(part) for pattern, part in zip(self.segments, parts, strict=False)
        )


@dataclass(frozen=True)
class ObjectTemplate:
    """Where a contributor's objects are: a form of key with one identity in it.

    Args:
        text: As the data map writes it; also the place in counts.
        bucket: The bucket.
        before: What comes before the identity in the key; ``*`` stands for anything but a slash.
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
            ValueError: It is not ``s3://bucket/key`` with exactly one placeholder, or none can tell where that ends.
        """
        kinds = [str(kind) for kind in IdentityKind]
        address = _ADDRESS.fullmatch(text)
        found = list(_PLACEHOLDER.finditer(address[2])) if address else []
        if address is None or len(found) != 1 or found[0][1] not in kinds:
            placeholders = ", ".join(f"{{{kind}}}" for kind in kinds)
            raise ValueError(f"{text!r} has to be s3://bucket/key with exactly one of {placeholders}")
        before, after = address[2][: found[0].start()], address[2][found[0].end() :]
        if before.endswith("*") or after.startswith("*"):
            raise ValueError(
                f"{text!r}: with * beside the placeholder, 12 would also find 123: put a separator between"
            )
        return cls(text, address[1], before, IdentityKind(found[0][1]), after)

    @cached_property
    def form(self) -> KeyPattern:
        """The form of its keys, whoever's they are."""
        return KeyPattern(f"{self.before}*{self.after}")

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for everything below."""
        return self.after.endswith("/")

    @property
    def scanned(self) -> str | None:
        """What is listed once for all people, since their keys cannot be made: a ``*``, or an email in any case.

        None where each identity makes its own prefix or key.
        """
        if "*" in self.before:
            return self.before.partition("*")[0]
        return self.before if self.kind is IdentityKind.EMAIL else None

    @property
    def is_exact(self) -> bool:
        """Whether an identity makes one whole key."""
        return self.scanned is None and not self.is_prefix and "*" not in self.after

    @property
    def may_confuse(self) -> bool:
        """Whether a ``*`` shares the identity's segment: then ``12`` and ``12-3`` are told apart by nothing."""
        return "*" in self.before.rpartition("/")[2] + self.after.partition("/")[0]

    def made(self, identities: IdentitySet) -> list[str]:
        """The prefixes, or whole keys, that these people's identities make."""
        head = self.after.partition("*")[0]
        return [f"{self.before}{value}{head}" for value in identities.spellings([self.kind]) if not is_crooked(value)]

    def names(self, key: str, identities: IdentitySet) -> bool:
        """Whether a key is of this form, with one of the identities in it; identities are data, whatever they hold."""
        return any(identities.holds(reading, [self.kind]) for reading in self.readings(key))

    def readings(self, key: str) -> Iterator[str]:
        """What may be the identity in a key; nothing where the key is not of this form."""
        parts = self.form.parts(key)
        own = self.before.count("/")
        if parts is None or not all(
            number == own or pattern.fullmatch(part)
            for number, (pattern, part) in enumerate(zip(self.form.segments, parts, strict=False))
        ):
            return
        segment = parts[own]
        before, after = self._around
        starts = [at for at in _cuts(before, segment) if _glob(before).fullmatch(segment, 0, at)]
        ends = [len(segment) - at for at in _cuts(after, segment) if _glob(after).fullmatch(segment, len(segment) - at)]
        for start in starts:
            yield from (value for end in ends if start < end and not is_crooked(value := segment[start:end]))

    @property
    def _around(self) -> tuple[str, str]:
        """What stands before and after the identity in its own segment."""
        return self.before.rpartition("/")[2], self.after.partition("/")[0]


def is_crooked(identity: str) -> bool:
    """Whether an identity cannot be a folder's name: with a slash it would reach into somebody else's folder."""
    return "/" in identity or identity in ("", ".", "..")


def _cuts(glob: str, segment: str) -> Iterator[int]:
    """How many characters the part of a segment that a glob stands for may have."""
    return iter(range(len(segment) + 1)) if "*" in glob else iter((len(glob),))


def _glob(glob: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(part) for part in glob.split("*")), re.DOTALL)


def _is_template(text: str) -> str:
    ObjectTemplate.parse(text)
    return text


def _is_place(text: str) -> str:
    address = _ADDRESS.fullmatch(text)
    if address is None or "{" in address[2]:
        raise ValueError(f"{text!r} has to be s3://bucket/key without a placeholder: identities are in the text")
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ContentRule(StrictModel):
    """Text objects that are read, and searched for identities.

    Args:
        objects: ``s3://bucket/notes/`` for everything below, or a form such as ``s3://bucket/notes/*/*.txt``.
        holds: The kinds of identity to look for; one counts only where it stands by itself.
        then: What happens to an object with one in it: it goes, or is written anew with tokens in their place.
        max_bytes: Larger objects are not looked at, and reported.
    """

    objects: Annotated[str, AfterValidator(_is_place)]
    holds: Annotated[tuple[IdentityKind, ...], BeforeValidator(_as_list), Field(min_length=1)]
    then: Literal["delete", "mask"]
    max_bytes: Annotated[int, Field(gt=0, le=16 * 1024 * 1024)] = 1024 * 1024

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.objects.removeprefix("s3://").partition("/")[0]

    @property
    def place(self) -> str:
        """The place in counts."""
        return f"{self.objects} (content)"

    @cached_property
    def form(self) -> KeyPattern:
        """The form of its keys."""
        return KeyPattern(self.objects.removeprefix("s3://").partition("/")[2])


class S3Map(StrictModel):
    """S3's part of the data map.

    Args:
        objects: Templates such as ``s3://bucket/contributors/{contributor_id}/``.
        content: Text objects that are searched.
    """

    objects: list[Annotated[str, AfterValidator(_is_template)]]
    content: tuple[ContentRule, ...] = ()

    @property
    def templates(self) -> list[ObjectTemplate]:
        """The templates."""
        return [ObjectTemplate.parse(text) for text in self.objects]

    @property
    def named(self) -> list[ObjectTemplate | ContentRule]:
        """Templates and rules."""
        return [*self.templates, *self.content]

    @property
    def buckets(self) -> list[str]:
        """Every bucket that it names, once."""
        return list(dict.fromkeys(each.bucket for each in self.named))

    @property
    def places(self) -> list[str]:
        """Every place of counts."""
        return [*self.objects, *(rule.place for rule in self.content)]
