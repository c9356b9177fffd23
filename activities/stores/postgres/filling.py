"""What stands in a column of a row that is made up: the table's own default, or a value that its type takes."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from activities.canary.person import NAME
from activities.stores.postgres.catalogue import Column, Family, Table

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

DEFAULTS = """
    SELECT a.attrelid::bigint AS oid, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS declared,
           CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS sql,
           CASE WHEN a.attidentity <> ''
                THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname::text) END AS sequence,
           (SELECT enumlabel::text FROM pg_enum WHERE enumtypid = a.atttypid ORDER BY enumsortorder LIMIT 1) AS label
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ANY ($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
"""

_BY_TYPE = {
    "boolean": "false",
    "real": "0",
    "double precision": "0",
    "money": "0",
    "time without time zone": "00:00",
    "time with time zone": "00:00+00",
    "interval": "0",
    "bytea": "",
    "inet": "192.0.2.1",
    "cidr": "192.0.2.1/32",
    "macaddr": "00:00:5e:00:53:01",
    "tsvector": "",
    "point": "(0,0)",
}
"""Addresses are those that are kept for documentation."""

_NOW = ("date", "timestamp without time zone", "timestamp with time zone")


@dataclass(frozen=True)
class Default:
    """What a column holds unless told.

    Args:
        declared: Its type, as it was declared.
        sql: The expression of its default.
        sequence: What numbers it, GENERATED AS IDENTITY.
        label: The first label of its type, where that is an enumeration.
    """

    declared: str
    sql: str | None
    sequence: str | None
    label: str | None

    @classmethod
    async def read(cls, connection: Connection, tables: Collection[Table]) -> dict[int, dict[str, Default]]:
        """The defaults of some tables, by the table's id and the column."""
        found: dict[int, dict[str, Default]] = {}
        for row in await connection.fetch(DEFAULTS, [table.oid for table in tables]):
            default = cls(row["declared"], row["sql"], row["sequence"], row["label"])
            found.setdefault(row["oid"], {})[row["name"]] = default
        return found

    @property
    def is_given(self) -> bool:
        """Whether the column needs no value."""
        return self.sql is not None or self.sequence is not None

    async def draw(self, connection: Connection) -> str | None:
        """The value that the next row would get; a number that is drawn is not given to anybody else."""
        if self.sequence is not None:
            return str(await connection.fetchval("SELECT nextval($1::text::regclass)", self.sequence))
        drawn: str | None = await connection.fetchval(f"SELECT ({self.sql})::text")
        return drawn


def filler(column: Column, label: str | None) -> str | None:
    """A value that a column's type takes and that says nothing; None where none is known.

    Args:
        column: The column.
        label: The first label of its type, where that is an enumeration.
    """
    if column.array:
        return "{}"
    match column.family:
        case Family.TEXT:
            text = f"{secrets.token_hex(8)} {NAME}" if column.unique else NAME
            return text[: column.width]
        case Family.INTEGER | Family.NUMERIC:
            return str(secrets.randbelow(2**14) + 2**14) if column.unique else "0"
        case Family.UUID:
            return str(uuid4())
        case Family.JSON:
            return "{}"
    if label is not None:
        return label
    if column.type in _NOW:
        return datetime.now(UTC).isoformat() if column.type != "date" else datetime.now(UTC).date().isoformat()
    return "empty" if column.type.endswith("range") else _BY_TYPE.get(column.type)
