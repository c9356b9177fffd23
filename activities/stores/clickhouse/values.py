"""The values that a batch finds in a table, each with its mask: the reverse mapping of what is to come."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from activities.contract import Slice
from activities.errors import CriticalError
from activities.identities import IdentityKind, IdentitySet
from activities.masking import CONSTANT, IdentityFinder, Masker, Strategy, is_mask, is_number_mask, lower
from activities.rules import FieldRule
from activities.stores.clickhouse import masking
from activities.stores.clickhouse.connection import Client, text_of
from activities.stores.clickhouse.expressions import Path, Test
from activities.stores.clickhouse.fields import Table, TableField
from activities.stores.clickhouse.json_text import NotJSONError, Value, spliced
from activities.stores.clickhouse.json_text import values as json_values

_WORD = re.compile(masking.WORD)
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_NOT_ASCII = "[^\\x00-\\x7f]"


@dataclass(frozen=True)
class People:
    """The batch's identities.

    Args:
        known: All of them.
        sent: By kind and in the forms in which ClickHouse may compare them.
    """

    known: IdentitySet
    sent: list[tuple[str, str]]
    _finders: dict[tuple[IdentityKind, ...], IdentityFinder] = field(default_factory=dict)

    @classmethod
    async def of(cls, part: Slice) -> People:
        """Reads the batch."""
        known = IdentitySet([contributor async for page in part.pages() for contributor in page])
        return cls(known, [(str(kind), value) for kind in IdentityKind for value in known.normalized(kind)])

    def finder(self, kinds: tuple[IdentityKind, ...]) -> IdentityFinder:
        """Finds identities of some kinds in texts."""
        if kinds not in self._finders:
            self._finders[kinds] = self.known.finder(kinds)
        return self._finders[kinds]


Masked = dict[str, dict[str, str]]
"""Of each field the values found, and their masks."""


async def find(client: Client, table: Table, people: People, masker: Masker | None) -> Masked:
    """Finds the values of a table that are to be masked.

    Args:
        client: The client.
        table: The table.
        people: Whose.
        masker: Makes the masks; without it the values alone are wanted, and their masks are empty.
    """
    found: Masked = {}
    for each in table.fields.values():
        pairs = {value: mask async for value, mask in _find(client, table, each, people, masker, found)}
        if pairs:
            found[each.name] = pairs
    return found


async def _find(
    client: Client, table: Table, each: TableField, people: People, masker: Masker | None, found: Masked
) -> AsyncIterator[tuple[str, str]]:
    sent: list[tuple[str, str]]
    if each.searched:
        kinds = tuple(kind for rule in (each.inside.values() or [each.rule]) for kind in rule.holds)
        test, sent = _candidates(people, kinds)
        query = masking.values(table, each, test)
    elif each.rule.beside is None:
        sent = people.sent
        query = masking.values(table, each, masking.among(each.rule.holds))
    else:
        held = found.get(each.rule.beside)
        if not held:
            return
        label = table.label(each.rule.beside)
        sent = [(label, value) for value in held]
        query = masking.values(table, each, lambda value: f"{value} != ''", masking.among([label]))
    masks = _Masks(f"{table.name}.{each.name}", each, people, masker)
    async with aclosing(client.select(query, sent)) as rows:
        async for (value,) in rows:
            text = text_of(value)
            if (mask := masks.of(text)) is not None:
                yield text, mask


def _candidates(people: People, kinds: tuple[IdentityKind, ...]) -> tuple[Test, list[tuple[str, str]]]:
    """Which texts are read, since an identity may stand in them: those with a word that an identity has too.

    An identity stands by itself, so each of its words is a word of the text. Where there is a backslash the text may
    be JSON, in which letters are escaped.
    """
    words: set[str] = set()
    others = {"\\\\"}
    for kind in dict.fromkeys(kinds):
        for value in people.known.normalized(kind):
            if own := _WORD.findall(lower(value.partition("@")[0])):
                words.add(max(own, key=len))
            elif value.strip():
                others.add(_NOT_ASCII if not value.isascii() else "")
    return masking.may_hold(bool(words), others), [("word", word) for word in words]


class _Masks:
    """Makes the masks of a field.

    Args:
        place: Names the field.
        each: The field.
        people: Whose identities count.
        masker: Makes tokens, or None.
    """

    def __init__(self, place: str, each: TableField, people: People, masker: Masker | None) -> None:
        self._place = place
        self._field = each
        self._people = people
        self._masker = masker

    def of(self, value: str) -> str | None:
        """The mask of a value; None where it is not to be masked."""
        if self._field.inside:
            return self._in_json(value)
        rule = self._field.rule
        if rule.mask is Strategy.TEXT:
            return self._in_text(value, rule)
        if self._field.leaf.bits:
            return self._of_number(value)
        if is_mask(value) or (rule.beside is not None and value.startswith(CONSTANT)):
            return None
        return self._of_text(value, rule)

    def _of_text(self, value: str, rule: FieldRule) -> str:
        match rule.mask:
            case Strategy.CONSTANT:
                return CONSTANT
            case Strategy.NULL | Strategy.REMOVE:
                return ""
            case _:
                return self._masker.token(value) if self._masker else ""

    def _of_number(self, value: str) -> str | None:
        leaf, number = self._field.leaf, int(value)
        if is_number_mask(number, leaf.bits, signed=leaf.signed):
            return None
        if self._field.rule.mask is not Strategy.TOKEN:
            return ""
        return str(self._number(number, leaf.bits, signed=leaf.signed))

    def _number(self, value: int, bits: int, *, signed: bool) -> int:
        if self._masker is None:
            return 0
        try:
            return self._masker.number(value, bits, signed=signed)
        except ValueError as error:
            raise CriticalError(self._place, f"a number {error}", "Widen its type, or take it out.") from None

    def _in_text(self, value: str, rule: FieldRule) -> str | None:
        """Each identity of a text replaced; in JSON in each of its texts, names and numbers, so that it stays JSON."""
        finder = self._people.finder(rule.holds)
        try:
            pieces = json_values(value)
        except NotJSONError:
            if next(finder.spans(value), None) is None:
                return None
            return self._masker.text(value, finder) if self._masker else ""
        changes: dict[tuple[int, int], str] = {}
        for piece in pieces:
            if isinstance(piece.held, str):
                if next(finder.spans(piece.held), None) is not None:
                    changes[piece.start, piece.end] = _quoted(self._token_in(piece.held, finder))
            elif (text := _text(piece.held)) is not None and self._people.known.holds(text, rule.holds):
                changes[piece.start, piece.end] = str(self._number(int(text), 64, signed=True))
        return spliced(value, changes) if changes else None

    def _token_in(self, text: str, finder: IdentityFinder) -> str:
        return self._masker.text(text, finder) if self._masker else ""

    def _in_json(self, value: str) -> str | None:
        """The places of a JSON text that rules name, replaced where they hold an identity, or stand beside one."""
        try:
            pieces = [piece for piece in json_values(value) if not piece.is_name]
        except NotJSONError:
            return None
        rules = self._field.inside
        held = {
            piece.steps: piece
            for piece in pieces
            if (rule := rules.get(piece.names)) and rule.beside is None and self._identifies(piece, rule)
        }
        changes = {
            (piece.start, piece.end): _quoted(self._replaced(piece, rule))
            for piece in pieces
            if (rule := rules.get(piece.names)) is not None
            and (piece.steps in held or (rule.beside is not None and self._stands_beside(piece, rule, held)))
        }
        return spliced(value, changes) if changes else None

    def _identifies(self, piece: Value, rule: FieldRule) -> bool:
        text = _text(piece.held)
        if text is None or is_mask(text):
            return False
        if rule.mask is Strategy.TEXT:
            return next(self._people.finder(rule.holds).spans(text), None) is not None
        return self._people.known.holds(text, rule.holds)

    def _stands_beside(self, piece: Value, rule: FieldRule, held: Mapping[tuple[str | int, ...], Value]) -> bool:
        text = _text(piece.held)
        if not text or text.startswith(CONSTANT) or rule.beside is None:
            return False
        path: Path = tuple(rule.beside[len(self._field.column) + 1 :].split("."))
        return any(other.names == path and _together(piece, other) for other in held.values())

    def _replaced(self, piece: Value, rule: FieldRule) -> str | int | None:
        text = _text(piece.held) or ""
        if rule.mask is Strategy.NULL:
            return None
        if rule.mask is Strategy.TEXT:
            return self._token_in(text, self._people.finder(rule.holds))
        if isinstance(piece.held, int) and rule.mask is Strategy.TOKEN:
            return self._number(piece.held, 64, signed=True)
        return self._of_text(text, rule)


def _together(piece: Value, other: Value) -> bool:
    """Whether two values stand in the same object, down to where their paths part."""
    for one, two in zip(piece.steps, other.steps, strict=False):
        if one != two:
            return isinstance(one, str)
    return True


def _text(held: str | int | float | bool | None) -> str | None:
    """What identities are compared with; a number as it is written."""
    return str(held) if isinstance(held, str | int) and not isinstance(held, bool) else None


def _quoted(held: str | int | None) -> str:
    """A value as JSON; halves of letters, which no encoding has, stay escaped."""
    return json.dumps(held, ensure_ascii=isinstance(held, str) and _HALF.search(held) is not None)
