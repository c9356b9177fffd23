"""Which columns of a table are looked at, and as which text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from activities.contract import Finding
from activities.stores.clickhouse.cluster import literal, quote
from activities.stores.clickhouse.connection import Client
from activities.verification.contract import Scope
from activities.verification.needles import Needles
from activities.verification.surroundings import is_named_after_people

COLUMNS = """
    SELECT name, type, default_kind AS kind FROM system.columns
    WHERE database = {database} AND table = {table} ORDER BY position
"""

TEXT = re.compile(r"\b(?:String|FixedString|Enum8|Enum16|UUID|IPv4|IPv6|JSON|Object|Dynamic|Variant)\b")
NUMBER = re.compile(r"\bU?Int(?:16|32|64|128|256)\b")
NESTED = re.compile(r"\b(?:Array|Map|Tuple|Nested|JSON|Object|Dynamic|Variant)\b")
STATE = re.compile(r"\bAggregateFunction\(")


@dataclass
class Columns:
    """What is looked at in one table.

    Args:
        texts: Of each column the expression that gives its text.
        not_proven: What is not.
    """

    texts: dict[str, str] = field(default_factory=dict)
    not_proven: list[Finding] = field(default_factory=list)


async def read(client: Client, database: str, table: str, scope: Scope, needles: Needles) -> Columns:
    """Reads a table's columns.

    Args:
        client: The client.
        database: The database.
        table: The table.
        scope: Where to look.
        needles: What is looked for: numbers are of no account where no id is one.
    """
    query = COLUMNS.replace("{database}", literal(database)).replace("{table}", literal(table))
    columns = Columns()
    numbers = []
    for row in await client.fetch(query):
        name, kind = row["name"], _plain(row["type"])
        if row["kind"] in ("ALIAS", "EPHEMERAL"):  # nothing is kept of these
            continue
        if STATE.search(kind):
            if TEXT.search(kind) or NUMBER.search(kind):
                columns.not_proven.append(_of_state(f"{database}.{table}", row))
        elif TEXT.search(kind) or (NUMBER.search(kind) and (scope.depth == "deep" or _is_personal(row))):
            columns.texts[name] = f"{'toJSONString' if NESTED.search(kind) else 'toString'}({quote(name)})"
        elif NUMBER.search(kind):
            numbers.append(name)
    if numbers and needles.has_numbers:
        what = f"numbers that may be ids, in columns that this depth leaves out: {', '.join(numbers)}"
        columns.not_proven.append(Finding(f"{database}.{table}", what, 'Verify with the depth "deep".'))
    return columns


def _is_personal(row: dict[str, Any]) -> bool:
    return is_named_after_people(f"{row['name']} {row['type']}")


def _of_state(table: str, row: dict[str, Any]) -> Finding:
    what = "is the state of an aggregate function, whose values no query shows"
    return Finding(f"{table}: {row['name']}", what, "Aggregate it anew from what has been erased.")


def _plain(kind: str) -> str:
    """A type without the names of its elements and the values of its enumerations."""
    return re.sub(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`", "", kind.replace("SimpleAggregateFunction(", "("))
