"""Redis's part of the data map: keys that go whole, and keys whose content is masked."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    RootModel,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.rules import StrictModel
from activities.stores.redis.forms import Glob, KeyTemplate


class Part(StrEnum):
    """What of a key's content holds identities.

    values     the text of a string, or the values of a hash's fields
    fields     the names of a hash's fields
    members    the members of a set or sorted set
    elements   the elements of a list
    entries    the values in a stream's entries
    """

    VALUES = "values"
    FIELDS = "fields"
    MEMBERS = "members"
    ELEMENTS = "elements"
    ENTRIES = "entries"

    @property
    def types(self) -> tuple[str, ...]:
        """The types of key that have it, in Redis's words."""
        return _TYPES[self]


_TYPES = {
    Part.VALUES: ("string", "hash"),
    Part.FIELDS: ("hash",),
    Part.MEMBERS: ("set", "zset"),
    Part.ELEMENTS: ("list",),
    Part.ENTRIES: ("stream",),
}

_MASKS = {
    Part.VALUES: (Strategy.TOKEN, Strategy.CONSTANT, Strategy.NULL, Strategy.REMOVE, Strategy.TEXT),
    Part.FIELDS: (Strategy.REMOVE, Strategy.TOKEN, Strategy.TEXT),
    Part.MEMBERS: (Strategy.REMOVE, Strategy.TOKEN, Strategy.TEXT),
    Part.ELEMENTS: (Strategy.TOKEN, Strategy.TEXT, Strategy.REMOVE),
    Part.ENTRIES: (Strategy.TOKEN, Strategy.CONSTANT, Strategy.NULL, Strategy.TEXT, Strategy.REMOVE),
}
"""The masks that a part takes; the first one unless said otherwise. Names and members have to stay distinct."""

_FOR_GOOD = {(Part.ELEMENTS, Strategy.REMOVE), (Part.ENTRIES, Strategy.REMOVE)}
"""What cannot be undone: nothing says where between others an element was, and a stream takes no earlier entry."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _is_glob(text: str) -> str:
    Glob.parse(text)
    return text


Kinds = Annotated[tuple[IdentityKind, ...], BeforeValidator(_as_list)]


class ContentRule(StrictModel):
    """Keys that stay, and lose the identities that they hold.

    Exactly one part is named, with the kinds of identity in it: ``{ key = "online:*", members = "worker_id" }``.

    Args:
        key: The keys' form: ``*`` stands for anything.
        values: Of `Part`.
        fields: Of `Part`.
        members: Of `Part`.
        elements: Of `Part`.
        entries: Of `Part`.
        only: With `values` and `entries`: the names of the fields that are looked at; all of them unless said.
        mask: How an identity is replaced. Members and fields go unless said otherwise, all else becomes a token.
    """

    key: Annotated[str, Field(min_length=1), AfterValidator(_is_glob)]
    values: Kinds = ()
    fields: Kinds = ()
    members: Kinds = ()
    elements: Kinds = ()
    entries: Kinds = ()
    only: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    mask: Strategy | None = None

    @model_validator(mode="after")
    def _is_sound(self, info: ValidationInfo) -> Self:
        parts = [part for part in Part if getattr(self, part)]
        if len(parts) != 1:
            raise ValueError(f"say which identity stands in exactly one of {', '.join(Part)}")
        if self.only and self.part not in (Part.VALUES, Part.ENTRIES):
            raise ValueError(f"`only` names fields: it goes with values or entries, not with {self.part}")
        masks = _MASKS[self.part]
        if self.how not in masks:
            raise ValueError(f'mask = "{self.how}" is not for {self.part}: use one of {", ".join(masks)}')
        if (self.part, self.how) in _FOR_GOOD and (info.context or {}).get("rollback", True):
            raise ValueError(
                f'mask = "{self.how}" of {self.part} cannot be undone: use another mask, or say rollback = false'
            )
        return self

    @cached_property
    def part(self) -> Part:
        """The part that is looked at."""
        return next(part for part in Part if getattr(self, part))

    @cached_property
    def kinds(self) -> tuple[IdentityKind, ...]:
        """The kinds of identity in it."""
        held: tuple[IdentityKind, ...] = getattr(self, self.part)
        return held

    @property
    def how(self) -> Strategy:
        """The mask."""
        return self.mask or _MASKS[self.part][0]

    @cached_property
    def form(self) -> Glob:
        """The form of its keys."""
        return Glob.parse(self.key)

    @property
    def place(self) -> str:
        """What it is named in counts, after its group."""
        only = f" of {', '.join(self.only)}" if self.only else ""
        return f"{self.key} ({self.part}{only})"

    def looks_at(self, field: str) -> bool:
        """Whether a field's value is looked at."""
        return not self.only or field in self.only


def _read(item: Any, as_rule: ValidatorFunctionWrapHandler) -> Any:
    """One item of a group: text is a template, a table is a rule; so an error speaks of the one that was meant."""
    if isinstance(item, str):
        KeyTemplate.parse(item)
        return item
    return as_rule(item)


if TYPE_CHECKING:
    Entry = str | ContentRule
else:
    Entry = Annotated[ContentRule, WrapValidator(_read)]


class RedisMap(RootModel[dict[str, Annotated[list[Entry], Field(min_length=1)]]]):
    """Redis's part of the data map: groups of key templates and of rules.

    ``session = ["session:{contributor_id}:*"]`` deletes keys,
    ``online = [{ key = "online:*", members = "worker_id" }]`` masks what keys hold.
    """

    @field_validator("root")
    @classmethod
    def _names_each_once(cls, root: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
        for group, items in root.items():
            names = [item if isinstance(item, str) else item.place for item in items]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{group}: {twice!r} is named twice")
        return root

    @cached_property
    def templates(self) -> dict[str, KeyTemplate]:
        """The templates of keys that go whole, by place: ``auth: auth:{contributor_id}``."""
        return {
            f"{group}: {item}": KeyTemplate.parse(item)
            for group, items in self.root.items()
            for item in items
            if isinstance(item, str)
        }

    @cached_property
    def rules(self) -> dict[str, ContentRule]:
        """The rules for keys that stay, by place: ``online: online:* (members)``."""
        return {
            f"{group}: {item.place}": item
            for group, items in self.root.items()
            for item in items
            if isinstance(item, ContentRule)
        }
