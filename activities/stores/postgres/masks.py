"""What a stored value becomes: one place that knows it, for the erasure and for the pre-image that undoes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from activities.identities import IdentityKind, IdentitySet
from activities.masking import CONSTANT, IdentityFinder, Masker, Strategy, is_mask, is_number_mask
from activities.stores.postgres.catalogue import Column, Family, Table
from activities.stores.postgres.data_map import Masking, path_parts
from activities.stores.postgres.literals import At, Change, Changed, Fate, change_elements, change_leaves, leaves

BITS = {"smallint": 16, "integer": 32, "bigint": 64}
"""Width of each type of whole numbers; in JSON they have none, and are masked as the widest are."""

_WHOLE = {Strategy.NULL: Fate.NULL, Strategy.REMOVE: Fate.REMOVED}


def find_column(table: Table, name: str) -> tuple[Column, tuple[str, ...]] | None:
    """The column of a name in the data map, and the keys below it where it is a path in JSON; None without such one."""
    if name in table.columns:
        return table.columns[name], ()
    first, *path = path_parts(name)
    column = table.columns.get(first)
    if column is None or (path and column.family is not Family.JSON):
        return None
    return column, tuple(path)


@dataclass(frozen=True)
class Mask:
    """What an entry of the data map wants of a column.

    Args:
        column: The column.
        path: The keys below it, in JSON; empty: all of it.
        strategy: How it is masked.
        holds: The kinds of identity by which its rows are found, or which are looked for in a text.
        by: The path by which the entry finds its rows, where that is in the same array or JSON: then only what holds
            an identity of the slice is masked, and what stands beside it. None: all of it is.
    """

    column: Column
    path: tuple[str, ...]
    strategy: Strategy
    holds: tuple[IdentityKind, ...]
    by: tuple[str, ...] | None

    @property
    def is_plain(self) -> bool:
        """Whether SQL alone can tell what is masked already: a column of one value, or one that becomes null."""
        if self.strategy is Strategy.NULL:
            return not self.path and self.by is None
        return not self.path and not self.column.array and self.strategy is not Strategy.TEXT


def masks_of(entry: Masking, table: Table) -> dict[str, Mask]:
    """What an entry wants of the columns that there are, by their names in the data map."""
    found = find_column(table, entry.by)
    wanted: dict[str, Mask] = {}
    for name, rule in entry.columns.items():
        if (place := find_column(table, name)) is None:
            continue
        column, path = place
        inside = found is not None and found[0] == column and (column.array or bool(path))
        by = found[1] if found is not None and inside else None
        wanted[name] = Mask(column, path, rule.mask, rule.holds or (entry.holds,), by)
    return wanted


class Masks:
    """Computes what stored values become.

    Args:
        masker: The batch's.
        people: The slice's identities: what is looked for in a text, and among several elements.
    """

    def __init__(self, masker: Masker, people: IdentitySet) -> None:
        self._masker = masker
        self._people = people
        self._finders: dict[tuple[IdentityKind, ...], IdentityFinder] = {}

    def of(self, text: str, masks: Collection[Mask]) -> str | None:
        """What a column's value becomes.

        Args:
            text: The value, as the server writes it.
            masks: All that is wanted of the column.

        Returns:
            The masked value, the same where nothing is to be masked; None for null.

        Raises:
            ValueError: A number is outside of what a mask can stand for.
        """
        if any(mask.strategy is Strategy.NULL and mask.is_plain for mask in masks):
            return None
        if places := [self._at(mask) for mask in masks if mask.path]:
            return change_leaves(text, places)
        for mask in masks:
            change = self._changing(mask, ours=mask.by is not None)
            if mask.column.array:
                text = change_elements(text, partial(_typed, mask.column, change))
            else:
                text = str(_typed(mask.column, change, text))
        return text

    def after(self, row: Mapping[str, str | None], masks: Mapping[str, Collection[Mask]]) -> dict[str, str | None]:
        """Those columns of a row that become something else.

        Args:
            row: The row, each column as text.
            masks: What is wanted of each column.

        Raises:
            ValueError: A number is outside of what a mask can stand for.
        """
        changed = {name: self.of(text, masks[name]) for name in masks if (text := row[name]) is not None}
        return {name: text for name, text in changed.items() if text != row[name]}

    def _changing(self, mask: Mask, *, ours: bool) -> Change:
        """Answers what becomes of a value; where only ours may change, of one that is an identity of the slice."""

        def change(value: str | int) -> Changed:
            return self._value(value, mask) if not ours or self._people.holds(str(value), mask.holds) else value

        return change

    def _at(self, mask: Mask) -> At:
        whole = _WHOLE.get(mask.strategy)
        if mask.by is None:
            return At(mask.path, self._changing(mask, ours=False), whole)
        if mask.path == mask.by:
            return At(mask.path, self._changing(mask, ours=True))
        pairs = list(zip(mask.path, mask.by, strict=False))
        shared = next((number for number, (one, other) in enumerate(pairs) if one != other), len(pairs))
        rest = mask.by[shared:]

        def where(part: Any) -> bool:
            return any(self._people.holds(leaf, mask.holds) for leaf in leaves(part, rest))

        return At(mask.path, self._changing(mask, ours=False), whole, shared, where)

    def _value(self, value: str | int, mask: Mask) -> Changed:
        """What one value becomes; a mask stays as it is."""
        bits = BITS.get(mask.column.element, 64)
        if is_mask(value) if isinstance(value, str) else is_number_mask(value, bits, signed=True):
            return value
        match mask.strategy:
            case Strategy.NULL | Strategy.REMOVE:
                return _WHOLE[mask.strategy]
            case Strategy.CONSTANT:
                return CONSTANT
            case Strategy.TEXT:
                if mask.holds not in self._finders:
                    self._finders[mask.holds] = self._people.finder(mask.holds)
                return self._masker.text(str(value), self._finders[mask.holds])
        return self._masker.token(value) if isinstance(value, str) else self._masker.number(value, bits, signed=True)


def _typed(column: Column, change: Change, text: str) -> Changed:
    return change(int(text) if column.family is Family.INTEGER else text)
