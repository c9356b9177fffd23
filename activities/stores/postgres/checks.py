"""Whether the data map fits the database: what would erase too little, or what could not be brought back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from activities.contract import Finding
from activities.identities import IdentityKind
from activities.masking import CONSTANT, TOKEN_LENGTH, Strategy
from activities.stores.postgres.catalogue import Column, Family, ForeignKey, Table, quote
from activities.stores.postgres.conditions import email_of
from activities.stores.postgres.data_map import Deletion, Masking, PostgresMap
from activities.stores.postgres.masks import Mask, find_column, masks_of
from activities.stores.postgres.statements import Target

if TYPE_CHECKING:
    from asyncpg import Record

OLDEST = "16"
"""From then on the server says whether a text is of a type (pg_input_is_valid), by which ids are resolved."""

_CORRECT = "Correct erasure.toml"

_INCOMPARABLE = (Family.OTHER, Family.JSON)

_SWEEPS = {"c": "delete", "n": "set to null", "d": "set to its default"}


def problems(data_map: PostgresMap, tables: Mapping[str, Table], foreign_keys: Collection[ForeignKey]) -> list[Finding]:
    """What forbids to start.

    Args:
        data_map: What is to be done.
        tables: The tables that exist, by place.
        foreign_keys: Those that start or end at them.
    """
    found: list[Finding] = []
    for entry in (*data_map.mask, *data_map.delete):
        if (table := tables.get(entry.table)) is None:
            found.append(Finding(entry.table, "there is no such table", _CORRECT))
        else:
            found += _entry(entry, table, foreign_keys)
    found += _deletions(data_map, tables, foreign_keys)
    return list(dict.fromkeys(found))


def warnings(data_map: PostgresMap, tables: Mapping[str, Table], foreign_keys: Collection[ForeignKey]) -> list[Finding]:
    """What the operator should know."""
    found: list[Finding] = []
    for entry in data_map.mask:
        if table := tables.get(entry.table):
            found += [
                Finding(
                    f"{entry.table}.{column}",
                    f"the CHECK constraint {check} looks at this masked column",
                    f"Make sure that it lets {CONSTANT} and tokens pass, or the phase will stop",
                )
                for column, mask in masks_of(entry, table).items()
                if mask.strategy is not Strategy.NULL
                for check in mask.column.checks
            ]
    deleted = {tables[entry.table].oid for entry in data_map.delete if entry.table in tables}
    found += [
        Finding(
            key.child_place,
            f"no index begins with the columns of foreign key {key.name}: each deleted row scans this table",
            f"CREATE INDEX ON {key.child_sql} ({', '.join(map(quote, key.columns))})",
        )
        for key in foreign_keys
        if key.parent in deleted and not key.indexed
    ]
    return list(dict.fromkeys(found))


def _entry(entry: Deletion, table: Table, foreign_keys: Collection[ForeignKey]) -> Iterator[Finding]:
    if table.kind not in ("r", "p"):
        yield Finding(entry.table, "is a view or foreign table", "Name the table itself that holds the rows")
        return
    if table.has_heirs:
        yield Finding(
            entry.table,
            "other tables inherit from it, whose own columns a pre-image would lack",
            "Name the inheriting tables one by one, or make it a partitioned table",
        )
    if (found := find_column(table, entry.by)) is None:
        yield Finding(f"{entry.table}.{entry.by}", "there is no such column", _CORRECT)
    else:
        column, path = found
        text = bool(path) or column.family is Family.TEXT
        if not path and (column.family in _INCOMPARABLE or (entry.holds is IdentityKind.EMAIL and not text)):
            yield Finding(
                f"{entry.table}.{entry.by}",
                f"a column of type {column.type} cannot be compared with an identity of kind {entry.holds}",
                "Name a text, integer, numeric or uuid column, an array of them, or a path in JSON; text for emails",
            )
    if isinstance(entry, Masking):
        if not table.key:
            yield Finding(
                entry.table,
                "has neither a primary key nor a unique index without nulls: a masked row could not be found again",
                "Add a primary key",
            )
        masks = masks_of(entry, table)
        for name in entry.columns:
            place = f"{entry.table}.{name}"
            if name not in masks:
                yield Finding(place, "there is no such column", _CORRECT)
                continue
            column, strategy = masks[name].column, masks[name].strategy
            for what, remedy in _mask(masks[name]):
                yield Finding(place, what, remedy)
            for key in foreign_keys:
                if key.parent == table.oid and column.name in key.parent_columns:
                    yield Finding(
                        place,
                        f"is masked, but foreign key {key.name} of {key.child_place} refers to it",
                        "Mask another column, or delete the rows",
                    )
                if key.child == table.oid and column.name in key.columns and strategy is not Strategy.NULL:
                    yield Finding(
                        place,
                        f"is masked with {strategy}, which its own foreign key {key.name} would refuse",
                        "Mask it with null, delete the rows, or drop the foreign key",
                    )


def _mask(mask: Mask) -> Iterator[tuple[str, str]]:
    """What speaks against a mask in a column: what, and the remedy."""
    column, strategy = mask.column, mask.strategy
    if column.generated:
        yield "is generated by the server and cannot be masked", "Mask the columns that it is made of"
        return
    if mask.path:
        return
    if strategy is Strategy.NULL:
        if column.not_null and mask.is_plain:
            yield "is NOT NULL and cannot be masked with null", "Mask it with token or constant, or drop NOT NULL"
        return
    if strategy is Strategy.REMOVE:
        if mask.by is None:
            yield "is no array by which rows are found, so nothing can be removed from it", "Mask it with null"
        return
    length = len(CONSTANT) if strategy is Strategy.CONSTANT else TOKEN_LENGTH
    if column.family is Family.JSON:
        yield f"is of type {column.type}: which of it is to be masked", "Name a path in it, such as details.email"
    elif column.family is Family.INTEGER and strategy is Strategy.TOKEN:
        pass  # a number is masked by a number
    elif column.family is not Family.TEXT:
        yield f"is of type {column.type}, which cannot hold a {strategy}", "Mask it with null, or delete the rows"
    elif column.width is not None and column.width < length:
        yield (
            f"takes {column.width} characters, too narrow for a {strategy} of {length}",
            "Widen it, or choose another mask",
        )
    if strategy is Strategy.CONSTANT and column.unique:
        yield (
            f"is part of the unique index {column.unique[0]}, which a second constant would violate",
            "Mask it with token",
        )


def _deletions(
    data_map: PostgresMap, tables: Mapping[str, Table], foreign_keys: Collection[ForeignKey]
) -> Iterator[Finding]:
    """Every foreign key that reaches a deleted row must start at rows that the data map deals with, earlier."""
    order = {tables[place].oid: number for number, place in enumerate(deletion_order(data_map)) if place in tables}
    nulled = {
        (tables[entry.table].oid, column)
        for entry in data_map.mask
        for column, rule in entry.columns.items()
        if rule.mask is Strategy.NULL and entry.table in tables
    }
    by_oid = {table.oid: place for place, table in tables.items()}
    for key in foreign_keys:
        if key.parent not in order or any((key.child, column) in nulled for column in key.columns):
            continue
        parent = by_oid[key.parent]
        if key.child not in order:
            consequence = (
                f"would {_SWEEPS[key.on_delete]} its rows without a pre-image"
                if key.on_delete in _SWEEPS
                else "would refuse the deletion"
            )
            yield Finding(
                key.child_place,
                f"refers to {parent}, whose rows are deleted, and is not deleted from: foreign key {key.name}"
                f" {consequence}",
                f"Add it to postgres.delete before {parent}, or mask {', '.join(key.columns)} with null",
            )
        elif order[key.child] > order[key.parent] and key.on_delete not in _SWEEPS:
            yield Finding(
                key.child_place,
                f"is deleted after {parent}, to which it refers by foreign key {key.name}",
                f"Put it before {parent} in postgres.delete",
            )


def deletion_order(data_map: PostgresMap) -> list[str]:
    """The tables that rows are deleted from, each at its first mention."""
    return list(dict.fromkeys(entry.table for entry in data_map.delete))


SERVER = """
    SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only')::bool AS read_only,
           has_database_privilege(current_database(), 'TEMP') AS may_stage,
           getdatabaseencoding()::text AS encoding
"""

RIGHTS = """
    SELECT c.oid::bigint AS oid, c.relnamespace::regnamespace::text AS schema,
           has_schema_privilege(c.relnamespace, 'USAGE') AS may_enter,
           has_table_privilege(c.oid, 'SELECT') AS may_read, has_table_privilege(c.oid, 'DELETE') AS may_delete,
           has_any_column_privilege(c.oid, 'UPDATE') AS may_lock, row_security_active(c.oid) AS filtered,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                   AND NOT has_column_privilege(c.oid, a.attnum, 'INSERT')) AS may_not_insert,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND NOT has_column_privilege(c.oid, a.attnum, 'UPDATE')) AS may_not_update
    FROM pg_class c WHERE c.oid = ANY ($1::bigint[]::oid[])
"""


def server(row: Record) -> tuple[list[Finding], list[Finding]]:
    """Problems and warnings of the server itself, from a row of `SERVER`."""
    problems: list[Finding] = []
    if row["standby"] or row["read_only"]:
        problems.append(Finding("postgres", "the server is read-only", "Point ERASURE_POSTGRES__DSN to the primary"))
    if not row["may_stage"]:
        problems.append(Finding("postgres", "temporary tables are forbidden", "GRANT TEMPORARY ON DATABASE"))
    if row["encoding"] == "UTF8":
        return problems, []
    remark = Finding(
        "postgres",
        f"the database's encoding is {row['encoding']}: an identity with other characters stops the phase",
        "Move the database to UTF8",
    )
    return problems, [remark]


def rights(target: Target, row: Record) -> Iterator[Finding]:
    """Missing rights on a table that an erasure or its rollback needs, from a row of `RIGHTS`."""
    place, table = target.place, target.table
    yield from reading(place, table.sql, row)
    if target.deletes and not row["may_delete"]:
        yield Finding(place, "may not be deleted from", f"GRANT DELETE ON {table.sql}")
    if target.deletes and row["may_not_insert"]:
        yield Finding(place, "may not be inserted into, so that a rollback could not", f"GRANT INSERT ON {table.sql}")
    updated = set(target.masked_columns)
    if target.deletes and table.triggers:  # what they change in a row that comes back is written once more
        updated |= {column.name for column in target.stored if column.name not in table.key and not column.numbered}
    if not row["may_lock"]:
        yield Finding(place, "its rows may not be locked", f"GRANT UPDATE ON {table.sql}")
    elif forbidden := sorted(updated & set(row["may_not_update"])):
        columns = ", ".join(map(quote, forbidden))
        yield Finding(place, f"may not be updated: {columns}", f"GRANT UPDATE ({columns}) ON {table.sql}")


def referred_to(targets: Collection[Target], foreign_keys: Collection[ForeignKey]) -> dict[int, tuple[str, str]]:
    """Tables outside of the data map, by id, with place and quoted name: a rollback looks whether a parent is there."""
    oids = {target.table.oid for target in targets}
    return {
        key.parent: (key.parent_place, key.parent_sql)
        for key in foreign_keys
        if key.child in oids and key.parent not in oids
    }


def reading(place: str, table: str, row: Record) -> Iterator[Finding]:
    """Missing rights on a table that is read, from a row of `RIGHTS`."""
    if not row["may_enter"]:
        yield Finding(place, "its schema may not be used", f"GRANT USAGE ON SCHEMA {row['schema']}")
    if not row["may_read"]:
        yield Finding(place, "may not be read", f"GRANT SELECT ON {table}")
    if row["filtered"]:
        yield Finding(
            place, "row-level security hides rows from this role", "Give the role BYPASSRLS, or a role of its own"
        )


def unserved(target: Target, entries: Collection[int]) -> Iterator[Finding]:
    """Columns that rows are found by without an index.

    Args:
        target: A table.
        entries: Those of its entries that no index serves.
    """
    how = "" if target.table.key else " in one statement, since there is no key to read it in ranges of"
    for number in entries:
        entry = target.masks.get(number) or target.deletes[number]
        yield Finding(
            f"{target.place}.{entry.by}",
            f"no index serves it: every slice reads the whole table{how}",
            _index(entry, target.table),
        )


def _index(entry: Deletion, table: Table) -> str:
    """The index that would serve an entry, or what else helps."""
    email = entry.holds is IdentityKind.EMAIL
    match find_column(table, entry.by):
        case (Column(array=False), ()):
            column = quote(entry.by)
            return f"CREATE INDEX ON {table.sql} ({f'({email_of(column)})' if email else column})"
        case (Column(family=Family.TEXT), ()) if not email:
            return f"CREATE INDEX ON {table.sql} USING gin ({quote(entry.by)})"
    return "Give bigger slices, or keep the identity in a column of its own"
