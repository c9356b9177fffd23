"""What PostgreSQL's own catalogue says that there is to read, and what of it nobody can or does read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from activities.contract import Finding
from activities.messages import Depth
from activities.verification.canary import Canary
from activities.verification.contract import Catalogue, Place, Scope
from activities.verification.reach import is_within_reach, left_out

if TYPE_CHECKING:
    from asyncpg import Record

    from activities.stores.postgres.connection import Connection

CANARIES = "erasure"
"""The schema of the tables that scans plant themselves: these are read at every depth."""

LARGE_OBJECTS = "pg_largeobject"
"""The place of all large objects."""

SHOWN = 20
"""Names that one finding shows."""

SETTINGS = """
    SELECT current_setting('server_version') AS version, current_database() AS database,
           (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects,
           (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relpersistence = 't'
                AND relnamespace <> pg_my_temp_schema()) AS temporary,
           (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) AS prepared,
           (SELECT count(*) FROM pg_replication_slots) AS slots,
           (SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements') AS statements,
           current_setting('archive_mode') <> 'off' AS archives,
           current_setting('log_statement') <> 'none'
               OR current_setting('log_min_duration_statement') <> '-1' AS logs
"""

DATABASES = """
    SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> current_database() ORDER BY datname
"""

COLUMNS = """
    WITH RECURSIVE resolved(oid, base) AS (
        SELECT oid, oid FROM pg_type
        UNION ALL
        SELECT resolved.oid, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END
        FROM resolved JOIN pg_type AS t ON t.oid = resolved.base
        WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)
    ),
    base AS (
        SELECT resolved.oid, t.typname, t.typcategory
        FROM resolved JOIN pg_type AS t ON t.oid = resolved.base
        WHERE t.typtype <> 'd' AND NOT (t.typcategory = 'A' AND t.typelem <> 0)
    ),
    above(child, ancestor) AS (
        SELECT inhrelid, inhparent FROM pg_inherits
        UNION
        SELECT above.child, inhparent FROM above JOIN pg_inherits ON inhrelid = above.ancestor
    )
    SELECT n.nspname AS schema, c.relname AS table, c.relkind::text AS kind, a.attname AS column,
           base.typname AS base, base.typcategory::text AS category, t.typcategory IN ('A', 'C') AS composed,
           greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS rows,
           (c.relpages::bigint + coalesce(toast.relpages, 0)) * current_setting('block_size')::int AS bytes,
           has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
           row_security_active(c.oid) AS filtered,
           ARRAY(SELECT p.relname FROM above JOIN pg_class AS p ON p.oid = ancestor WHERE child = c.oid
                 ORDER BY p.oid) AS ancestors,
           ARRAY(SELECT s.nspname FROM above JOIN pg_class AS p ON p.oid = ancestor
                 JOIN pg_namespace AS s ON s.oid = p.relnamespace WHERE child = c.oid ORDER BY p.oid) AS schemas
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN base ON base.oid = a.atttypid
    LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid
    WHERE c.relkind IN ('r', 'm', 'f') AND c.relispopulated AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY n.nspname, c.relname, a.attnum
"""

SYSTEM = {
    "pg_catalog.pg_stats": "SELECT most_common_vals, histogram_bounds, most_common_elems FROM pg_catalog.pg_stats",
    "pg_catalog.pg_description": "SELECT description FROM pg_catalog.pg_description WHERE objoid >= 16384",
    "pg_catalog.pg_shdescription": "SELECT description FROM pg_catalog.pg_shdescription",
    "pg_catalog.pg_proc": "SELECT proname, prosrc FROM pg_catalog.pg_proc WHERE oid >= 16384",
    "pg_catalog.pg_views": "SELECT viewname, definition FROM pg_catalog.pg_views WHERE schemaname <> 'pg_catalog'",
    "pg_catalog.pg_roles": "SELECT rolname FROM pg_catalog.pg_roles",
    "pg_catalog.pg_enum": "SELECT enumlabel FROM pg_catalog.pg_enum",
}
"""Where the system's own catalogue keeps values and texts of people's making. ``16384``: the first id of theirs."""

_TIMES = {"D", "T", "B", "G", "I", "V"}
"""Categories of types that cannot hold an identity: times, booleans, shapes, network addresses, bits."""

How = Literal["text", "document", "bytes"]
"""How a column is read: as it is written, as JSON, or as bytes."""


@dataclass(frozen=True)
class Column:
    """A column that is read.

    Args:
        name: Its name.
        how: How it is read.
        is_number: Whether it holds numbers or ranges, which may count something.
    """

    name: str
    how: How
    is_number: bool = False


@dataclass(frozen=True)
class Relation:
    """Something that holds rows.

    Args:
        place: Its name, as findings show it.
        source: What stands after ``FROM``.
        columns: What is read of it.
    """

    place: str
    source: str
    columns: tuple[Column, ...]


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def named(*parts: str) -> str:
    """A name in findings: in double quotes where it has a dot or a quote."""
    return ".".join(quoted(part) if re.search(r'[".]', part) else part for part in parts)


def is_canary(schema: str, table: str) -> bool:
    """Whether a table is one that a scan planted."""
    return schema == CANARIES and table.startswith(Canary("", "_").prefix)


async def learn(connection: Connection, scope: Scope) -> tuple[Catalogue, dict[str, Relation]]:
    """Lists what there is to read.

    Args:
        connection: In a transaction.
        scope: How far to look.

    Returns:
        The catalogue, and how each of its places is read.
    """
    settings = await connection.fetchrow(SETTINGS)
    assert settings is not None, "a SELECT without FROM has one row"
    catalogue = Catalogue(settings["version"])
    relations: dict[str, Relation] = {}
    unmapped: list[str] = []
    beyond: list[str] = []
    for rows in _by_table(await connection.fetch(COLUMNS)):
        names = (rows[0]["schema"], rows[0]["table"])
        place = named(*names)
        if not is_canary(*names):
            if not is_within_reach(scope, "postgres", place):
                beyond.append(place)
                continue
            if scope.depth == "mapped" and not _is_mapped(rows[0], scope.mapped):
                unmapped.append(place)
                continue
        _add(catalogue, relations, rows, scope)
    if scope.depth != "mapped":
        databases = [row["datname"] for row in await connection.fetch(DATABASES)]
        catalogue.not_proven.extend(_beside(settings, databases, scope.depth))
        beyond += _add_system(catalogue, relations, settings, scope)
    more = "Widen verification.reach to look there too."
    catalogue.not_proven.extend(
        left_out("postgres", beyond, "places outside of the reach that the data map sets", more)
    )
    more = "Verify at depth catalogue to look there too."
    catalogue.not_proven.extend(left_out("postgres", unmapped, "tables that the data map does not name", more))
    return catalogue, relations


def _by_table(rows: Iterable[Record]) -> Iterable[list[Record]]:
    tables: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        tables.setdefault((row["schema"], row["table"]), []).append(row)
    return tables.values()


def _is_mapped(row: Record, mapped: Sequence[str]) -> bool:
    """Whether the data map names a table, or one that it is a part of."""
    names = [named(row["schema"], row["table"]), *map(named, row["schemas"], row["ancestors"])]
    return any(name in mapped or any(fnmatchcase(name, glob) for glob in mapped) for name in names)


def _add(catalogue: Catalogue, relations: dict[str, Relation], rows: Sequence[Record], scope: Scope) -> None:
    """Adds one table, as far as it can and is to be read."""
    schema, table = rows[0]["schema"], rows[0]["table"]
    place = named(schema, table)
    if rows[0]["filtered"]:
        what = "row-level security hides rows of it from this user"
        catalogue.not_proven.append(Finding(place, what, "Let a role with BYPASSRLS verify."))
        return
    if closed := [row["column"] for row in rows if not row["readable"]]:
        what = f"columns that this user may not read: {_listed(closed)}"
        catalogue.not_proven.append(Finding(place, what, "Grant SELECT on them, and USAGE on the schema."))
    whole = scope.depth == "deep" or _is_mapped(rows[0], scope.mapped)
    columns: list[Column] = []
    binary: list[str] = []
    numbers: list[str] = []
    for row in rows:
        if not row["readable"]:
            continue
        if row["base"] == "bytea" and scope.depth != "deep":
            binary.append(row["column"])
        elif row["category"] == "N" and not whole:
            numbers.append(row["column"])
        elif row["category"] not in _TIMES or scope.depth == "deep":
            columns.append(Column(row["column"], _how(row), row["category"] in "NR"))
    for names, kind in ((binary, "bytes"), (numbers, "numbers")):
        if names:
            what = f"columns of {kind}, which are read at depth deep only: {_listed(names)}"
            catalogue.not_proven.append(Finding(f"{place} ({kind})", what, "Verify at depth deep to read them too."))
    if columns:
        kept = tuple(column.name for column in columns)
        catalogue.places.append(Place(place, rows[0]["rows"], rows[0]["bytes"], kept))
        source = f"{quoted(schema)}.{quoted(table)}"
        relations[place] = Relation(place, f"ONLY {source}" if rows[0]["kind"] != "f" else source, tuple(columns))


def _how(row: Record) -> How:
    if row["composed"] or row["base"] == "hstore":
        return "document"
    return "bytes" if row["base"] == "bytea" else "text"


def _beside(settings: Record, databases: Sequence[str], depth: Depth) -> Iterable[Finding]:
    """What lies beside the tables of this database."""
    again = "Verify with ERASURE_POSTGRES__DSN set to each of them."
    if databases:
        yield Finding("postgres", f"other databases of the server: {_listed(databases)}", again)
    if settings["large_objects"] and depth != "deep":
        what = f"large objects, which are read at depth deep only: {settings['large_objects']:,}"
        yield Finding(LARGE_OBJECTS, what, "Verify at depth deep to read them too.")
    if depth != "deep":
        what = "statistics, comments and functions, which are read at depth deep only"
        yield Finding("pg_catalog", what, "Verify at depth deep to read them too; ANALYZE renews the statistics.")
    if settings["temporary"]:
        what = f"temporary tables of other sessions: {settings['temporary']:,}"
        yield Finding("pg_temp", what, "They end with their sessions.")
    if settings["prepared"]:
        what = f"prepared transactions, whose rows nobody sees yet: {settings['prepared']:,}"
        yield Finding("pg_prepared_xacts", what, "Commit them or roll them back, and verify again.")
    if settings["statements"]:
        what = "keeps texts of statements, which may hold values"
        yield Finding("pg_stat_statements", what, "SELECT pg_stat_statements_reset().")
    if settings["slots"] or settings["archives"]:
        what = "the write-ahead log is kept for standbys or an archive, and what was erased is in it"
        yield Finding("write-ahead log", what, "Let the archive expire.")
    if settings["logs"]:
        yield Finding("server log", "texts of statements are logged, which may hold values", "Let the logs expire.")


def _add_system(catalogue: Catalogue, relations: dict[str, Relation], settings: Record, scope: Scope) -> Iterable[str]:
    """Adds what is no table of anybody's, at depth deep; yields what is outside of the reach."""
    if scope.depth != "deep":
        return
    for place, query in SYSTEM.items():
        if not is_within_reach(scope, "postgres", place):
            yield place
            continue
        columns = tuple(query.partition("SELECT ")[2].partition(" FROM ")[0].split(", "))
        catalogue.places.append(Place(place, 0, 0, columns))
        relations[place] = Relation(place, f"({query}) AS system", tuple(Column(name, "text") for name in columns))
    if settings["large_objects"] and is_within_reach(scope, "postgres", LARGE_OBJECTS):
        catalogue.places.append(Place(LARGE_OBJECTS, settings["large_objects"], 0))
    elif settings["large_objects"]:
        yield LARGE_OBJECTS


def _listed(names: Sequence[str]) -> str:
    """Names, as many as one can read."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
