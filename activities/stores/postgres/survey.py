"""What in the database looks like an identity, and is not in the data map: columns, and keys to mapped tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncpg import (
    InvalidSchemaNameError,
    UndefinedColumnError,
    UndefinedTableError,
)

from activities.contract import Suspect
from activities.identities import IdentityKind
from activities.stores.postgres.catalogue import quote
from activities.stores.postgres.connection import translated_at
from activities.stores.postgres.data_map import Masking, PostgresMap, path_parts, table_name, written
from activities.stores.postgres.literals import elements
from activities.suspicion import SAMPLE, Suspicion

if TYPE_CHECKING:
    from asyncpg import Record

    from activities.stores.postgres.connection import Connection

COLUMNS = """
    SELECT n.nspname::text AS schema, c.relname::text AS table, c.relkind::text AS kind, a.attname::text AS column,
           has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
               AND NOT row_security_active(c.oid) AS readable,
           e.typname::text AS type, b.typcategory = 'A' AS array, size.pages
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
    JOIN pg_type e ON e.oid = CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE b.oid END
    CROSS JOIN LATERAL (
        SELECT CASE c.relkind WHEN 'p' THEN (SELECT sum(l.relpages) FROM pg_partition_tree(c.oid) p
                                             JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf)
                    ELSE c.relpages END AS pages) AS size
    WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't' AND c.relispopulated
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'erasure')
      AND e.typname IN ('text', 'varchar', 'bpchar', 'citext', 'int2', 'int4', 'int8', 'numeric', 'uuid', 'json',
                        'jsonb', 'hstore', 'xml')
    ORDER BY n.nspname, c.relname, a.attnum
"""
"""Every column that could hold an identity. A partition's are its parent's, a generated one is made of others; the
tool's own schema is left out."""

FOREIGN_KEYS = """
    SELECT n.nspname::text AS schema, c.relname::text AS table,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS x (attnum, position)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.attnum ORDER BY position) AS columns,
           pn.nspname::text AS parent_schema, p.relname::text AS parent_table, k.conname::text AS name
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class p ON p.oid = k.confrelid
    JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT c.relispartition
    ORDER BY n.nspname, c.relname, k.conname
"""

SAMPLED_PAGES = 50
"""Of a big table so many pages are looked at, spread over all of it; of a small one the first rows."""

ROWS = 500
LENGTH = 10_000
"""Characters of one value that are looked at."""

_OPAQUE = {"xml", "hstore"}
_TEXTS = {"text", "varchar", "bpchar", "citext", *_OPAQUE}
_JSON = {"json", "jsonb"}
_WORDS = {
    IdentityKind.EMAIL: "addresses",
    IdentityKind.WORKER_ID: "worker ids",
    IdentityKind.CONTRIBUTOR_ID: "contributor ids",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass
class _Table:
    """A table, and those of its columns that are to be looked at."""

    names: tuple[str, str]
    kind: str
    pages: int
    columns: list[Record] = field(default_factory=list)

    @property
    def place(self) -> str:
        return written(*self.names)

    @property
    def sql(self) -> str:
        return ".".join(map(quote, self.names))


class _Named:
    """What the data map names.

    Args:
        data_map: It.
    """

    def __init__(self, data_map: PostgresMap) -> None:
        self._deleted = {table_name(entry.table) for entry in data_map.delete}
        self._paths: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for entry in (*data_map.mask, *data_map.delete):
            for name in (entry.by, *(entry.columns if isinstance(entry, Masking) else ())):
                self._paths.setdefault(table_name(entry.table), set()).update({path_parts(name), (name,)})

    @property
    def tables(self) -> set[tuple[str, str]]:
        """The tables in which something is named."""
        return set(self._paths)

    def holds(self, table: tuple[str, str], path: tuple[str, ...]) -> bool:
        """Whether a column, or a path in it, is named by itself."""
        return any(path[: len(named)] == named for named in self._paths.get(table, ()))

    def covers(self, table: tuple[str, str], path: tuple[str, ...]) -> bool:
        """Whether a column is dealt with: by itself, or with its whole row."""
        return table in self._deleted or self.holds(table, path)


async def survey(connection: Connection, data_map: PostgresMap, suspicion: Suspicion) -> list[Suspect]:
    """Compares the catalogue with the data map.

    Args:
        connection: In a transaction of its own.
        data_map: What is named; may be nothing.
        suspicion: What to look for, and where.

    Returns:
        Columns, paths in JSON, and foreign keys. A table that rows are deleted from is named as a whole, but for its
        foreign keys: these may be somebody else's.
    """
    named = _Named(data_map)
    suspects: dict[str, Suspect] = {}
    anchors = named.tables
    for table in _tables(await connection.fetch(COLUMNS), suspicion):
        for suspect in await _look(connection, table, named, suspicion):
            suspects[suspect.place] = suspect
            anchors.add(table.names)
    for row in await connection.fetch(FOREIGN_KEYS):
        child, parent = (row["schema"], row["table"]), (row["parent_schema"], row["parent_table"])
        place = f"{written(*child)}.{written(row['columns'][0])}"
        if parent not in anchors or not suspicion.watches("postgres", place):
            continue
        if any(named.holds(child, (column,)) for column in row["columns"]):
            continue
        why = f"foreign key {row['name']} refers to {written(*parent)}"
        known = suspects.get(place)
        entry = {"delete": [{"table": written(*child), "by": written(row["columns"][0])}]}
        suspects[place] = Suspect(place, f"{known.why}; {why}" if known else why, entry)
    return list(suspects.values())


def _tables(rows: Iterable[Record], suspicion: Suspicion) -> list[_Table]:
    """The tables with a column that is to be looked at."""
    tables: dict[tuple[str, str], _Table] = {}
    for row in rows:
        names = (row["schema"], row["table"])
        if suspicion.watches("postgres", f"{written(*names)}.{written(row['column'])}"):
            table = tables.setdefault(names, _Table(names, row["kind"], row["pages"] or 0))
            table.columns.append(row)
    return list(tables.values())


async def _look(connection: Connection, table: _Table, named: _Named, suspicion: Suspicion) -> list[Suspect]:
    """What is suspect in one table."""
    columns = [row for row in table.columns if not named.covers(table.names, (row["column"],))]
    samples = await _samples(connection, table, [row for row in columns if row["readable"]])
    found: list[Suspect] = []
    for row in columns:
        for path, values, keys in _paths(row, samples.get(row["column"], [])):
            place = f"{table.place}.{written(*path)}"
            if named.covers(table.names, path) or not suspicion.watches("postgres", place):
                continue
            if suspicion.by_content(keys):
                found.append(Suspect(place, "has keys that look like identities", {}))
            elif suspected := _suspected(row, path, values, suspicion):
                kind, inside, why = suspected
                found.append(Suspect(place, why, {} if inside else _entry(table, row, path, kind)))
    closed = [row["column"] for row in columns if not row["readable"] and row["type"] in _TEXTS | _JSON]
    if closed and not found and suspicion.watches("postgres", table.place):
        why = f"{', '.join(closed)} may not be read, or not every row, so that nobody can tell what is there"
        found.append(Suspect(table.place, why, {}))
    return found


def _suspected(
    row: Record, path: tuple[str, ...], values: list[str], suspicion: Suspicion
) -> tuple[IdentityKind, bool, str] | None:
    """The kind of identity, whether it stands inside longer text, and why it is suspected."""
    if content := suspicion.by_content(values):
        kind, inside = content
        return kind, inside, f"holds {_WORDS[kind]}" + (" inside longer text" if inside else "")
    by_name = suspicion.by_name(path[-1])
    if by_name is None or (by_name is IdentityKind.EMAIL and row["type"] not in _TEXTS | _JSON):
        return None
    return by_name, False, f"is named like {_WORDS[by_name]}"


def _entry(table: _Table, row: Record, path: tuple[str, ...], kind: IdentityKind) -> dict[str, Any]:
    """How the data map could name it; nothing where neither its rows can be found by it, nor it be masked."""
    if table.kind == "m" or row["type"] in _OPAQUE:
        return {}
    by = written(*path)
    entry: dict[str, Any] = {"table": table.place, "by": by}
    if kind is not IdentityKind.CONTRIBUTOR_ID:
        entry["holds"] = kind.value
    if row["type"] == "uuid":
        return {"delete": [entry]}
    return {"mask": [{**entry, "columns": {by: "token"}}]}


async def _samples(connection: Connection, table: _Table, columns: list[Record]) -> dict[str, list[str]]:
    """Some values of each column, each once; nothing of a table that was dropped meanwhile."""
    if not columns:
        return {}
    # spread over a big table: what is new in it stands at its end
    spread = f"TABLESAMPLE SYSTEM ({100 * SAMPLED_PAGES / table.pages})" if table.pages > 4 * SAMPLED_PAGES else ""
    some = ", ".join(
        f"(array_agg(DISTINCT left({quote(row['column'])}::text, {LENGTH}))"
        f" FILTER (WHERE {quote(row['column'])} IS NOT NULL))[1:{SAMPLE}]"
        for row in columns
    )
    names = ", ".join(quote(row["column"]) for row in columns)
    query = f"SELECT {some} FROM (SELECT {names} FROM {table.sql} {spread} LIMIT {ROWS}) AS sampled"
    with translated_at(table.place):
        try:
            async with connection.transaction():
                row = await connection.fetchrow(query)
        except (UndefinedTableError, UndefinedColumnError, InvalidSchemaNameError):
            return {}
    assert row is not None, "an aggregate without GROUP BY has one row"
    return {column["column"]: row[number] or [] for number, column in enumerate(columns)}


def _paths(row: Record, values: list[str]) -> Iterator[tuple[tuple[str, ...], list[str], list[str]]]:
    """A column with its values; in JSON each path of it with its own, and with the keys there that are no names."""
    column = (row["column"],)
    if row["array"]:
        yield column, [each for value in values for each in elements(value)], []
    elif row["type"] not in _JSON or not values:
        yield column, values, []
    else:
        found: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
        for value in values:
            try:
                document = json.loads(value)
            except ValueError:  # it is long, and was cut off
                document = value
            for path, leaf, is_key in _leaves(document, column):
                found.setdefault(path, ([], []))[is_key].append(leaf)
        for path, (texts, keys) in found.items():
            yield path, texts, keys


def _leaves(document: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """Each text and number with its path, and each key that is no name: it may be somebody's address."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if _NAME.fullmatch(key):
                yield from _leaves(value, (*path, key))
            else:
                yield path, key, True
                yield from _leaves(value, path)
    elif isinstance(document, list):
        for value in document:
            yield from _leaves(value, path)
    elif document is not None and not isinstance(document, bool):
        yield path, str(document), False
