"""Finds a slice's rows, keeps them as pre-images, masks and deletes them: the statements' order, in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from activities.contract import Heartbeat, Slice
from activities.errors import CriticalError
from activities.stores.postgres.catalogue import ForeignKey
from activities.stores.postgres.connection import PAGE, copy, stream, translated_at
from activities.stores.postgres.masks import Masks
from activities.stores.postgres.people import identities
from activities.stores.postgres.pre_images import later_name, names_of, write_name
from activities.stores.postgres.ranges import Ranges, in_ranges, match_in_ranges
from activities.stores.postgres.statements import NOW, STAGING, XID, Target
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

PASSES = 3
"""How often rows are looked for that triggers wrote while others were erased."""

Row: TypeAlias = tuple[str, dict[str, Any]]
"""A place, and what is noted of one of its rows."""


class Erasure:
    """The work on one slice's rows.

    Args:
        connection: In a transaction of its own.
        targets: The tables, in the order of writing.
        foreign_keys: Those that start or end at them.
        masks: What stored values become.
        heartbeat: Told every table, range and page.
        ranges: How tables are read that are big and lack an index.
    """

    def __init__(
        self,
        connection: Connection,
        targets: Sequence[Target],
        foreign_keys: Sequence[ForeignKey],
        masks: Masks,
        heartbeat: Heartbeat,
        ranges: Ranges,
    ) -> None:
        self._connection = connection
        self._targets = targets
        self._foreign_keys = foreign_keys
        self._masks = masks
        self._heartbeat = heartbeat
        self._ranges = ranges

    async def stage(self, part: Slice) -> None:
        """Stages the slice's identities, and makes room for what is found by them.

        Args:
            part: The slice.
        """
        await self._connection.execute(STAGING)
        async for page in part.pages():
            await copy(self._connection, "erasure_identity", identities(page))
        await self._connection.execute("ANALYZE pg_temp.erasure_identity")
        for target in self._targets:
            with translated_at(target.place):
                await self._connection.execute(target.create_matched())

    async def find(self, *, lock: bool) -> dict[str, int]:
        """Finds the rows of the slice: all of them, before any is written.

        Args:
            lock: Whether they are going to be written; otherwise nothing can be from here on.

        Returns:
            Their number by place.
        """
        await self._connection.execute("TRUNCATE pg_temp.erasure_mask")
        found: dict[str, int] = {}
        for target in self._targets:
            with translated_at(target.place):
                await self._connection.execute(f"TRUNCATE {target.matched}")
                await self._match(target, lock=lock)
                await self._connection.execute(f"ANALYZE {target.matched}")
                if target.needs_look:
                    for name in target.masked_columns:
                        if not target.is_plain(name):
                            await self._stage_masks(target, name)
                    await self._connection.execute(target.leave_masked())
                found[target.place] = await self._connection.fetchval(target.count_matched())
            self._heartbeat(target.place, found[target.place])
        if not lock:
            await self._connection.execute("SET TRANSACTION READ ONLY")
        return found

    async def sizes(self, found: Mapping[str, int]) -> dict[str, int]:
        """Bytes of the rows found, by place, of places where there are any.

        Args:
            found: What `find` said.
        """
        return {
            target.place: await self._connection.fetchval(target.size_matched())
            for target in self._targets
            if found[target.place]
        }

    async def _match(self, target: Target, *, lock: bool) -> None:
        """Finds the rows of every entry, each by one statement, or range by range."""
        ranged = await in_ranges(self._connection, target, self._ranges)
        for number in (*target.masks, *target.deletes):
            if number not in ranged:
                await self._connection.execute(target.match(number, lock=lock))
        if ranged:
            async for done in match_in_ranges(self._connection, target, ranged, self._ranges, lock=lock):
                self._heartbeat(target.place, done)

    async def rows(self) -> AsyncIterator[Row]:
        """Yields the found rows; those without a pre-image with each column as text that its type reads back exactly.

        A record tells its row by ``id`` (the values of ``key``; without a key, digest and a count), what is going to
        be done to it, which columns will be what ``after`` it, and when it was seen, in microseconds of the server's
        clock.
        """
        at = await self._connection.fetchval(NOW)
        for target in self._targets:
            columns = [column.name for column in target.stored]
            done = 0
            async for row in stream(self._connection, target.pre_images()):
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
                            record["after"] = self._masks.after(record["row"], wanted)
                yield target.place, record
                done += 1
                if done % PAGE == 0:
                    self._heartbeat(target.place, done)

    async def run(self, part: Slice, vault: BatchVault) -> dict[str, int]:
        """Writes, and again what triggers wrote meanwhile: an audit, for instance, holds what was just erased.

        Args:
            part: The slice, staged.
            vault: Has its back-up, and gets what that lacks.

        Returns:
            The number of rows by place.
        """
        await self._stage_known(part, vault)
        triggers = sorted({name for target in self._targets for name in target.table.triggers})
        written = more = await self._write(part, vault)
        for passes in count(1):
            if not triggers or not any(more.values()):
                return written
            if passes > PASSES:
                break
            more = await self._write(part, vault)
            written = {place: rows + more[place] for place, rows in written.items()}
        raise CriticalError(
            "postgres",
            f"after {PASSES} passes a trigger had still written again what was erased: one of {', '.join(triggers)}",
            "Let the trigger leave out what the eraser's role writes, or switch it off, then signal retry.",
        )

    async def _write(self, part: Slice, vault: BatchVault) -> dict[str, int]:
        """Finds, keeps, masks and deletes once. Returns the number of rows by place."""
        matched = await self.find(lock=True)
        await self._refuse_sweeping()
        await self._note(part, vault)
        for target in self._targets:
            if target.masks and matched[target.place]:
                await self._mask(target)
        for target in self._targets:
            if target.deletes and matched[target.place]:
                await self._delete(target)
        return matched

    async def _stage_known(self, part: Slice, vault: BatchVault) -> None:
        """Stages which rows have a pre-image, and of what content: the back-up's, and those of cut attempts."""
        numbers = {target.place: target.number for target in self._targets}
        page: list[tuple[Any, ...]] = []
        for name in await names_of(part, vault):
            async for place, record in vault.records(name):
                if place in numbers:
                    page.append((numbers[place], record["id"], record["digest"], record["at"]))
                if len(page) >= PAGE:
                    await copy(self._connection, "erasure_known", page)
                    self._heartbeat(place, len(page))
                    page = []
        await copy(self._connection, "erasure_known", page)
        await self._connection.execute("ANALYZE pg_temp.erasure_known")

    async def _refuse_sweeping(self) -> None:
        """A cascade must not take rows that nobody kept."""
        by_oid = {target.table.oid: target for target in self._targets}
        for key in self._foreign_keys:
            parent = by_oid.get(key.parent)
            if parent is None or not parent.deletes or key.on_delete not in "cnd":
                continue
            if await self._connection.fetchval(parent.swept_along(key, by_oid.get(key.child))):
                raise CriticalError(
                    f"postgres {key.child_place}",
                    f"has rows that the data map does not match, which foreign key {key.name} would delete or change"
                    f" along with rows of {parent.place}",
                    "Add an entry to erasure.toml that matches them.",
                )

    async def _note(self, part: Slice, vault: BatchVault) -> None:
        """Notes every row that is about to be written, as it is under our lock; keeps those without a pre-image."""
        rows = self.rows()
        first = await anext(rows, None)
        if first is None:
            return
        xid = int(await self._connection.fetchval(XID))
        async with AsyncExitStack() as recordings:
            write = await recordings.enter_async_context(vault.recording(write_name(part, "erase", xid)))
            later: Recording | None = None
            async for place, record in _chain(first, rows):
                await write.add(place, {"id": record["id"]})
                if "row" in record:
                    if later is None:
                        later = await recordings.enter_async_context(vault.recording(later_name(part, xid)))
                    await later.add(place, record)

    async def _stage_masks(self, target: Target, name: str) -> None:
        """Stages what becomes of each value of a masked column."""
        if (values := target.values(name)) is None:
            return
        place = target.place_of(name)
        page: list[tuple[Any, ...]] = []
        async for value, due in stream(self._connection, values):
            with _masking(f"{target.place}.{name}"):
                mask = self._masks.of(value, target.wanted(name, due))
            page.append((target.number, place, due, value, mask))
            if len(page) >= PAGE:
                await copy(self._connection, "erasure_mask", page)
                self._heartbeat(target.place, len(page))
                page = []
        await copy(self._connection, "erasure_mask", page)
        await self._connection.execute("ANALYZE pg_temp.erasure_mask")

    async def _mask(self, target: Target) -> None:
        with translated_at(target.place):
            for name in target.masked_columns:
                if target.is_plain(name):
                    await self._stage_masks(target, name)
            await self._connection.execute(target.mask())
            _refuse_leftovers(target, await self._connection.fetchval(target.count_unmasked()))
        self._heartbeat(target.place, 0)

    async def _delete(self, target: Target) -> None:
        with translated_at(target.place):
            await self._connection.execute(target.delete())
            _refuse_leftovers(target, await self._connection.fetchval(target.count_undeleted()))
        self._heartbeat(target.place, 0)


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


def _refuse_leftovers(target: Target, rows: int) -> None:
    """Nothing may look erased that is not; raising undoes the whole slice."""
    if rows:
        raise CriticalError(
            f"postgres {target.place}",
            f"a trigger or rule kept {rows} rows from being changed",
            "Let the eraser's role pass it, then signal retry.",
        )
