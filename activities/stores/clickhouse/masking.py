"""The SQL that finds and masks the rows of one table.

A row is found by a subquery over identities, never by literals: those would stay readable in ``system.mutations``.
"""

from __future__ import annotations

from activities.identities import IdentityKind
from activities.masking import CONSTANT
from activities.rules import FieldRule
from activities.stores.clickhouse.catalogue import Table
from activities.stores.clickhouse.connection import quote

SENT = "(SELECT unhex(value) FROM identities WHERE kind = '{kind}')"
"""Identities that came along with the query."""

STAGED = "(SELECT value FROM {identities} WHERE kind = '{kind}')"
"""Identities in the batch's staging table: a mutation outlives the query that started it."""


def _text(column: str) -> str:
    return f"ifNull(CAST({quote(column)} AS Nullable(String)), '')"


def _holds(column: str, rule: FieldRule, source: str) -> str:
    """Whether a column holds an identity; emails match without regard to case and surrounding blanks."""
    tests = []
    for kind in rule.holds:
        value = _text(column)
        if kind is IdentityKind.EMAIL:
            value = f"lowerUTF8(trim(BOTH ' \\t\\n\\r' FROM {value}))"
        tests.append(f"{value} IN {source.replace('{kind}', str(kind))}")
    return f"({' OR '.join(tests)})"


def column_condition(table: Table, column: str, source: str) -> str:
    """When a column of a row is to be masked: it holds an identity, or stands beside one that does."""
    rule = table.rules[column]
    holder = column if rule.beside is None else rule.beside
    condition = _holds(holder, table.rules[holder], source)
    if rule.beside is None:
        return condition
    unmasked = f"{_text(column)} != '' AND NOT startsWith({_text(column)}, '{CONSTANT}')"
    return f"({condition} AND {unmasked})"


def row_condition(table: Table, source: str) -> str:
    """When a row is to be changed: one of its columns holds an identity."""
    holders = [column for column, rule in table.rules.items() if rule.beside is None]
    return " OR ".join(_holds(column, table.rules[column], source) for column in holders)


def count(table: Table) -> str:
    """How many rows hold an identity."""
    return f"SELECT count() FROM {quote(table.name)} WHERE {row_condition(table, SENT)}"


def values(table: Table, column: str) -> str:
    """The distinct values that are to be masked in a column, in hexadecimal."""
    return (
        f"SELECT DISTINCT hex({_text(column)}) FROM {quote(table.name)} WHERE {column_condition(table, column, SENT)}"
    )


def mutation(table: Table, identities: str, masks: str) -> str:
    """The one mutation of a table: every value becomes its mask, by the batch's staging tables.

    Args:
        table: The table.
        identities: The staging table of identities, quoted.
        masks: The staging table of values and masks, quoted.
    """
    source = STAGED.replace("{identities}", identities)
    lookup = f"{_column_of_pairs(masks, 1)}, {_column_of_pairs(masks, 2)}"
    updates = [
        f"{quote(column)} = if({column_condition(table, column, source)}, "
        f"transform({_text(column)}, {lookup}, {_text(column)}), {quote(column)})"
        for column in table.rules
    ]
    return f"ALTER TABLE {quote(table.name)} UPDATE {', '.join(updates)} WHERE {row_condition(table, source)}"


def count_masked(table: Table) -> str:
    """How many rows hold one of the masks that come along with the query."""
    sent = SENT.replace("{kind}", "mask")
    return f"SELECT count() FROM {quote(table.name)} WHERE {_any_in(table, sent)}"


def reverse(table: Table, masks: str) -> str:
    """The one mutation that turns every mask of the batch back into its value.

    Args:
        table: The table.
        masks: The staging table of values and masks, quoted.
    """
    source = f"(SELECT mask FROM {masks})"
    lookup = f"{_column_of_pairs(masks, 2)}, {_column_of_pairs(masks, 1)}"
    updates = [
        f"{quote(column)} = if({_text(column)} IN {source}, "
        f"transform({_text(column)}, {lookup}, {_text(column)}), {quote(column)})"
        for column in table.rules
    ]
    return f"ALTER TABLE {quote(table.name)} UPDATE {', '.join(updates)} WHERE {_any_in(table, source)}"


def _any_in(table: Table, source: str) -> str:
    return " OR ".join(f"{_text(column)} IN {source}" for column in table.rules)


def _column_of_pairs(masks: str, number: int) -> str:
    """Values (1) or masks (2) as an array; sorted as pairs, since two queries may read the rows in two orders."""
    return f"(SELECT arrayMap(pair -> pair.{number}, arraySort(groupUniqArray((value, mask)))) FROM {masks})"
