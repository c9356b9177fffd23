"""What SQL asks of a row: whether it holds an identity of the slice, and whether something in it is left to mask.

The row is ``t``, and the slice's identities are ``erasure_identity``; see `activities.stores.postgres.statements`.
"""

from __future__ import annotations

import json

from activities.identities import IdentityKind
from activities.masking import CONSTANT, Strategy
from activities.stores.postgres.catalogue import Column, Family, Table, quote
from activities.stores.postgres.data_map import Deletion
from activities.stores.postgres.masks import BITS, find_column

_BLANKS = r"E' \t\n\r\f\x0b'"

_AS_TEXT = Column("", "text", "text", False, Family.TEXT, None, False, False, False, (), ())
"""What a value in JSON is compared as."""


def email_of(column: str) -> str:
    """The form in which addresses are compared, as an index on it would have it."""
    return f'lower(btrim({column}::text, {_BLANKS})) COLLATE "C"'


def held_by(entry: Deletion, table: Table) -> tuple[Column, tuple[str, ...]]:
    """The column that says whose row it is, and the keys below it where that stands in JSON."""
    found = find_column(table, entry.by)
    assert found is not None, "the checks passed"
    return found


def holds(entry: Deletion, table: Table) -> str:
    """Whether row ``t`` holds an identity of the slice: in a column, in an element of it, or at a path in it."""
    column, path = held_by(entry, table)
    value = f"t.{quote(column.name)}"
    if not path and not column.array:
        return _is_wanted(entry, column, value)
    if path:
        keys = "".join(f".{json.dumps(key)}" for key in path).replace("'", "''")
        each = f"jsonb_path_query({value}::jsonb, 'lax ${keys}.**') AS j, LATERAL (SELECT j #>> '{{}}' AS v) AS e"
        return f"EXISTS (SELECT FROM {each} WHERE {_is_wanted(entry, _AS_TEXT, 'e.v')})"
    among = ""
    if column.family is Family.TEXT and entry.holds is not IdentityKind.EMAIL:  # what an index on the array serves
        wanted = f"SELECT i.value::{column.element} FROM pg_temp.erasure_identity AS i WHERE i.kind = '{entry.holds}'"
        among = f"{value} && ARRAY({wanted}) AND "
    return f"{among}EXISTS (SELECT FROM unnest({value}) AS e (v) WHERE {_is_wanted(entry, column, 'e.v')})"


def _is_wanted(entry: Deletion, column: Column, value: str) -> str:
    stored, wanted = compared(entry, column, value)
    exact = ""
    if column.family is Family.TEXT and entry.holds is not IdentityKind.EMAIL:
        exact = f'AND {stored}::text COLLATE "C" = i.value'  # whatever the column's type or collation takes for equal
    return (
        "EXISTS (SELECT FROM pg_temp.erasure_identity AS i "
        f"WHERE i.kind = '{entry.holds.value}' AND {stored} = {wanted} {exact})"
    )


def compared(entry: Deletion, column: Column, value: str) -> tuple[str, str]:
    """What of a value is compared with what of identity ``i``; an index on the former serves."""
    if entry.holds is IdentityKind.EMAIL:
        return email_of(value), "i.value"
    wanted = {
        Family.TEXT: f"i.value::{column.element}",
        Family.INTEGER: "i.number",
        Family.NUMERIC: "i.number::numeric",
        Family.UUID: "i.uuid",
    }
    return value, wanted[column.family]


def unmasked(column: Column, strategy: Strategy) -> str:
    """Whether a column of row ``t`` holds something that is no mask yet."""
    value = f"t.{quote(column.name)}"
    if strategy is Strategy.NULL:
        return f"{value} IS NOT NULL"
    if column.family is Family.INTEGER:
        bits = BITS[column.element]
        return f"{value} >= {2 ** (bits - 2) - 2 ** (bits - 1)}"
    return f"{value}::text COLLATE \"C\" !~ '^{CONSTANT}(-[a-z2-7]{{26}})?$'"
