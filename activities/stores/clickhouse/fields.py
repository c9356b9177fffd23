"""Fields of the data map, found in a table's columns, and what forbids to mask them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.contract import Finding
from activities.identities import IdentityKind
from activities.masking import CONSTANT, TOKEN_LENGTH, Strategy
from activities.rules import FieldRule
from activities.stores.clickhouse.data_map import REVERSIBLE
from activities.stores.clickhouse.expressions import Path
from activities.stores.clickhouse.shapes import ArrayOf, Leaf, MapOf, Shape, TupleOf, leaves, parse
from activities.stores.clickhouse.streams import Stream


@dataclass(frozen=True)
class TableField:
    """A field in a table.

    Args:
        name: As the data map has it; of a JSON text, its column.
        rule: How it is masked; of a JSON text, the first of its rules.
        column: Its column.
        shape: The column's shape.
        path: To the field's values in there.
        inside: Rules of places in a JSON text; empty for any other field.
    """

    name: str
    rule: FieldRule
    column: str
    shape: Shape
    path: Path = ()
    inside: Mapping[Path, FieldRule] = field(default_factory=dict)

    @property
    def leaves(self) -> list[Leaf]:
        """What the path leads to."""
        return leaves(self.shape, self.path)

    @property
    def leaf(self) -> Leaf:
        """What the path leads to, where that is of one kind."""
        return self.leaves[0]

    @property
    def searched(self) -> bool:
        """Whether identities stand inside of its texts, and so are found by reading them."""
        return self.rule.mask is Strategy.TEXT or bool(self.inside)

    @property
    def holds(self) -> bool:
        """Whether identities are found in it, and not only beside it."""
        return any(rule.beside is None for rule in (self.inside.values() or [self.rule]))

    @property
    def reversible(self) -> bool:
        """Whether each of its masks stands for one value."""
        return all(rule.mask in REVERSIBLE for rule in (self.rule, *self.inside.values()))


@dataclass(frozen=True)
class Table:
    """A table to be masked.

    Args:
        name: Its name.
        source: Where its rows are read, of every server.
        fields: What the data map names of it, by name; those that others stand beside come first.
        rewritten: Whether a key holds one of them, so that the table has to be written anew.
        streams: Streams whose rows get into it.
    """

    name: str
    source: str
    fields: dict[str, TableField]
    rewritten: bool = False
    streams: tuple[Stream, ...] = ()

    def is_reversible(self, name: str) -> bool:
        """Whether the masks of a field can be undone; one that is not there any more holds none."""
        return name not in self.fields or self.fields[name].reversible

    def label(self, name: str) -> str:
        """What a field is called in the batch's staging table."""
        return f"{self.name}.{name}"


def resolve(rules: Mapping[str, FieldRule], columns: Mapping[str, dict[str, Any]]) -> dict[str, TableField]:
    """The fields that a table has, of those that the data map names."""
    found: dict[str, TableField] = {}
    inside: dict[str, dict[Path, FieldRule]] = {}
    for name, rule in rules.items():
        column, path = _locate(name, columns)
        if column is None:
            continue
        shape = parse(columns[column]["type"])
        if path and isinstance(shape, Leaf) and shape.text:
            inside.setdefault(column, {})[path] = rule
        elif leaves(shape, path):
            found[name] = TableField(name, rule, column, shape, path)
    for column, places in inside.items():
        first = next(iter(places.values()))
        found[column] = TableField(column, first, column, parse(columns[column]["type"]), inside=places)
    usable = {name: each for name, each in found.items() if each.holds or each.rule.beside in found}
    return dict(sorted(usable.items(), key=lambda item: not item[1].holds))


def _locate(name: str, columns: Mapping[str, Any]) -> tuple[str | None, Path]:
    """The column of a field, and the way in it: the longest name wins, for a column's own may have dots."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if (column := ".".join(parts[:count])) in columns:
            return column, tuple(parts[count:])
    return None, ()


def check(table: str, each: TableField, kind: str, in_key: bool, merges: bool) -> list[Finding]:
    """What forbids to mask a field.

    Args:
        table: The table's name.
        each: The field.
        kind: The kind of its column: what it is when nothing is said.
        in_key: Whether a key is made of its column.
        merges: Whether the table's engine merges rows by its column.
    """
    leaf, mask = each.leaf, each.rule.mask
    what: list[tuple[str, str]] = []
    kinds = {(leaf.text, leaf.bits, leaf.signed) for leaf in each.leaves}
    if len(kinds) > 1:
        what.append(("holds text and numbers", "Name one entry of it."))
    elif not leaf.text and not leaf.bits:
        what.append((f"is of type {leaf.type}, which takes no token", "Take it out, and erase it by hand."))
    elif leaf.bits and IdentityKind.EMAIL in each.rule.holds:
        what.append((f"is of type {leaf.type}, which holds no address", "Correct the data map."))
    elif leaf.bits and mask not in (Strategy.TOKEN, Strategy.NULL, Strategy.REMOVE):
        what.append((f'is a number, which mask = "{mask}" cannot be', "Use a token."))
    widest = {Strategy.TOKEN: TOKEN_LENGTH, Strategy.CONSTANT: len(CONSTANT)}.get(mask, 0)
    if each.searched or mask is Strategy.NULL or mask is Strategy.REMOVE:
        widest = 0
    if leaf.width and (widest > leaf.width or each.searched):
        what.append((f"is of type {leaf.type}, too narrow for its mask", "Make it a String."))
    if mask is Strategy.NULL and not each.inside and not leaf.nullable:
        what.append(("is not Nullable", 'Use mask = "constant".'))
    if mask is Strategy.REMOVE and (each.inside or not _removable(each)):
        what.append(("is no element of an array of its own and no entry of a map", "Use another mask."))
    if kind in ("MATERIALIZED", "ALIAS"):
        what.append((f"is a column of kind {kind}", "Name the columns that it is computed from."))
    if merges:
        what.append(("is a column by which the table's engine merges rows", "Take it out of the data map."))
    if in_key and not each.reversible:
        what.append(("is part of a key, where this mask would merge rows", 'Use mask = "token".'))
    return [Finding(f"{table}.{each.name}", said, remedy) for said, remedy in what]


def _removable(each: TableField) -> bool:
    """Whether a value can go: arrays of a Nested have to stay of one length."""
    shape: Shape = each.shape
    for step in each.path:
        match shape:
            case ArrayOf(of=TupleOf()):
                return False
            case MapOf(value=value):
                shape = value
            case TupleOf(names=names, of=elements):
                shape = elements[names.index(step)]
    nested = "." in each.column and not each.path
    return not nested and (isinstance(shape, ArrayOf) or isinstance(each.shape, MapOf))
