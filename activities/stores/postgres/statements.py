"""The SQL of an erasure. Every statement is about all of a slice's rows in one table; none about one contributor.

Values travel by COPY into temporary tables that end with the transaction; what stands in the text of a statement is
quoted names and our own constants.

    erasure_identity     the slice's identities
    erasure_known        which rows have a pre-image already, and of what content
    erasure_matched_<n>  key of each row of table <n> that holds an identity, and by which entry of the data map
    erasure_mask         values of the table being masked, and their tokens
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from activities.identities import IdentityKind
from activities.masking import CONSTANT, Strategy
from activities.stores.postgres.catalogue import Column, Family, ForeignKey, Table, quote
from activities.stores.postgres.connection import IDLE_TIMEOUT, STATEMENT_TIMEOUT
from activities.stores.postgres.data_map import Deletion, Masking

BLANKS = " \t\n\r\f\x0b"
"""What may stand around an address: `lower(btrim(...))` without it."""

_BLANKS_SQL = r"E' \t\n\r\f\x0b'"

SESSION = f"""
    SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s';
    SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s';
    SET LOCAL row_security = off;  -- an error where a policy would silently hide rows
    SET LOCAL datestyle = 'ISO, YMD';  -- from here on: the same row has the same text, whoever asks
    SET LOCAL intervalstyle = 'postgres';
    SET LOCAL timezone = 'UTC';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL bytea_output = 'hex';
    SET LOCAL lc_monetary = 'C';
"""

STAGING = """
    CREATE TEMPORARY TABLE erasure_identity (kind text, value text, number bigint, uuid uuid) ON COMMIT DROP;
    CREATE TEMPORARY TABLE erasure_known (target int, id text[], digest text, at bigint) ON COMMIT DROP;
    CREATE TEMPORARY TABLE erasure_mask (value text, mask text) ON COMMIT DROP;
    CREATE INDEX ON pg_temp.erasure_mask USING hash (value COLLATE "C");
"""

XID = "SELECT pg_current_xact_id()::text"

NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""Microseconds; among several pre-images of a row the latest is what was overwritten last."""


@dataclass(frozen=True)
class Target:
    """A table with everything that the data map wants done to it.

    Args:
        number: Its place in the order of writing.
        table: From the catalogue.
        masks: Entries that mask, by number.
        deletes: Entries that delete, by number.
    """

    number: int
    table: Table
    masks: dict[int, Masking]
    deletes: dict[int, Deletion]

    @property
    def place(self) -> str:
        """As the report names it."""
        return self.table.place

    @property
    def matched(self) -> str:
        """The temporary table of the rows found, quoted."""
        return f"pg_temp.erasure_matched_{self.number}"

    @property
    def stored(self) -> list[Column]:
        """The columns that a pre-image holds: all but those that the server computes."""
        return [column for column in self.table.columns.values() if not column.generated]

    @property
    def masked_columns(self) -> dict[str, tuple[Strategy, list[int]]]:
        """Each masked column's strategy, and the entries that want it."""
        wanted: dict[str, tuple[Strategy, list[int]]] = {}
        for number, entry in self.masks.items():
            for column, strategy in entry.columns.items():
                wanted.setdefault(column, (strategy, []))[1].append(number)
        return wanted

    def _keys(self, alias: str) -> list[str]:
        """What tells rows apart: the key, or else where the row stands, which a row lock keeps as it is."""
        return [f"{alias}.{quote(name)}" for name in self.table.key] or [f"{alias}.tableoid", f"{alias}.ctid"]

    def join(self, alias: str, matched: str) -> str:
        """Joins the table with what was found in it."""
        return " AND ".join(f"{key} = {matched}.k{number}" for number, key in enumerate(self._keys(alias)))

    def create_matched(self) -> str:
        """Makes the table of the rows found."""
        keys = ", ".join(f"{key} AS k{number}" for number, key in enumerate(self._keys("t")))
        return (
            f"CREATE TEMPORARY TABLE erasure_matched_{self.number} ON COMMIT DROP AS "
            f"SELECT 0 AS entry, {keys} FROM {self.table.sql} AS t WITH NO DATA"
        )

    def condition(self, number: int) -> str:
        """Whether row ``t`` holds an identity of the slice and still has something to erase."""
        if number in self.deletes:
            return _holds(self.deletes[number], self.table)
        entry = self.masks[number]
        left = " OR ".join(_unmasked(self.table.columns[name], strategy) for name, strategy in entry.columns.items())
        return f"{_holds(entry, self.table)} AND ({left})"

    def look_up(self, number: int) -> str:
        """The rows of one entry and one identity: what an index would be asked."""
        stored, wanted = _compared(self.masks.get(number) or self.deletes[number], self.table)
        return (
            f"SELECT FROM {self.table.sql} AS t "
            f"WHERE {stored} = (SELECT {wanted} FROM pg_temp.erasure_identity AS i LIMIT 1)"
        )

    def match(self, number: int, *, lock: bool) -> str:
        """Finds the rows of one entry; locks them in the order of the key, so that two slices cannot deadlock."""
        keys = ", ".join(self._keys("t"))
        return f"""
            WITH found AS (
                SELECT {keys} FROM {self.table.sql} AS t WHERE {self.condition(number)}
                ORDER BY {keys} {"FOR UPDATE OF t" if lock else ""})
            INSERT INTO {self.matched} SELECT {number}, found.* FROM found
        """

    def count_matched(self) -> str:
        """How many rows were found, each once."""
        keys = ", ".join(f"k{number}" for number in range(len(self._keys("t"))))
        return f"SELECT count(*) FROM (SELECT DISTINCT {keys} FROM {self.matched}) AS rows"

    def _rows(self, entries: Collection[int], *, but: Collection[int] = ()) -> str:
        """The rows found by these entries, and not by those, each once, with the entries."""
        keys = ", ".join(f"k{number}" for number in range(len(self._keys("t"))))
        return (
            f"(SELECT {keys}, array_agg(entry) AS entries FROM {self.matched} GROUP BY {keys}"
            f" HAVING array_agg(entry) && {_array(entries)} AND NOT array_agg(entry) && {_array(but)})"
        )

    def pre_images(self) -> str:
        """The rows found: key, entries, digest, and their content where its present state has no pre-image.

        A table without a key tells equal rows apart by counting them.
        """
        columns = ", ".join(f"t.{quote(column.name)}::text" for column in self.stored)
        key = ", ".join(f"t.{quote(name)}::text" for name in self.table.key)
        row_id = "key" if self.table.key else "ARRAY[digest, (row_number() OVER (PARTITION BY digest))::text]"
        return f"""
            WITH content AS (
                SELECT ARRAY[{key}]::text[] AS key, ARRAY[{columns}]::text[] AS content, m.entries
                FROM {self.table.sql} AS t JOIN {self._rows({*self.masks, *self.deletes})} AS m ON {self.join("t", "m")}
            ), digested AS (
                SELECT *, encode(sha256(convert_to(content::text, getdatabaseencoding())), 'hex') AS digest FROM content
            ), named AS (
                SELECT {row_id} AS id, content, entries, digest FROM digested
            ), latest AS (
                SELECT DISTINCT ON (id) id, digest FROM pg_temp.erasure_known
                WHERE target = {self.number} ORDER BY id, at DESC
            )
            SELECT named.id, CASE WHEN latest.id IS NULL THEN content END AS content, entries, named.digest
            FROM named LEFT JOIN latest ON latest.id = named.id AND latest.digest = named.digest
        """

    def values_to_mask(self) -> str | None:
        """The distinct values that need a token."""
        selects = [
            f'SELECT DISTINCT t.{quote(name)}::text COLLATE "C" AS value FROM {self.table.sql} AS t '
            f"JOIN {self._rows(entries, but=self.deletes)} AS m ON {self.join('t', 'm')} "
            f"WHERE {_unmasked(self.table.columns[name], strategy)}"
            for name, (strategy, entries) in self.masked_columns.items()
            if strategy is Strategy.TOKEN
        ]
        return " UNION ".join(selects) or None

    def mask(self) -> str:
        """Masks every column of every row in one statement: each expression sees the row as it was."""
        return f"""
            UPDATE {self.table.sql} AS t
            SET {", ".join(self._assignments())}
            FROM {self._rows(self.masks, but=self.deletes)} AS m
            WHERE {self.join("t", "m")}
        """

    def _assignments(self) -> Iterable[str]:
        for name, (strategy, entries) in self.masked_columns.items():
            column = self.table.columns[name]
            value = f"t.{quote(name)}"
            mask = {
                Strategy.NULL: "NULL",
                Strategy.CONSTANT: f"'{CONSTANT}'::{column.type}",
                Strategy.TOKEN: "(SELECT k.mask FROM pg_temp.erasure_mask AS k "
                f'WHERE k.value COLLATE "C" = {value}::text COLLATE "C")::{column.type}',
            }[strategy]
            due = f"m.entries && {_array(entries)} AND {_unmasked(column, strategy)}"
            yield f"{quote(name)} = CASE WHEN {due} THEN {mask} ELSE {value} END"

    def count_unmasked(self) -> str:
        """How many rows are as they were although they were masked: a trigger or rule was stronger."""
        left = " OR ".join(
            f"m.entries && {_array(entries)} AND {_unmasked(self.table.columns[name], strategy)}"
            for name, (strategy, entries) in self.masked_columns.items()
        )
        return f"""
            SELECT count(*) FROM {self.table.sql} AS t
            JOIN {self._rows(self.masks, but=self.deletes)} AS m ON {self.join("t", "m")} WHERE {left}
        """

    def delete(self) -> str:
        """Deletes the rows found."""
        return f"DELETE FROM {self.table.sql} AS t USING {self._rows(self.deletes)} AS m WHERE {self.join('t', 'm')}"

    def count_undeleted(self) -> str:
        """How many rows are still there although they were deleted."""
        return f"""
            SELECT count(*) FROM {self.table.sql} AS t
            JOIN {self._rows(self.deletes)} AS m ON {self.join("t", "m")}
        """

    def swept_along(self, key: ForeignKey, child: Target | None) -> str:
        """Whether deleting would delete or change rows of a child table by a foreign key, rows without a pre-image.

        Args:
            key: Refers to this table, ON DELETE CASCADE or SET NULL or SET DEFAULT.
            child: The child table, where the data map has it.
        """
        on = " AND ".join(
            f"c.{quote(mine)} = t.{quote(theirs)}" for mine, theirs in zip(key.columns, key.parent_columns, strict=True)
        )
        covered = ""
        if child is not None:
            entries = {*child.deletes, *child.nulling(key.columns)}
            covered = f"""AND NOT EXISTS (
                SELECT FROM {child.matched} AS x WHERE {child.join("c", "x")} AND x.entry = ANY ({_array(entries)}))"""
        return f"""
            SELECT EXISTS (
                SELECT FROM {self._rows(self.deletes)} AS m
                JOIN {self.table.sql} AS t ON {self.join("t", "m")}
                JOIN {key.child_sql} AS c ON {on}
                WHERE true {covered})
        """

    def nulling(self, columns: Collection[str]) -> set[int]:
        """The entries that set one of these columns to null, which frees a row from its foreign key."""
        return {
            number
            for number, entry in self.masks.items()
            if any(entry.columns.get(column) is Strategy.NULL for column in columns)
        }


def email_of(column: str) -> str:
    """The form in which addresses are compared, as an index on it would have it."""
    return f'lower(btrim({column}::text, {_BLANKS_SQL})) COLLATE "C"'


def _holds(entry: Deletion, table: Table) -> str:
    """Whether row ``t`` holds an identity of the slice."""
    stored, wanted = _compared(entry, table)
    exact = ""
    if table.columns[entry.by].family is Family.TEXT and entry.holds is not IdentityKind.EMAIL:
        exact = f'AND {stored}::text COLLATE "C" = i.value'  # whatever the column's type or collation takes for equal
    return (
        "EXISTS (SELECT FROM pg_temp.erasure_identity AS i "
        f"WHERE i.kind = '{entry.holds.value}' AND {stored} = {wanted} {exact})"
    )


def _compared(entry: Deletion, table: Table) -> tuple[str, str]:
    """What of row ``t`` is compared with what of identity ``i``; an index on the former serves."""
    column, value = table.columns[entry.by], f"t.{quote(entry.by)}"
    if entry.holds is IdentityKind.EMAIL:
        return email_of(value), "i.value"
    wanted = {
        Family.TEXT: f"i.value::{column.type}",
        Family.INTEGER: "i.number",
        Family.NUMERIC: "i.number::numeric",
        Family.UUID: "i.uuid",
    }
    return value, wanted[column.family]


def _unmasked(column: Column, strategy: Strategy) -> str:
    """Whether a column of row ``t`` holds something that is no mask yet."""
    value = f"t.{quote(column.name)}"
    if strategy is Strategy.NULL:
        return f"{value} IS NOT NULL"
    return f"{value}::text COLLATE \"C\" !~ '^{CONSTANT}(-[a-z2-7]{{26}})?$'"


def _array(entries: Collection[int]) -> str:
    return f"'{{{','.join(map(str, sorted(entries)))}}}'::int[]"
