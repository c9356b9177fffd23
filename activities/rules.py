"""What a data map says of one field: which identity it holds, and by which mask that is replaced."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from activities.identities import IdentityKind
from activities.masking import Strategy


class StrictModel(BaseModel):
    """Base of the data map's tables: an unknown key is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_list(value: Any) -> Any:
    """One word where a list of them may stand."""
    return [value] if isinstance(value, str) else value


class FieldRule(StrictModel):
    """One field of a document or row.

    Args:
        holds: The kinds of identity found in it.
        beside: The field beside it that holds the identity, for a field that identifies nobody by itself.
        mask: How its value is replaced. A token of a number is a number: the type decides, not the data map.
    """

    holds: Annotated[tuple[IdentityKind, ...], BeforeValidator(as_list)] = ()
    beside: str | None = None
    mask: Strategy = Strategy.TOKEN

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.holds) == (self.beside is not None):
            raise ValueError("say either which identity the field `holds`, or which field it stands `beside`")
        if self.beside is not None and self.mask is Strategy.TEXT:
            raise ValueError('mask = "text" needs `holds`: which identities to look for in the text')
        return self


def _short_form(value: Any) -> Any:
    return {"holds": [value]} if isinstance(value, str) else value


Field = Annotated[FieldRule, BeforeValidator(_short_form)]
"""A field rule, or just the kind of identity: ``email = "email"``."""
