"""Erases a slice in PostgreSQL: one transaction, in which rows are found, locked, kept as pre-images, and written.

READ COMMITTED on purpose: every row that is written was locked first, and a lock gives the row's newest content, so
that the pre-image is exactly what is overwritten; a snapshot would only add serialization failures. Nothing can come
to refer to a locked row either. The back-up, which locks nothing, reads one REPEATABLE READ snapshot.
"""

from __future__ import annotations

import re
import string
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from activities.contract import (
    BackUp,
    Contributor,
    Erased,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Slice,
    Suspect,
    Tally,
)
from activities.errors import CriticalError, translated
from activities.identities import IdentityKind, IdentitySet, normal
from activities.masking import Masker, is_mask
from activities.stores.postgres import checks
from activities.stores.postgres.catalogue import ForeignKey, Table, read_foreign_keys, read_tables
from activities.stores.postgres.connection import LOCK_TIMEOUT, PAGE, stream, translate, translated_at
from activities.stores.postgres.data_map import PostgresMap
from activities.stores.postgres.masks import Masks
from activities.stores.postgres.pre_images import back_up_name, later_name, names_of, write_name
from activities.stores.postgres.restoring import put_back
from activities.stores.postgres.statements import BLANKS, NOW, SESSION, STAGING, XID, Target
from activities.stores.postgres.survey import survey
from activities.suspicion import Suspicion
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.stores.postgres.connection import Connection

PASSES = 3
"""How often rows are looked for that triggers wrote while others were erased."""

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


Row: TypeAlias = tuple[str, dict[str, Any]]
"""A place, and what is noted of one of its rows."""


class PostgresStore:
    """PostgreSQL's share of an erasure; see `activities.contract.Store`.

    Args:
        pool: Shared by the worker's activities.
        data_map: What is deleted and masked.
        heartbeat: Told every table and page.
        lock_timeout: Seconds to wait for what the application holds; then the slice is tried again.
    """

    def __init__(
        self,
        pool: Pool[Record],
        data_map: PostgresMap,
        heartbeat: Heartbeat,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        self._pool = pool
        self._map = data_map
        self._heartbeat = heartbeat
        self._lock_timeout = lock_timeout

    async def probe(self) -> Health:
        """Compares the data map with the catalogue, and the rights with what will be needed."""
        with translated("postgres", translate):
            async with self._transaction() as connection:
                server = await connection.fetchrow(checks.SERVER)
                assert server is not None, "a SELECT without FROM has one row"
                problems, warnings = checks.server(server)
                notes: list[Finding] = []
                can_stage = not problems
                tables, foreign_keys = await self._read_catalogue(connection)
                problems += (misfits := checks.problems(self._map, tables, foreign_keys))
                warnings += checks.warnings(self._map, tables, foreign_keys)
                if misfits:
                    return Health(server["version"], sorted(tables), problems, warnings)
                targets = _targets(self._map, tables)
                parents = checks.referred_to(targets, foreign_keys)
                oids = [*parents, *(target.table.oid for target in targets)]
                rights = {row["oid"]: row for row in await connection.fetch(checks.RIGHTS, oids)}
                for oid, (place, table) in parents.items():
                    problems += checks.reading(place, table, rights[oid])
                if can_stage:
                    await connection.execute(STAGING)
                for target in targets:
                    problems += (missing := list(checks.rights(target, rights[target.table.oid])))
                    if can_stage and not missing:
                        notes += await checks.without_index(connection, target)
                return Health(server["version"], sorted(tables), problems, warnings, notes)

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for columns and foreign keys that the data map does not name; reads names and samples."""
        with translated("postgres", translate):
            async with self._transaction() as connection:
                return await survey(connection, self._map, suspicion)

    async def preview(self, part: Slice) -> Impact:
        """Counts the rows that would be deleted or masked now."""
        with translated("postgres", translate):
            async with self._transaction("repeatable_read") as connection:
                targets, _ = await self._plan(connection)
                masks = await _masks(Masker(token_bytes(32)), part)  # which token is no matter here
                await self._stage_people(connection, targets, part)
                return Impact(await self._find(connection, targets, masks, lock=False))

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Keeps every row of the slice as it is in one snapshot."""
        name = back_up_name(part)
        if receipt := await vault.receipt(name):
            return receipt.back_up
        with translated("postgres", translate):
            async with self._transaction("repeatable_read") as connection, vault.recording(name) as recording:
                targets, _ = await self._plan(connection)
                masks = await _masks(vault.masker, part)
                await self._stage_people(connection, targets, part)
                await self._find(connection, targets, masks, lock=False)
                async for place, record in self._rows(connection, targets, masks):
                    await recording.add(place, record)
        assert recording.receipt is not None, "a recording that closed has a receipt"
        return recording.receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Locks the slice's rows, keeps those that the back-up lacks, masks, and deletes; all of it or nothing."""
        receipt = await vault.receipt(back_up_name(part))
        if receipt is None:
            raise CriticalError("postgres", f"slice {part.name} has no back-up", "Run the back-up first.")
        with translated("postgres", translate):
            async with self._transaction() as connection:
                targets, foreign_keys = await self._plan(connection)
                await self._stage_known(connection, targets, part, vault)
                masks = await _masks(vault.masker, part)
                await self._stage_people(connection, targets, part)
                matched = more = await self._write(connection, targets, foreign_keys, part, vault, masks)
                # what triggers write meanwhile, an audit for instance, holds what was just erased
                triggers = sorted({name for target in targets for name in target.table.triggers})
                for passes in count(1):
                    if not triggers or not any(more.values()):
                        break
                    if passes > PASSES:
                        raise _restless(triggers)
                    more = await self._write(connection, targets, foreign_keys, part, vault, masks)
                    matched = {place: rows + more[place] for place, rows in matched.items()}
        return Erased(
            {
                place: Tally(rows, changed=rows, already_clean=max(0, receipt.places.get(place, 0) - rows))
                for place, rows in matched.items()
            }
        )

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Puts deleted rows and masked values back in one transaction, but never over what others wrote since."""
        with translated("postgres", translate):
            async with self._transaction() as connection:
                return await put_back(connection, part, vault, self._heartbeat)

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:  # noqa: ARG002 - the same verb in every store
        """Nothing to remove: staging tables end with their transaction, and dead rows are autovacuum's."""
        return Purged()

    @asynccontextmanager
    async def _transaction(
        self, isolation: Literal["read_committed", "repeatable_read"] = "read_committed"
    ) -> AsyncIterator[Connection]:
        """A transaction that leaves nothing in the session, and so may share connections through PgBouncer."""
        async with self._pool.acquire(timeout=60) as connection, connection.transaction(isolation=isolation):
            await connection.execute(f"{SESSION} SET LOCAL lock_timeout = {round(self._lock_timeout * 1000)}")
            yield connection

    async def _read_catalogue(self, connection: Connection) -> tuple[dict[str, Table], list[ForeignKey]]:
        places = sorted({entry.table for entry in (*self._map.mask, *self._map.delete)})
        tables = await read_tables(connection, places)
        return tables, await read_foreign_keys(connection, list(tables.values()))

    async def _plan(self, connection: Connection) -> tuple[list[Target], list[ForeignKey]]:
        """What is to be done, with staging tables for it; refused where the database is not as the preflight wants."""
        tables, foreign_keys = await self._read_catalogue(connection)
        for problem in checks.problems(self._map, tables, foreign_keys):
            raise CriticalError(f"postgres {problem.place}", problem.what, f"{problem.remedy}.")
        await connection.execute(STAGING)
        return _targets(self._map, tables), foreign_keys

    async def _stage_people(self, connection: Connection, targets: Sequence[Target], part: Slice) -> None:
        """Stages the slice's identities, and makes room for what is found by them."""
        async for page in part.pages():
            await _copy(connection, "erasure_identity", _identities(page))
        await connection.execute("ANALYZE pg_temp.erasure_identity")
        for target in targets:
            with translated_at(target.place):
                await connection.execute(target.create_matched())

    async def _write(
        self,
        connection: Connection,
        targets: Sequence[Target],
        foreign_keys: Sequence[ForeignKey],
        part: Slice,
        vault: BatchVault,
        masks: Masks,
    ) -> dict[str, int]:
        """Finds, keeps, masks and deletes once. Returns the number of rows by place."""
        matched = await self._find(connection, targets, masks, lock=True)
        await self._refuse_sweeping(connection, targets, foreign_keys)
        await self._note(connection, targets, part, vault, masks)
        for target in targets:
            if target.masks and matched[target.place]:
                await self._mask(connection, target, masks)
        for target in targets:
            if target.deletes and matched[target.place]:
                await self._delete(connection, target)
        return matched

    async def _find(
        self, connection: Connection, targets: Sequence[Target], masks: Masks, *, lock: bool
    ) -> dict[str, int]:
        """Finds the rows of the slice: all of them, before any is written. Returns their number by place."""
        await connection.execute("TRUNCATE pg_temp.erasure_mask")
        found: dict[str, int] = {}
        for target in targets:
            with translated_at(target.place):
                await connection.execute(f"TRUNCATE {target.matched}")
                for number in (*target.masks, *target.deletes):
                    await connection.execute(target.match(number, lock=lock))
                await connection.execute(f"ANALYZE {target.matched}")
                if target.needs_look:
                    for name in target.masked_columns:
                        if not target.is_plain(name):
                            await self._stage_masks(connection, target, name, masks)
                    await connection.execute(target.leave_masked())
                found[target.place] = await connection.fetchval(target.count_matched())
            self._heartbeat(target.place, found[target.place])
        if not lock:
            await connection.execute("SET TRANSACTION READ ONLY")
        return found

    async def _stage_known(
        self, connection: Connection, targets: Sequence[Target], part: Slice, vault: BatchVault
    ) -> None:
        """Stages which rows have a pre-image, and of what content: the back-up's, and those of cut attempts."""
        numbers = {target.place: target.number for target in targets}
        page: list[tuple[Any, ...]] = []
        for name in await names_of(part, vault):
            async for place, record in vault.records(name):
                if place in numbers:
                    page.append((numbers[place], record["id"], record["digest"], record["at"]))
                if len(page) >= PAGE:
                    await _copy(connection, "erasure_known", page)
                    self._heartbeat(place, len(page))
                    page = []
        await _copy(connection, "erasure_known", page)
        await connection.execute("ANALYZE pg_temp.erasure_known")

    async def _refuse_sweeping(
        self, connection: Connection, targets: Sequence[Target], foreign_keys: Iterable[ForeignKey]
    ) -> None:
        """A cascade must not take rows that nobody kept."""
        by_oid = {target.table.oid: target for target in targets}
        for key in foreign_keys:
            parent = by_oid.get(key.parent)
            if parent is None or not parent.deletes or key.on_delete not in "cnd":
                continue
            if await connection.fetchval(parent.swept_along(key, by_oid.get(key.child))):
                raise CriticalError(
                    f"postgres {key.child_place}",
                    f"has rows that the data map does not match, which foreign key {key.name} would delete or change"
                    f" along with rows of {parent.place}",
                    "Add an entry to erasure.toml that matches them.",
                )

    async def _note(
        self, connection: Connection, targets: Sequence[Target], part: Slice, vault: BatchVault, masks: Masks
    ) -> None:
        """Notes every row that is about to be written, as it is under our lock; keeps those without a pre-image."""
        rows = self._rows(connection, targets, masks)
        first = await anext(rows, None)
        if first is None:
            return
        xid = int(await connection.fetchval(XID))
        async with AsyncExitStack() as recordings:
            write = await recordings.enter_async_context(vault.recording(write_name(part, "erase", xid)))
            later: Recording | None = None
            async for place, record in _chain(first, rows):
                await write.add(place, {"id": record["id"]})
                if "row" in record:
                    if later is None:
                        later = await recordings.enter_async_context(vault.recording(later_name(part, xid)))
                    await later.add(place, record)

    async def _rows(self, connection: Connection, targets: Sequence[Target], masks: Masks) -> AsyncIterator[Row]:
        """Yields the found rows; those without a pre-image with each column as text that its type reads back exactly.

        A record tells its row by ``id`` (the values of ``key``; without a key, digest and a count), what is going to
        be done to it, which columns will be what ``after`` it, and when it was seen, in microseconds of the server's
        clock.
        """
        at = await connection.fetchval(NOW)
        for target in targets:
            columns = [column.name for column in target.stored]
            done = 0
            async for row in stream(connection, target.pre_images()):
                entries = set(row["entries"])
                deleted = not entries.isdisjoint(target.deletes)
                record = {
                    "id": row["id"],
                    "key": target.table.key,
                    "does": {"delete": True} if deleted else {"mask": target.does(entries)},
                    "digest": row["digest"],
                    "at": at,
                }
                if row["content"] is not None:
                    record["row"] = dict(zip(columns, row["content"], strict=True))
                    if not deleted:
                        wanted = {name: target.wanted(name, entries) for name in target.masked_columns}
                        with _masking(target.place):
                            record["after"] = masks.after(record["row"], wanted)
                yield target.place, record
                done += 1
                if done % PAGE == 0:
                    self._heartbeat(target.place, done)

    async def _stage_masks(self, connection: Connection, target: Target, name: str, masks: Masks) -> None:
        """Stages what becomes of each value of a masked column."""
        if (values := target.values(name)) is None:
            return
        place = list(target.masked_columns).index(name)
        page: list[tuple[Any, ...]] = []
        async for value, due in stream(connection, values):
            with _masking(f"{target.place}.{name}"):
                mask = masks.of(value, target.wanted(name, due))
            page.append((target.number, place, due, value, mask))
            if len(page) >= PAGE:
                await _copy(connection, "erasure_mask", page)
                self._heartbeat(target.place, len(page))
                page = []
        await _copy(connection, "erasure_mask", page)
        await connection.execute("ANALYZE pg_temp.erasure_mask")

    async def _mask(self, connection: Connection, target: Target, masks: Masks) -> None:
        with translated_at(target.place):
            for name in target.masked_columns:
                if target.is_plain(name):
                    await self._stage_masks(connection, target, name, masks)
            await connection.execute(target.mask())
            _refuse_leftovers(target, await connection.fetchval(target.count_unmasked()))
        self._heartbeat(target.place, 0)

    async def _delete(self, connection: Connection, target: Target) -> None:
        with translated_at(target.place):
            await connection.execute(target.delete())
            _refuse_leftovers(target, await connection.fetchval(target.count_undeleted()))
        self._heartbeat(target.place, 0)


def _targets(data_map: PostgresMap, tables: dict[str, Table]) -> list[Target]:
    """One target a table: those that are only masked first, then those deleted from, children first."""
    deleted = checks.deletion_order(data_map)
    places = [*dict.fromkeys(entry.table for entry in data_map.mask if entry.table not in deleted), *deleted]
    masks = dict(enumerate(data_map.mask))
    deletes = dict(enumerate(data_map.delete, start=len(masks)))
    return [
        Target(
            number=number,
            table=tables[place],
            masks={index: entry for index, entry in masks.items() if entry.table == place},
            deletes={index: entry for index, entry in deletes.items() if entry.table == place},
        )
        for number, place in enumerate(places)
    ]


def _identities(page: Sequence[Contributor]) -> list[tuple[str, str, int | None, UUID | None]]:
    """The identities that can stand in a database: kind, text, and as an integer and a uuid where they are one.

    Blank values and masks are nobody's identity. An integer counts only in its one canonical spelling, since the
    server would read ``0b11`` as 3.
    """
    people = IdentitySet(page)
    return [
        (kind.value, value, _integer(value), UUID(value) if _UUID.fullmatch(value) else None)
        for kind in IdentityKind
        for value in sorted({form for spelling in people.spellings([kind]) for form in _forms(spelling, kind)})
        if value.strip() and not is_mask(value) and not _NOT_STORABLE.search(value)
    ]


def _forms(value: str, kind: IdentityKind) -> Iterable[str]:
    """What a value is compared as: an address also as a database lowers it that knows ASCII only."""
    if kind is not IdentityKind.EMAIL:
        return (value,)
    stripped = value.strip(BLANKS)
    return (normal(value, kind), stripped.lower(), stripped.translate(_ASCII_LOWER))


def _integer(value: str) -> int | None:
    number = int(value) if _INTEGER.fullmatch(value) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


async def _masks(masker: Masker, part: Slice) -> Masks:
    return Masks(masker, IdentitySet([contributor async for page in part.pages() for contributor in page]))


@contextmanager
def _masking(place: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CriticalError(
            f"postgres {place}", f"holds a number that {error}", "Mask it with null, or delete the rows."
        ) from None


async def _chain(first: Row, rest: AsyncIterator[Row]) -> AsyncIterator[Row]:
    yield first
    async for row in rest:
        yield row


async def _copy(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    await connection.copy_records_to_table(table, schema_name="pg_temp", records=rows)


def _restless(triggers: Sequence[str]) -> CriticalError:
    return CriticalError(
        "postgres",
        f"after {PASSES} passes a trigger had still written again what was erased: one of {', '.join(triggers)}",
        "Let the trigger leave out what the eraser's role writes, or switch it off, then signal retry.",
    )


def _refuse_leftovers(target: Target, rows: int) -> None:
    """Nothing may look erased that is not; raising undoes the whole slice."""
    if rows:
        raise CriticalError(
            f"postgres {target.place}",
            f"a trigger or rule kept {rows} rows from being changed",
            "Let the eraser's role pass it, then signal retry.",
        )
