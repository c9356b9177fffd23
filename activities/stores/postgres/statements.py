"""The SQL of an erasure. Every statement is about all of a slice's rows in one table; none about one contributor.

Values travel by COPY into temporary tables that end with the transaction; what stands in the text of a statement is
quoted names and our own constants.

    erasure_identity     the slice's identities
    erasure_known        which rows have a pre-image already, and of what content
    erasure_matched_<n>  key of each row of table <n> that holds an identity, and by which entry of the data map
    erasure_bound_<n>    where the ranges end in which table <n> is read, where it is read in ranges
    erasure_mask         values of the columns being masked, and what becomes of them; in a column of arrays, JSON or
                         text also what stays as it is, and by entry of the data map
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from activities.masking import CONSTANT, Strategy
from activities.stores.postgres.catalogue import Column, ForeignKey, Table, quote
from activities.stores.postgres.conditions import compared, held_by, holds, unmasked
from activities.stores.postgres.connection import IDLE_TIMEOUT, STATEMENT_TIMEOUT
from activities.stores.postgres.data_map import Deletion, Masking
from activities.stores.postgres.masks import Mask, masks_of

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
    CREATE TEMPORARY TABLE erasure_mask (target int, place int, due int[], value text, mask text) ON COMMIT DROP;
    CREATE INDEX ON pg_temp.erasure_mask USING hash (value COLLATE "C");
    CREATE INDEX ON pg_temp.erasure_mask USING hash (mask COLLATE "C");
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
    def bounds(self) -> str:
        """The temporary table of where ranges end, quoted."""
        return f"pg_temp.erasure_bound_{self.number}"

    @property
    def stored(self) -> list[Column]:
        """The columns that a pre-image holds: all but those that the server computes."""
        return [column for column in self.table.columns.values() if not column.generated]

    @cached_property
    def masked_columns(self) -> dict[str, list[tuple[int, Mask]]]:
        """What is wanted of each masked column, and by which entry."""
        wanted: dict[str, list[tuple[int, Mask]]] = {}
        for number, entry in self.masks.items():
            for mask in masks_of(entry, self.table).values():
                wanted.setdefault(mask.column.name, []).append((number, mask))
        return wanted

    def wanted(self, name: str, entries: Collection[int]) -> list[Mask]:
        """What those entries want of a masked column."""
        return [mask for number, mask in self.masked_columns[name] if number in entries]

    def does(self, entries: Collection[int]) -> dict[str, str]:
        """What those entries do, by name in the data map."""
        return {
            name: rule.mask.value
            for number, entry in self.masks.items()
            if number in entries
            for name, rule in entry.columns.items()
        }

    def is_plain(self, name: str) -> bool:
        """Whether SQL alone can tell what of a masked column is masked already."""
        return all(mask.is_plain for _, mask in self.masked_columns[name])

    @property
    def needs_look(self) -> bool:
        """Whether some values have to be looked at before it is known which rows there are to mask."""
        return not all(map(self.is_plain, self.masked_columns))

    def _keys(self, alias: str) -> list[str]:
        """What tells rows apart: the key, or else where the row stands, which a row lock keeps as it is."""
        return [f"{alias}.{quote(name)}" for name in self.table.key] or [f"{alias}.tableoid", f"{alias}.ctid"]

    def join(self, alias: str, matched: str) -> str:
        """Joins the table with what was found in it."""
        return " AND ".join(f"{key} = {matched}.k{number}" for number, key in enumerate(self._keys(alias)))

    def create_matched(self) -> str:
        """Makes the table of the rows found."""
        return self._create(f"erasure_matched_{self.number}", "entry")

    def create_bounds(self) -> str:
        """Makes the table of where ranges end, if it is not there yet."""
        return self._create(f"IF NOT EXISTS erasure_bound_{self.number}", "step")

    def _create(self, name: str, first: str) -> str:
        keys = ", ".join(f"{key} AS k{number}" for number, key in enumerate(self._keys("t")))
        return (
            f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS "
            f"SELECT 0 AS {first}, {keys} FROM {self.table.sql} AS t WITH NO DATA"
        )

    def add_bound(self, step: int, rows: int) -> str:
        """Notes where a range ends that takes so many rows from the bound before; nothing where there are fewer."""
        keys = ", ".join(self._keys("t"))
        return f"""
            INSERT INTO {self.bounds} SELECT {step}, {keys} FROM {self.table.sql} AS t WHERE {self._behind(step)}
            ORDER BY {keys} OFFSET {rows - 1} LIMIT 1
        """

    def within(self, step: int, *, last: bool) -> str:
        """Whether row ``t`` is in a range: behind the bound before, and up to its own but for the last."""
        return self._behind(step) if last else f"{self._behind(step)} AND {self._beside('<=', step)}"

    def _behind(self, step: int) -> str:
        return self._beside(">", step - 1) if step else "true"

    def _beside(self, operator: str, step: int) -> str:
        keys = self._keys("t")
        bound = ", ".join(f"b.k{number}" for number in range(len(keys)))
        return f"({', '.join(keys)}) {operator} (SELECT {bound} FROM {self.bounds} AS b WHERE b.step = {step})"

    def condition(self, number: int) -> str:
        """Whether row ``t`` holds an identity of the slice and still has something to erase."""
        if number in self.deletes:
            return holds(self.deletes[number], self.table)
        entry = self.masks[number]
        columns = {mask.column.name: mask for mask in masks_of(entry, self.table).values()}
        left = " OR ".join(
            unmasked(mask.column, mask.strategy) if self.is_plain(name) else f"t.{quote(name)} IS NOT NULL"
            for name, mask in columns.items()
        )
        return f"{holds(entry, self.table)} AND ({left})"

    def look_up(self, number: int) -> str:
        """The rows of one entry and one identity: what an index would be asked."""
        entry = self.masks.get(number) or self.deletes[number]
        column, path = held_by(entry, self.table)
        if path or column.array:
            return f"SELECT FROM {self.table.sql} AS t WHERE {holds(entry, self.table)}"
        stored, wanted = compared(entry, column, f"t.{quote(column.name)}")
        return (
            f"SELECT FROM {self.table.sql} AS t "
            f"WHERE {stored} = (SELECT {wanted} FROM pg_temp.erasure_identity AS i LIMIT 1)"
        )

    def match(self, number: int, *, lock: bool, within: str = "true") -> str:
        """Finds the rows of one entry; locks them in the order of the key, so that two slices cannot deadlock."""
        keys = ", ".join(self._keys("t"))
        return f"""
            WITH found AS (
                SELECT {keys} FROM {self.table.sql} AS t
                WHERE {self.condition(number)} AND {within}
                ORDER BY {keys} {"FOR UPDATE OF t" if lock else ""})
            INSERT INTO {self.matched} SELECT {number}, found.* FROM found
        """

    def count_matched(self) -> str:
        """How many rows were found, each once."""
        keys = ", ".join(f"k{number}" for number in range(len(self._keys("t"))))
        return f"SELECT count(*) FROM (SELECT DISTINCT {keys} FROM {self.matched}) AS rows"

    def size_matched(self) -> str:
        """How many bytes the rows found take."""
        return (
            f"SELECT coalesce(sum(pg_column_size(t)), 0)::bigint FROM {self.table.sql} AS t "
            f"JOIN {self._rows({*self.masks, *self.deletes})} AS m ON {self.join('t', 'm')}"
        )

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

    def values(self, name: str) -> str | None:
        """The distinct values of a masked column that need a mask, each with the entries that want one.

        None where no value makes a difference. A plain column's mask is the same whoever wants it.
        """
        entries = {number for number, _ in self.masked_columns[name]}
        column = self.table.columns[name]
        value = f"t.{quote(name)}"
        if not self.is_plain(name):
            due, which = self._due(name), f"{value} IS NOT NULL"
        else:
            strategy = self.masked_columns[name][0][1].strategy
            if strategy is not Strategy.TOKEN:
                return None
            due, which = f"{_array(entries)}", unmasked(column, strategy)
        return (
            f'SELECT DISTINCT {value}::text COLLATE "C" AS value, {due} AS due FROM {self.table.sql} AS t '
            f"JOIN {self._rows(entries, but=self.deletes)} AS m ON {self.join('t', 'm')} WHERE {which}"
        )

    def _due(self, name: str) -> str:
        """Those entries of row ``m`` that want something of a column."""
        entries = {number for number, _ in self.masked_columns[name]}
        return f"ARRAY(SELECT e FROM unnest(m.entries) AS e WHERE e = ANY ({_array(entries)}) ORDER BY e)"

    def _found(self, name: str, what: str) -> str:
        """What is staged of a column's value."""
        due = "" if self.is_plain(name) else f"AND k.due = {self._due(name)} "
        return (
            f"SELECT {what} FROM pg_temp.erasure_mask AS k WHERE k.target = {self.number} "
            f'AND k.place = {self.place_of(name)} {due}AND k.value COLLATE "C" = t.{quote(name)}::text COLLATE "C"'
        )

    def place_of(self, name: str) -> int:
        """Tells a masked column from the others."""
        return list(self.masked_columns).index(name)

    def _left(self, name: str) -> str:
        """Whether row ``m`` has something to mask in a column of row ``t``."""
        if not self.is_plain(name):
            return f"EXISTS ({self._found(name, '')} AND k.mask <> k.value)"
        entries = {number for number, _ in self.masked_columns[name]}
        has_unmasked = unmasked(self.table.columns[name], self.masked_columns[name][0][1].strategy)
        return f"m.entries && {_array(entries)} AND {has_unmasked}"

    def leave_masked(self) -> str:
        """Leaves the rows out in which all is masked already, as could not be told before their values were staged."""
        same = " AND ".join(f"x.k{number} = m.k{number}" for number in range(len(self._keys("t"))))
        left = " OR ".join(map(self._left, self.masked_columns))
        return f"""
            DELETE FROM {self.matched} AS x
            USING {self._rows(self.masks, but=self.deletes)} AS m JOIN {self.table.sql} AS t ON {self.join("t", "m")}
            WHERE {same} AND ({left}) IS NOT TRUE
        """

    def mask(self) -> str:
        """Masks every column of every row in one statement: each expression sees the row as it was."""
        return f"""
            UPDATE {self.table.sql} AS t
            SET {", ".join(self._assignments())}
            FROM {self._rows(self.masks, but=self.deletes)} AS m
            WHERE {self.join("t", "m")}
        """

    def _assignments(self) -> Iterable[str]:
        for name, wanted in self.masked_columns.items():
            column = self.table.columns[name]
            staged = f"({self._found(name, 'k.mask')})::{column.type}"
            mask = {Strategy.NULL: "NULL", Strategy.CONSTANT: f"'{CONSTANT}'::{column.type}"}
            value = mask.get(wanted[0][1].strategy, staged) if self.is_plain(name) else staged
            yield f"{quote(name)} = CASE WHEN {self._left(name)} THEN {value} ELSE t.{quote(name)} END"

    def count_unmasked(self) -> str:
        """How many rows are as they were although they were masked: a trigger or rule was stronger."""
        left = " OR ".join(
            self._left(name)
            if self.is_plain(name)
            else f"""m.entries && {_array({number for number, _ in wanted})} AND t.{quote(name)} IS NOT NULL
                AND NOT EXISTS (SELECT FROM pg_temp.erasure_mask AS k
                    WHERE k.target = {self.number} AND k.place = {self.place_of(name)}
                      AND k.mask COLLATE "C" = t.{quote(name)}::text COLLATE "C")"""
            for name, wanted in self.masked_columns.items()
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
            if any((rule := entry.columns.get(column)) is not None and rule.mask is Strategy.NULL for column in columns)
        }


def _array(entries: Collection[int]) -> str:
    return f"'{{{','.join(map(str, sorted(entries)))}}}'::int[]"
