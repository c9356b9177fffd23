"""What an erasure makes of one document. Pure: a document in, the masked document out, nothing else of it changed."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, RootModel, model_validator

from activities.identities import IdentitySet
from activities.masking import CONSTANT, Masker, Strategy, is_mask, is_number_mask
from activities.rules import Field, FieldRule

Json = Any
"""A JSON value as `ExactJson` reads it: fractions are `Decimal`."""

Rules = Mapping[str, FieldRule]
"""Field rules by dotted path."""


class ElasticsearchMap(RootModel[dict[str, dict[str, Field]]]):
    """Index patterns, each with the fields of its documents: dotted path and rule.

    A pattern is a name, an alias, a data stream or a wildcard. Where two patterns name the same index, their fields
    add up; for a field that both name, the later one counts. `beside` names a field of the same object.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _fits(self) -> ElasticsearchMap:
        for pattern, rules in self.root.items():
            if not re.fullmatch(r"[^\s,/\\?\"<>|#+_-][^\s,/\\?\"<>|#]*", pattern):
                raise ValueError(
                    f"{pattern!r} cannot be an index, an alias or a pattern with *; write one name a table"
                )
            if not rules:
                raise ValueError(f"{pattern!r} names no field")
            for path, rule in rules.items():
                _check(pattern, path, rule, rules)
        return self


def _check(pattern: str, path: str, rule: FieldRule, rules: Rules) -> None:
    if not all(path.split(".")) or "*" in path or path.startswith("_"):
        raise ValueError(f"{pattern!r}: {path!r} is not a field's full dotted path")
    if rule.beside is None:
        return
    neighbour = rules.get(rule.beside)
    if neighbour is None or not neighbour.holds:
        raise ValueError(f"{pattern!r}: {path!r} stands beside {rule.beside!r}, which has no rule with `holds`")
    if path.rpartition(".")[0] != rule.beside.rpartition(".")[0]:
        raise ValueError(f"{pattern!r}: {path!r} and {rule.beside!r} are not fields of the same object")


class OutOfRangeError(Exception):
    """A number that no mask of its type can stand for.

    Args:
        path: Its field.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True)
class WholeNumber:
    """A field type of whole numbers that takes a mask's number.

    Args:
        bits: Its width.
        signed: Whether it has negative ones.
    """

    bits: int
    signed: bool = True


Numbers = Mapping[str, WholeNumber]
"""Fields of whole numbers by dotted path."""

_REMOVED = object()
"""Stands for a value that goes away."""

_Hits = dict[str, list[bool] | None]
"""Which fields held an identity; for an array, which of its elements."""


class DocumentMask:
    """Masks the identities of a slice in documents.

    Arrays, arrays of arrays, objects in arrays and dotted keys (``{"a.b": 1}``) are all the same field to
    Elasticsearch, and so they are here. A field `beside` another is masked in the same object only; where both are
    arrays of one length, only at the positions that held an identity.

    Args:
        rules: The fields.
        identities: Whom to mask.
        masker: Computes the tokens.
        numbers: Fields whose tokens have to be numbers.
    """

    def __init__(self, rules: Rules, identities: IdentitySet, masker: Masker, numbers: Numbers) -> None:
        self._identities = identities
        self._masker = masker
        self._numbers = numbers
        self._holding = {path: rule for path, rule in rules.items() if rule.holds}
        self._beside = {path: rule for path, rule in rules.items() if rule.beside is not None}
        self._finders = {
            path: identities.finder(rule.holds) for path, rule in self._holding.items() if rule.mask is Strategy.TEXT
        }
        self._objects = {
            ".".join(parts[:length]) for path in rules for parts in [path.split(".")] for length in range(1, len(parts))
        }

    def __call__(self, source: dict[str, Json]) -> dict[str, Json]:
        """The masked document; the very same object where nothing has to change.

        Raises:
            OutOfRangeError: A number cannot be masked.
        """
        return self._object(source, "")

    def _object(self, node: dict[str, Json], prefix: str) -> dict[str, Json]:
        hits: _Hits = {}
        masked = self._mask_holding(node, prefix, hits)
        return self._mask_beside(masked, prefix, hits) if hits else masked

    def _mask_holding(self, node: dict[str, Json], prefix: str, hits: _Hits) -> dict[str, Json]:
        changes: dict[str, Json] = {}
        for key, value in node.items():
            path = prefix + key
            new = value
            if path in self._holding:
                new, which = self._field(value, path)
                if new is not value:
                    hits[path] = None if path in hits else which
            if path in self._objects and new is not _REMOVED:
                new = self._descend(new, f"{path}.", hits)
            changes[key] = new
        return _changed(node, changes)

    def _descend(self, value: Json, prefix: str, hits: _Hits) -> Json:
        """Goes into what stands between a document and its fields; an object in an array is one of its own."""
        if isinstance(value, dict):
            return self._mask_holding(value, prefix, hits)
        if isinstance(value, list):
            return self._elements(value, prefix)
        return value

    def _elements(self, array: list[Json], prefix: str) -> list[Json]:
        new = [
            self._object(element, prefix)
            if isinstance(element, dict)
            else self._elements(element, prefix)
            if isinstance(element, list)
            else element
            for element in array
        ]
        return _array(array, new)

    def _mask_beside(self, node: dict[str, Json], prefix: str, hits: _Hits) -> dict[str, Json]:
        changes: dict[str, Json] = {}
        for key, value in node.items():
            path = prefix + key
            rule = self._beside.get(path)
            new = value
            if rule is not None and rule.beside in hits:
                new = self._neighbour(value, path, rule.mask, hits[rule.beside])
            elif path in self._objects and isinstance(value, dict):
                new = self._mask_beside(value, f"{path}.", hits)
            changes[key] = new
        return _changed(node, changes)

    def _field(self, value: Json, path: str) -> tuple[Json, list[bool] | None]:
        """Masks the identities in one field's value; also says which elements of its array held one."""
        if isinstance(value, dict):  # a flattened field, or an object as a whole
            return _changed(value, {key: self._field(member, path)[0] for key, member in value.items()}), None
        if not isinstance(value, list):
            return self._scalar(value, path), None
        new = [self._field(element, path)[0] for element in value]
        return _array(value, new), [after is not before for after, before in zip(new, value, strict=True)]

    def _scalar(self, value: Json, path: str) -> Json:
        if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
            return value
        rule = self._holding[path]
        text = plain(value)
        if rule.mask is Strategy.TEXT:
            masked = self._masker.text(text, self._finders[path])
            return value if masked == text else masked
        if is_mask(text) or not self._identities.holds(text, rule.holds):
            return value
        return self._replacement(value, text, path, rule.mask)

    def _neighbour(self, value: Json, path: str, mask: Strategy, which: list[bool] | None) -> Json:
        if isinstance(value, list) and which is not None and len(which) == len(value):
            new = [self._whole(each, path, mask) if hit else each for each, hit in zip(value, which, strict=True)]
            return _array(value, new)
        return self._whole(value, path, mask)

    def _whole(self, value: Json, path: str, mask: Strategy) -> Json:
        """Masks a value whatever it is; arrays and objects keep their shape, since the mapping knows it."""
        if mask is Strategy.REMOVE:
            return _REMOVED
        if isinstance(value, list):
            return _array(value, [self._whole(element, path, mask) for element in value])
        if isinstance(value, dict):
            return _changed(value, {key: self._whole(member, path, mask) for key, member in value.items()})
        if value is None or (isinstance(value, str) and is_mask(value)):
            return value
        return self._replacement(value, text_of(value) if isinstance(value, bool) else plain(value), path, mask)

    def _replacement(self, value: Json, text: str, path: str, mask: Strategy) -> Json:
        match mask:
            case Strategy.NULL:
                return None
            case Strategy.REMOVE:
                return _REMOVED
            case Strategy.CONSTANT:
                return CONSTANT
            case _:
                number = self._numbers.get(path)
                # what is no number in such a field was ignored by the index, and so is its token
                if number is None or not _WHOLE.fullmatch(text):
                    return self._masker.token(text)
                return self._number(value, int(text), path, number)

    def _number(self, value: Json, number: int, path: str, kind: WholeNumber) -> Json:
        if is_number_mask(number, kind.bits, signed=kind.signed):
            return value
        try:
            return self._masker.number(number, kind.bits, signed=kind.signed)
        except ValueError:
            raise OutOfRangeError(path) from None


_WHOLE = re.compile(r"-?[0-9]{1,20}")
_DIGITS = 20


def plain(value: str | int | Decimal) -> str:
    """A value as identities are told: 12.0 and 1.2E1 are the number 12."""
    if isinstance(value, Decimal) and value.adjusted() < _DIGITS and value == value.to_integral_value():
        return str(int(value))
    return str(value)


def _array(array: list[Json], new: list[Json]) -> list[Json]:
    """The new array without what goes away; the very same array where no element changed."""
    if all(after is before for after, before in zip(new, array, strict=True)):
        return array
    return [element for element in new if element is not _REMOVED]


def _changed(node: dict[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The object with some values replaced, its keys in their order; the very same object where none changed."""
    if all(new is node[key] for key, new in changes.items()):
        return node
    return {key: new for key, value in node.items() if (new := changes.get(key, value)) is not _REMOVED}


_NONCE = secrets.token_hex(12)
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=lambda number: f"{_NONCE}{number}{_NONCE}")
_NUMBER = re.compile(rf'"{_NONCE}([^"]+){_NONCE}"')


def text_of(document: Json) -> str:
    """A JSON value as text, in ASCII, fractions digit by digit as they were read."""
    text = _ENCODER.encode(document)
    return _NUMBER.sub(r"\1", text) if _NONCE in text else text
