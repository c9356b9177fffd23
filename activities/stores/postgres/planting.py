"""Planting: one row of the canary in every table of the data map, parents before children, in one transaction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from activities.canary.person import Canary
from activities.contract import Finding, Planted, Seed, Seeds
from activities.errors import CriticalError, translated, unknown
from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.stores.postgres.catalogue import (
    Column,
    Family,
    ForeignKey,
    Table,
    quote,
    read_foreign_keys,
    read_tables,
)
from activities.stores.postgres.connection import LOCK_TIMEOUT, translate
from activities.stores.postgres.data_map import PostgresMap
from activities.stores.postgres.filling import Default, filler
from activities.stores.postgres.masks import BITS, find_column
from activities.stores.postgres.statements import SESSION

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.stores.postgres.connection import Connection

INSERT = "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values}) ON CONFLICT DO NOTHING"

DELETE = "DELETE FROM {table} AS t WHERE {own}"

COUNT = "SELECT count(*) FROM {table} AS t WHERE {own}"

EXISTING = "SELECT {columns} FROM {table} AS t WHERE {known} LIMIT 1"

FITS = "SELECT pg_input_is_valid($1::text, $2::text)"

_PLAIN = (IdentityKind.EMAIL, IdentityKind.CONTRIBUTOR_ID)
"""What stands in a text that is masked as a whole, whatever it says."""


@dataclass
class _Role:
    """What a column of the canary's row has to do with its identities.

    Args:
        value: What stands there; of JSON, the members at their paths.
        own: All that it may read later; None where that is not compared.
    """

    value: Any
    own: list[str] | None


@dataclass
class _Row:
    """A row that is being made.

    Args:
        values: By column, as texts.
        types: By column, as SQL casts a text to it.
        own: By column all that it may read later; a mask may have made it null.
        known_by: By column all that it may read later where that alone tells the row from any other.
    """

    values: dict[str, str | None] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    own: dict[str, list[str]] = field(default_factory=dict)
    known_by: dict[str, list[str]] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """As it is kept."""
        return {"values": self.values, "types": self.types, "own": self.own, "known_by": self.known_by}


class PostgresPlanter:
    """Plants in PostgreSQL; see `activities.contract.Planter` for the verbs.

    Args:
        pool: Shared by the worker's activities.
        data_map: What is deleted and masked.
    """

    def __init__(self, pool: Pool[Record], data_map: PostgresMap) -> None:
        self._pool = pool
        self._map = data_map

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles one row a table; numbers that the server gives are drawn now, so that each row's key is known."""
        found = Seeds()
        async with self._transaction() as connection:
            places = {entry.table for entry in (*self._map.mask, *self._map.delete)}
            tables = await read_tables(connection, sorted(places))
            keys = await read_foreign_keys(connection, list(tables.values()))
            defaults = await Default.read(connection, list(tables.values()))
            rows: dict[int, _Row] = {}
            for table in _parents_first(list(tables.values()), keys):
                making = _Making(connection, self._map, canary, table, keys, defaults[table.oid], rows)
                try:
                    async with _apart(connection, table.place):
                        rows[table.oid] = await making.run()
                except CriticalError as missed:
                    found.missed.append(Finding(table.place, missed.what, missed.remedy))
                    continue
                found.seeds.append(Seed(table.place, {"table": table.sql, **rows[table.oid].record}))
        return found

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Writes the rows; one that is refused is missed, and so are those that refer to it."""
        planted = Planted()
        async with self._transaction() as connection:
            for seed in seeds:
                table, values, types = (seed.record[part] for part in ("table", "values", "types"))
                statement = INSERT.format(
                    table=table,
                    columns=", ".join(map(quote, values)),
                    values=", ".join(f"${number}::text::{types[name]}" for number, name in enumerate(values, 1)),
                )
                try:
                    async with _apart(connection, seed.place):
                        condition, parameters = _is_own(seed)
                        count = COUNT.format(table=table, own=condition)
                        if not (rows := await connection.fetchval(count, *parameters)):
                            await connection.execute(statement, *values.values())
                            rows = await connection.fetchval(count, *parameters)
                except CriticalError as refused:
                    planted.missed.append(Finding(seed.place, refused.what, refused.remedy))
                    continue
                if rows:
                    planted.places[seed.place] = rows
                else:
                    what = "has a row already with a value of the canary's that must be unique"
                    planted.missed.append(Finding(seed.place, what, "Choose other identities for it: [canary]."))
        return planted

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Deletes the rows, children first; only such as are the canary's by their key and by all that is masked."""
        stays: list[Finding] = []
        async with self._transaction() as connection:
            for seed in reversed(seeds):
                table = seed.record["table"]
                try:
                    async with _apart(connection, seed.place):
                        condition, parameters = _is_own(seed)
                        await connection.execute(DELETE.format(table=table, own=condition), *parameters)
                        condition, parameters = _is_known(seed)
                        left = await connection.fetchval(COUNT.format(table=table, own=condition), *parameters)
                except CriticalError as refused:
                    what = f"the canary's row cannot be deleted: {refused.what}"
                    stays.append(Finding(seed.place, what, refused.remedy))
                    continue
                if left:
                    what = "the canary's row holds something else now, and was kept"
                    stays.append(Finding(seed.place, what, "Look at it, and delete it by hand."))
        return stays

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with translated("postgres", translate):
            async with self._pool.acquire(timeout=60) as connection, connection.transaction():
                await connection.execute(f"{SESSION} SET LOCAL lock_timeout = {round(LOCK_TIMEOUT * 1000)}")
                yield connection


class _Making:
    """Makes the canary's row of one table; what cannot be is a `CriticalError` that says why.

    Args:
        connection: PostgreSQL.
        data_map: What is deleted and masked.
        canary: Whose row.
        table: The table.
        keys: Foreign keys.
        defaults: Its columns' types, and what they hold unless told.
        rows: The rows that are made already, by their table's id.
    """

    def __init__(
        self,
        connection: Connection,
        data_map: PostgresMap,
        canary: Canary,
        table: Table,
        keys: Sequence[ForeignKey],
        defaults: Mapping[str, Default],
        rows: Mapping[int, _Row],
    ) -> None:
        self._connection = connection
        self._deletions = [entry for entry in data_map.delete if entry.table == table.place]
        self._maskings = [entry for entry in data_map.mask if entry.table == table.place]
        self._canary = canary
        self._table = table
        self._keys = [key for key in keys if key.child == table.oid]
        self._defaults = defaults
        self._rows = rows
        self._row = _Row()

    async def run(self) -> _Row:
        """Makes it."""
        row, table = self._row, self._table
        for name, role in self._roles().items():
            value = role.value if isinstance(role.value, str) else json.dumps(role.value)
            await self._set(table.columns[name], value)
            if role.own is not None:
                row.own[name] = role.own
        for key in self._keys:
            await self._refer(key)
        for column in table.columns.values():
            if column.name not in row.values and not column.generated:
                await self._fill(column)
        if table.key and all(row.values.get(name) is not None for name in table.key):
            row.known_by = {name: row.own.pop(name, [str(row.values[name])]) for name in table.key}
        else:
            row.known_by, row.own = self._told_by_identities(), {}
        return row

    def _told_by_identities(self) -> dict[str, list[str]]:
        """Only rows that are deleted may lack a key: nobody else has the identities by which they are found."""
        names = {entry.by for entry in self._deletions} & self._row.own.keys()
        if not names or self._maskings:
            raise self._missed("has no key by which the canary's row could be told from others", "Give it a key.")
        return {name: [str(self._row.values[name])] for name in sorted(names)}

    def _roles(self) -> dict[str, _Role]:
        """The columns that hold identities, or that are masked beside them."""
        roles: dict[str, _Role] = {}
        if self._table.place == self._canary.table:
            for name, value in self._canary.columns.items():
                if (column := self._table.columns.get(name)) is not None:
                    roles[name] = self._role(column, value, tuple(IdentityKind))
        for entry in (*self._deletions, *self._maskings):
            if (found := self._canary.identity([entry.holds])) is None:
                raise self._missed(f"is found by a {entry.holds}, and the canary has none", "Give it one: [canary].")
            self._place(roles, entry.by, found, (entry.holds,))
        for entry in self._maskings:
            for name, rule in entry.columns.items():
                text = self._canary.text(rule.holds) if rule.mask is Strategy.TEXT else None
                self._place(roles, name, text or self._canary.identity(rule.holds or _PLAIN), rule.holds)
        return roles

    def _place(self, roles: dict[str, _Role], name: str, value: str | None, kinds: tuple[IdentityKind, ...]) -> None:
        """Puts a value into a column, or at a path in it, unless something stands there already."""
        found = find_column(self._table, name)
        if found is None or value is None:
            return
        column, path = found
        if path:
            node = roles.setdefault(column.name, _Role({}, None)).value
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node.setdefault(path[-1], value)
        elif column.name not in roles and column.family in (Family.TEXT, Family.INTEGER, Family.UUID, Family.NUMERIC):
            roles[column.name] = self._role(column, value, kinds or tuple(IdentityKind))

    def _role(self, column: Column, value: str, kinds: tuple[IdentityKind, ...]) -> _Role:
        if column.array:
            return _Role("{" + json.dumps(value, ensure_ascii=False) + "}", None)
        if column.family is Family.INTEGER:
            if (own := self._canary.own_number(value, BITS[column.element], signed=True)) is None:
                raise self._missed(f"{column.name} takes a number, and the canary's identity is none", _FIT)
            return _Role(value, own)
        return _Role(value, self._canary.own(value, kinds))

    async def _refer(self, key: ForeignKey) -> None:
        """Lets a foreign key lead to the canary's own row, or else, where it must lead somewhere, to any."""
        row = self._row
        pairs = [
            (self._table.columns[name], parent) for name, parent in zip(key.columns, key.parent_columns, strict=True)
        ]
        own = self._rows.get(key.parent)
        if own is not None and all(own.values.get(name) is not None for _, name in pairs):
            for column, name in pairs:
                if column.name not in row.values:
                    await self._set(column, own.values[name])
                    row.own[column.name] = own.known_by.get(name) or own.own.get(name) or [str(own.values[name])]
            return
        if all(column.name in row.values for column, _ in pairs) or not any(column.not_null for column, _ in pairs):
            return
        known = [(name, row.values[column.name]) for column, name in pairs if column.name in row.values]
        query = EXISTING.format(
            columns=", ".join(f"t.{quote(name)}::text" for _, name in pairs),
            table=key.parent_sql,
            known=" AND ".join(f"t.{quote(name)}::text = ${at}" for at, (name, _) in enumerate(known, 1)) or "true",
        )
        there = await self._connection.fetchrow(query, *(value for _, value in known))
        if there is None:
            what = f"has to refer to a row of {key.parent_place}, and there is none that the canary could use"
            raise self._missed(what, "Make one, where this table should be covered.")
        for (column, _), value in zip(pairs, there, strict=True):
            await self._set(column, value)

    async def _fill(self, column: Column) -> None:
        """What the table asks for beside identities: its key, and what must not be null."""
        default = self._defaults[column.name]
        if default.is_given:
            if column.name in self._table.key:
                await self._set(column, await default.draw(self._connection))
            return
        if not column.not_null:
            return
        value = None
        if column.checks and not column.unique:  # what a check lets pass is what a row has that is there
            query = EXISTING.format(columns=f"t.{quote(column.name)}::text", table=self._table.sql, known="true")
            value = await self._connection.fetchval(query)
        value = value if value is not None else filler(column, default.label)
        if value is None:
            raise self._missed(
                f"{column.name} is of type {default.declared} and must not be null", "Give it a default."
            )
        await self._set(column, value)

    async def _set(self, column: Column, value: str | None) -> None:
        declared = self._defaults[column.name].declared
        if value is not None and not await self._connection.fetchval(FITS, value, declared):
            raise self._missed(f"{column.name} is of type {declared}, which the canary's value does not fit", _FIT)
        self._row.values[column.name] = value
        self._row.types[column.name] = declared

    def _missed(self, what: str, remedy: str) -> CriticalError:
        return CriticalError(self._table.place, what, remedy)


_FIT = "Choose identities that fit the columns: [canary]."


def _is_own(seed: Seed) -> tuple[str, list[list[str]]]:
    """Whether row ``t`` is the canary's, masked or not: a condition and its parameters."""
    known, parameters = _is_known(seed)
    own: dict[str, list[str]] = seed.record["own"]
    conditions = [
        f"(t.{quote(name)} IS NULL OR t.{quote(name)}::text = ANY (${number}::text[]))"
        for number, name in enumerate(own, len(parameters) + 1)
    ]
    return " AND ".join([known, *conditions]), [*parameters, *own.values()]


def _is_known(seed: Seed) -> tuple[str, list[list[str]]]:
    """Whether row ``t`` has the key of the canary's."""
    known_by: dict[str, list[str]] = seed.record["known_by"]
    conditions = [f"t.{quote(name)}::text = ANY (${number}::text[])" for number, name in enumerate(known_by, 1)]
    return " AND ".join(conditions), list(known_by.values())


def _parents_first(tables: Sequence[Table], keys: Sequence[ForeignKey]) -> list[Table]:
    """The tables, each after those that it refers to; where they refer to each other in a ring, by name."""
    waiting = {table.oid: table for table in sorted(tables, key=lambda table: table.place)}
    ordered: list[Table] = []
    while waiting:
        early = {key.child for key in keys if key.child != key.parent and key.parent in waiting}
        ready = next((oid for oid in waiting if oid not in early), next(iter(waiting)))
        ordered.append(waiting.pop(ready))
    return ordered


@asynccontextmanager
async def _apart(connection: Connection, place: str) -> AsyncIterator[None]:
    """A part of a transaction that may be refused: then it alone is undone.

    Args:
        connection: PostgreSQL.
        place: The table.

    Raises:
        ErasureError: It is refused; by its kind, for good or for now.
    """
    try:
        async with connection.transaction():
            yield
    except asyncpg.PostgresError as error:
        raise (translate(error, place) or unknown(place, error)) from None
