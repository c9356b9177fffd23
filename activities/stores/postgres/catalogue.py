"""What PostgreSQL's catalogue says of the tables in the data map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from activities.stores.postgres.data_map import table_name

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection


def quote(name: str) -> str:
    """An identifier as SQL takes it literally."""
    return '"' + name.replace('"', '""') + '"'


class Family(StrEnum):
    """Types that an identity can be compared with."""

    TEXT = "text"
    INTEGER = "integer"
    NUMERIC = "numeric"
    UUID = "uuid"
    JSON = "json"
    OTHER = "other"


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: As the catalogue has it.
        type: Its base type, without length, as SQL writes it.
        element: The type of its elements where it is an array, else its type.
        array: Whether it is an array.
        family: What its values, or its elements, can be compared with.
        width: The longest text it takes, in characters; None without limit.
        not_null: Whether it refuses null.
        generated: Whether the server computes it.
        numbered: Whether only the server numbers it: GENERATED ALWAYS AS IDENTITY.
        unique: The unique indices that it is part of.
        checks: The CHECK constraints that look at it.
    """

    name: str
    type: str
    element: str
    array: bool
    family: Family
    width: int | None
    not_null: bool
    generated: bool
    numbered: bool
    unique: tuple[str, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        place: As the data map names it.
        oid: Its id in the catalogue.
        schema: Its schema.
        name: Its name.
        kind: ``r`` a table, ``p`` a partitioned one; others cannot be erased in.
        has_heirs: Whether other tables inherit from it, by INHERITS.
        key: The columns of its primary key, or else of a unique index without nulls; empty without either.
        triggers: Those that are not switched off.
        columns: By name, in order.
    """

    place: str
    oid: int
    schema: str
    name: str
    kind: str
    has_heirs: bool
    key: tuple[str, ...]
    triggers: tuple[str, ...]
    columns: dict[str, Column]

    @property
    def sql(self) -> str:
        """Schema and name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key between two tables, of which at least one is in the data map.

    Args:
        name: The constraint's.
        child: Id of the table that refers.
        child_sql: That table, quoted.
        child_place: That table, for people.
        columns: Its columns.
        parent: Id of the table that is referred to.
        parent_sql: That table, quoted.
        parent_place: That table, for people.
        parent_columns: That table's columns.
        on_delete: ``a`` no action, ``r`` restrict, ``c`` cascade, ``n`` set null, ``d`` set default.
        indexed: Whether an index of the child begins with these columns.
    """

    name: str
    child: int
    child_sql: str
    child_place: str
    columns: tuple[str, ...]
    parent: int
    parent_sql: str
    parent_place: str
    parent_columns: tuple[str, ...]
    on_delete: str
    indexed: bool


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index.

    Args:
        table: Id of its table.
        expressions: What must be unique together: quoted columns, or expressions over them.
        predicate: Which rows it is about; None for all.
        nulls_equal: Whether it takes nulls for equal.
    """

    table: int
    expressions: tuple[str, ...]
    predicate: str | None
    nulls_equal: bool


TABLES = """
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid::bigint AS oid, c.relkind::text AS kind,
           c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS has_heirs,
           (SELECT array_agg(a.attname::text ORDER BY k.position)
            FROM (SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS attnums FROM pg_index i
                  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                    AND i.indpred IS NULL AND i.indexprs IS NULL
                    AND NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS part (attnum)
                                    JOIN pg_attribute p ON p.attrelid = c.oid AND p.attnum = part.attnum
                                    WHERE NOT p.attnotnull)
                  ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS best
            CROSS JOIN LATERAL unnest(best.attnums) WITH ORDINALITY AS k (attnum, position)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) AS key,
           ARRAY(SELECT tgname::text FROM pg_trigger
                 WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY 1) AS triggers
    FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
    JOIN pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
"""

COLUMNS = """
    WITH RECURSIVE base AS (
        SELECT a.attrelid, a.attnum, a.attname, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS not_null,
               a.attgenerated <> '' AS generated, a.attidentity = 'a' AS numbered
        FROM pg_attribute a
        WHERE a.attrelid = ANY ($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL  -- a domain is what it is made of
        SELECT b.attrelid, b.attnum, b.attname, t.typbasetype, t.typtypmod, b.not_null OR t.typnotnull, b.generated,
               b.numbered
        FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
    )
    SELECT b.attrelid::bigint AS oid, b.attname::text AS name, format_type(b.type, -1) AS type, b.not_null, b.generated,
           b.numbered, format_type(e.oid, -1) AS element, e.oid <> t.oid AS array,
           CASE WHEN e.typname IN ('varchar', 'bpchar') AND b.modifier > 4 THEN b.modifier - 4 END AS width,
           CASE WHEN e.typname IN ('text', 'varchar', 'bpchar', 'citext') THEN 'text'
                WHEN e.typname IN ('int2', 'int4', 'int8') THEN 'integer'
                WHEN e.typname IN ('numeric', 'uuid') THEN e.typname::text
                WHEN t.typname IN ('json', 'jsonb') THEN 'json'
                ELSE 'other' END AS family,
           ARRAY(SELECT x.relname::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                 WHERE i.indrelid = b.attrelid AND i.indisunique
                   AND (b.attnum = ANY (i.indkey::int2[])
                        OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                   AND d.objid = i.indexrelid AND d.refobjid = b.attrelid
                                   AND d.refobjsubid = b.attnum))
                 ORDER BY 1) AS unique,
           ARRAY(SELECT k.conname::text FROM pg_constraint k
                 WHERE k.conrelid = b.attrelid AND k.contype = 'c' AND b.attnum = ANY (k.conkey) ORDER BY 1) AS checks
    FROM base b JOIN pg_type t ON t.oid = b.type
    JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
    WHERE t.typtype <> 'd'
    ORDER BY b.attrelid, b.attnum
"""

FOREIGN_KEYS = """
    SELECT k.conname::text AS name, k.conrelid::bigint AS child, n.nspname::text AS schema,
           c.relname::text AS child_name, k.confrelid::bigint AS parent, pn.nspname::text AS parent_schema,
           p.relname::text AS parent_name, k.confdeltype::text AS on_delete,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS x (attnum, position)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum ORDER BY x.position) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS x (attnum, position)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum
                 ORDER BY x.position) AS parent_columns,
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
                   AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) AS indexed
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class p ON p.oid = k.confrelid
    JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE k.contype = 'f' AND (k.confrelid = ANY ($1::bigint[]::oid[]) OR k.conrelid = ANY ($1::bigint[]::oid[]))
      AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = k.conparentid AND p.confrelid = k.confrelid
                      AND NOT k.conrelid = ANY ($1::bigint[]::oid[]))  -- a partition's copy of its parent's
    ORDER BY n.nspname, c.relname, k.conname
"""

UNIQUE_INDICES = """
    SELECT i.indrelid::bigint AS oid, i.indnullsnotdistinct AS nulls_equal,
           pg_get_expr(i.indpred, i.indrelid) AS predicate,
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, part, false)
                 FROM generate_series(1, i.indnkeyatts) AS part ORDER BY part) AS expressions
    FROM pg_index i WHERE i.indrelid = ANY ($1::bigint[]::oid[]) AND i.indisunique AND i.indislive
    ORDER BY i.indexrelid
"""


async def read_tables(connection: Connection, places: Collection[str]) -> dict[str, Table]:
    """Looks tables up.

    Args:
        connection: PostgreSQL.
        places: Tables as the data map names them.

    Returns:
        Those that exist, by place.
    """
    names = {table_name(place): place for place in places}
    found = await connection.fetch(TABLES, [schema for schema, _ in names], [name for _, name in names])
    columns: dict[int, dict[str, Column]] = {row["oid"]: {} for row in found}
    for row in await connection.fetch(COLUMNS, list(columns)):
        columns[row["oid"]][row["name"]] = Column(
            name=row["name"],
            type=row["type"],
            element=row["element"],
            array=row["array"],
            family=Family(row["family"]),
            width=row["width"],
            not_null=row["not_null"],
            generated=row["generated"],
            numbered=row["numbered"],
            unique=tuple(row["unique"]),
            checks=tuple(row["checks"]),
        )
    return {
        (place := names[row["schema"], row["name"]]): Table(
            place=place,
            oid=row["oid"],
            schema=row["schema"],
            name=row["name"],
            kind=row["kind"],
            has_heirs=row["has_heirs"],
            key=tuple(row["key"] or ()),
            triggers=tuple(row["triggers"]),
            columns=columns[row["oid"]],
        )
        for row in found
    }


async def read_foreign_keys(connection: Connection, tables: Collection[Table]) -> list[ForeignKey]:
    """The foreign keys that start or end at these tables."""
    return [
        ForeignKey(
            name=row["name"],
            child=row["child"],
            child_sql=f"{quote(row['schema'])}.{quote(row['child_name'])}",
            child_place=f"{row['schema']}.{row['child_name']}",
            columns=tuple(row["columns"]),
            parent=row["parent"],
            parent_sql=f"{quote(row['parent_schema'])}.{quote(row['parent_name'])}",
            parent_place=f"{row['parent_schema']}.{row['parent_name']}",
            parent_columns=tuple(row["parent_columns"]),
            on_delete=row["on_delete"],
            indexed=row["indexed"],
        )
        for row in await connection.fetch(FOREIGN_KEYS, [table.oid for table in tables])
    ]


async def read_unique_indices(connection: Connection, tables: Collection[Table]) -> list[UniqueIndex]:
    """The unique indices of these tables."""
    return [
        UniqueIndex(
            table=row["oid"],
            expressions=tuple(row["expressions"]),
            predicate=row["predicate"],
            nulls_equal=row["nulls_equal"],
        )
        for row in await connection.fetch(UNIQUE_INDICES, [table.oid for table in tables])
    ]
