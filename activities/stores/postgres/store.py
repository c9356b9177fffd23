"""Erases a slice in PostgreSQL: one transaction, in which rows are found, locked, kept as pre-images, and written.

READ COMMITTED on purpose: every row that is written was locked first, and a lock gives the row's newest content, so
that the pre-image is exactly what is overwritten; a snapshot would only add serialization failures. Nothing can come
to refer to a locked row either. The back-up, which locks nothing, reads one REPEATABLE READ snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from secrets import token_bytes
from typing import TYPE_CHECKING, Literal

from activities.contract import (
    BackUp,
    Erased,
    Extent,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Sighting,
    Slice,
    Suspect,
    Tally,
    outdated,
)
from activities.errors import CriticalError, translated
from activities.identities import IdentitySet
from activities.masking import Masker
from activities.stores.postgres import checks, server_state
from activities.stores.postgres.catalogue import ForeignKey, Table, read_foreign_keys, read_tables
from activities.stores.postgres.connection import LOCK_TIMEOUT, translate
from activities.stores.postgres.data_map import PostgresMap
from activities.stores.postgres.erasing import Erasure
from activities.stores.postgres.identities import identities
from activities.stores.postgres.masks import Masks
from activities.stores.postgres.pre_images import back_up_name
from activities.stores.postgres.ranges import RANGES, Ranges, without_index
from activities.stores.postgres.restoring import put_back
from activities.stores.postgres.statements import SESSION, STAGING, Target
from activities.stores.postgres.survey import survey
from activities.suspicion import Suspicion
from activities.vault import BatchVault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.stores.postgres.connection import Connection


class PostgresStore:
    """PostgreSQL's share of an erasure; see `activities.contract.Store`.

    Args:
        pool: Shared by the worker's activities.
        data_map: What is deleted and masked.
        heartbeat: Told every table, range and page.
        lock_timeout: Seconds to wait for what the application holds; then the slice is tried again.
        ranges: How tables are read that are big and lack an index.
    """

    def __init__(
        self,
        pool: Pool[Record],
        data_map: PostgresMap,
        heartbeat: Heartbeat,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        ranges: Ranges = RANGES,
    ) -> None:
        self._pool = pool
        self._map = data_map
        self._heartbeat = heartbeat
        self._lock_timeout = lock_timeout
        self._ranges = ranges

    async def probe(self) -> Health:
        """Compares the data map with the catalogue, and the rights with what will be needed."""
        with translated("postgres", translate):
            async with self._transaction() as connection:
                server = await connection.fetchrow(checks.SERVER)
                assert server is not None, "a SELECT without FROM has one row"
                if too_old := list(outdated("postgres", server["version"], checks.OLDEST)):
                    return Health(server["version"], problems=too_old)
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
                        notes += checks.unserved(target, await without_index(connection, target))
                if not server["standby"]:
                    notes += await server_state.notes(connection, {each.table.oid: each.place for each in targets})
                return Health(server["version"], sorted(tables), problems, warnings, notes)

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for columns and foreign keys that the data map does not name; reads names and samples."""
        with translated("postgres", translate):
            async with self._transaction() as connection:
                return await survey(connection, self._map, suspicion)

    async def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what the tables hold, as one snapshot has it: see `activities.contract.Store`."""
        with translated("postgres", translate):
            async with self._transaction("repeatable_read") as connection:
                tables, _ = await self._read_catalogue(connection)
                async with aclosing(identities(connection, self._map, tables)) as found:
                    async for each in found:
                        yield each

    async def preview(self, part: Slice) -> Impact:
        """Counts the rows that would be deleted or masked now."""
        with translated("postgres", translate):
            async with self._transaction("repeatable_read") as connection:
                erasure = await self._erasure(connection, part, Masker(token_bytes(32)))  # no token is written
                places = await erasure.find(lock=False)
                return Impact(places, {place: Extent(size) for place, size in (await erasure.sizes(places)).items()})

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Keeps every row of the slice as it is in one snapshot."""
        name = back_up_name(part)
        if receipt := await vault.receipt(name):
            return receipt.back_up
        with translated("postgres", translate):
            async with self._transaction("repeatable_read") as connection, vault.recording(name) as recording:
                erasure = await self._erasure(connection, part, vault.masker)
                await erasure.find(lock=False)
                async for place, record in erasure.rows():
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
                erasure = await self._erasure(connection, part, vault.masker)
                matched = await erasure.run(part, vault)
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

    async def _erasure(self, connection: Connection, part: Slice, masker: Masker) -> Erasure:
        """What is to be done to a slice; refused where the database is not as the check wants it."""
        tables, foreign_keys = await self._read_catalogue(connection)
        for problem in checks.problems(self._map, tables, foreign_keys):
            raise CriticalError(f"postgres {problem.place}", problem.what, f"{problem.remedy}.")
        people = IdentitySet([contributor async for page in part.pages() for contributor in page])
        masks = Masks(masker, people)
        targets = _targets(self._map, tables)
        erasure = Erasure(connection, targets, foreign_keys, masks, self._heartbeat, self._ranges)
        await erasure.stage(part)
        return erasure


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
