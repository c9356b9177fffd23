"""The SQL that finds, masks and unmasks the rows of one table.

A row is found by a subquery over the batch's values, never by literals: those would stay readable in
``system.mutations``. One query a field finds the values; from then on a row is to be masked if it holds one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from activities.identities import BLANKS, IdentityKind
from activities.masking import CONSTANT, Strategy
from activities.stores.clickhouse.cluster import literal, quote
from activities.stores.clickhouse.expressions import Beside, Change, Test, changed, holds, text, texts
from activities.stores.clickhouse.fields import Table, TableField
from activities.stores.clickhouse.shapes import ArrayOf, Leaf

SENT = "(SELECT unhex(value) FROM sent WHERE name = {name})"
"""Values that came along with the query."""

WORD = "[a-z0-9_]+"

MASK = f"^{CONSTANT}(-[a-z2-7]{{26}})?$"


def among(names: Collection[str]) -> Test:
    """Whether a text is one of those sent along under some names; emails as `identities.normal` has them."""

    def test(value: str) -> str:
        tests = []
        for name in names:
            compared = value
            if name == IdentityKind.EMAIL:
                compared = f"lowerUTF8(trim(BOTH {literal(BLANKS)} FROM {value}))"
            tests.append(f"{compared} IN {SENT.replace('{name}', literal(name))}")
        return f"({' OR '.join(tests)})"

    return test


def may_hold(words: bool, others: Collection[str]) -> Test:
    """Whether identities may stand inside of a text; it is read then.

    Args:
        words: Whether words of identities were sent along.
        others: Conditions of a text, as patterns; one of them is enough.
    """

    def test(value: str) -> str:
        tests = [f"match({value}, {literal(pattern)})" for pattern in others]
        if words:
            found = f"extractAll(lowerUTF8(replaceAll({value}, 'İ', 'i')), {literal(WORD)})"
            sent = SENT.replace("{name}", "'word'")
            tests.append(f"arrayExists(erasure_word -> erasure_word IN {sent}, {found})")
        return f"({' OR '.join(tests) or 'false'})"

    return test


def values(table: Table, each: TableField, test: Test, holder: Test | None = None) -> str:
    """The distinct texts of a field that pass a test, in hexadecimal.

    Args:
        table: The table.
        each: The field.
        test: Of the field's own texts; for one that stands beside another, any of them passes.
        holder: Passed by the texts that it stands beside.
    """
    found = (
        _texts_beside(table, each, holder) if holder is not None else texts(each.shape, quote(each.column), each.path)
    )
    inner = f"SELECT arrayJoin({found}) AS erasure_text FROM {table.source}"
    return f"SELECT DISTINCT hex(erasure_text) FROM ({inner}) WHERE {test('erasure_text')}"


def distinct(table: Table, each: TableField) -> str:
    """The distinct texts of a field that are no masks, in hexadecimal; grouped, so that many of them fit.

    Args:
        table: The table.
        each: The field.
    """
    inner = f"SELECT arrayJoin({texts(each.shape, quote(each.column), each.path)}) AS erasure_text FROM {table.source}"
    kept = f"erasure_text != '' AND NOT match(erasure_text, {literal(MASK)})"
    return f"SELECT hex(erasure_text) FROM ({inner}) WHERE {kept} GROUP BY erasure_text"


def _texts_beside(table: Table, each: TableField, test: Test) -> str:
    assert each.rule.beside is not None, "the field stands beside another"
    holder = table.fields[each.rule.beside]
    column = quote(each.column)
    if each.column == holder.column:
        return texts(each.shape, column, each.path, Beside(holder.path, test))
    if _side_by_side(each, holder):
        assert isinstance(each.shape, ArrayOf), "a column of a Nested"
        assert isinstance(holder.shape, ArrayOf), "a column of a Nested"
        condition = holds(holder.shape.of, "erasure_h", holder.path, test, 1)
        inner = texts(each.shape.of, "erasure_v", each.path, None, 1)
        return (
            f"arrayFlatten(arrayMap((erasure_v, erasure_h) -> if({condition}, {inner}, []), "
            f"{column}, {quote(holder.column)}))"
        )
    return f"if({_holds(holder, test)}, {texts(each.shape, column, each.path)}, [])"


def _side_by_side(each: TableField, other: TableField) -> bool:
    """Whether two columns are of one Nested: element belongs to element."""
    prefixes = [column.rpartition(".")[0] for column in (each.column, other.column)]
    return prefixes[0] == prefixes[1] != ""


def _holds(each: TableField, test: Test) -> str:
    return holds(each.shape, quote(each.column), each.path, test)


def row_condition(table: Table, names: Collection[str], test_of: dict[str, Test]) -> str:
    """When a row holds one of a field's values, for some fields."""
    return " OR ".join(_holds(table.fields[name], test_of[name]) for name in names) or "false"


def count(table: Table, names: Collection[str]) -> str:
    """How many rows hold one of the values that were sent along under the fields' labels."""
    return f"SELECT count() FROM {table.source} WHERE {_sent(table, names)}"


def count_by_part(table: Table, names: Collection[str]) -> str:
    """The same by part, in hexadecimal with its server: a mutation writes whole parts anew."""
    part = "hex(concat(hostName(), ' ', _part))"
    return f"SELECT {part} AS id, count() FROM {table.source} WHERE {_sent(table, names)} GROUP BY id"


def _sent(table: Table, names: Collection[str]) -> str:
    """When a row holds one of the values that were sent along."""
    return row_condition(table, names, {name: among([table.label(name)]) for name in names})


@dataclass(frozen=True)
class Masks:
    """The batch's staging table of masks, read in one direction.

    Args:
        table: The table, quoted.
        back: Whether masks become values again.
    """

    table: str
    back: bool = False

    def test(self, label: str) -> Test:
        """Whether a text is a value of a field to be replaced."""
        column = "mask" if self.back else "value"
        return lambda value: f"{value} IN (SELECT {column} FROM {self.table} WHERE field = {literal(label)})"

    def replace(self, label: str) -> str:
        """Two arrays: texts, and what stands for them.

        Sorted as pairs, since two subqueries may read the rows in two orders.
        """
        read = f"FROM {self.table} WHERE field = {literal(label)}"
        pairs = [
            f"(SELECT arrayMap(pair -> pair.{number}, arraySort(groupUniqArray((value, mask)))) {read})"
            for number in ((2, 1) if self.back else (1, 2))
        ]
        return ", ".join(pairs)


def new_columns(table: Table, names: Collection[str], masks: Masks) -> dict[str, str]:
    """The columns that hold some fields, each as an expression of its new value.

    Args:
        table: The table.
        names: Fields of which values are staged.
        masks: The staged values.
    """
    by_column: dict[str, list[TableField]] = {}
    for name in names:
        by_column.setdefault(table.fields[name].column, []).append(table.fields[name])
    return {column: _new_column(table, column, fields, masks) for column, fields in by_column.items()}


def _new_column(table: Table, column: str, fields: list[TableField], masks: Masks) -> str:
    inner: list[Change] = []
    outer: list[tuple[TableField, Change]] = []
    for each in fields:
        label = table.label(each.name)
        drops = masks.test(label) if each.rule.mask is Strategy.REMOVE else None
        change = Change(each.path, _replacing(each, masks, label), drops)
        holder = table.fields[each.rule.beside] if each.rule.beside and not each.inside and not masks.back else None
        if holder is None:
            inner.append(change)
        elif holder.column == column:
            beside = Beside(holder.path, masks.test(table.label(holder.name)))
            inner.append(Change(each.path, change.apply, drops, beside))
        else:
            outer.append((holder, change))
    shape, value = fields[0].shape, quote(column)
    value = changed(shape, value, inner)
    for holder, change in outer:
        test = masks.test(table.label(holder.name))
        if _side_by_side(fields[0], holder) and isinstance(shape, ArrayOf) and isinstance(holder.shape, ArrayOf):
            condition = holds(holder.shape.of, "erasure_h", holder.path, test, 1)
            each_value = changed(shape.of, "erasure_v", [change], 1)
            pair = f"(erasure_v, erasure_h) -> if({condition}, {each_value}, erasure_v)"
            value = f"arrayMap({pair}, {value}, {quote(holder.column)})"
        else:
            value = f"if({_holds(holder, test)}, {changed(shape, value, [change])}, {value})"
    return value


def _replacing(each: TableField, masks: Masks, label: str) -> Callable[[Leaf, str], str]:
    def apply(leaf: Leaf, value: str) -> str:
        plain = text(leaf, value)
        if each.rule.mask is Strategy.NULL and not each.inside:
            return f"if({masks.test(label)(plain)}, NULL, {value})"
        new = f"CAST(transform({plain}, {masks.replace(label)}, {plain}) AS {leaf.type})"
        return f"if({masks.test(label)(plain)}, {new}, {value})"

    return apply


def staged_rows(table: Table, names: Collection[str], masks: Masks) -> str:
    """When a row holds a staged value: backwards of any field, forwards of one that stands beside no other."""
    looked = [name for name in names if masks.back or table.fields[name].holds]
    return row_condition(table, looked, {name: masks.test(table.label(name)) for name in looked})


def mutation(table: Table, names: Collection[str], masks: Masks, on: str = "") -> str:
    """The one mutation of a table: every staged value of some fields is replaced.

    Replicas of a table take no subquery in a mutation unless told that it reads the same on each of them.

    Args:
        table: The table.
        names: Fields of which values are staged.
        masks: The staged values.
        on: Which servers.
    """
    updates = ", ".join(f"{quote(column)} = {new}" for column, new in new_columns(table, names, masks).items())
    rows = staged_rows(table, names, masks)
    settings = "SETTINGS allow_nondeterministic_mutations = 1"
    return f"ALTER TABLE {quote(table.name)}{on} UPDATE {updates} WHERE {rows} {settings}"
