"""Puts a slice's rows back from their pre-images: what is missing is inserted, what holds our mask is unmasked.

Whose write a row's present content is, is told by looking: a row that an erasure took and that is as it was left is
ours to put back; what differs from both the pre-image and the mask was written by others, and stays, as does what
others removed before an erasure could.

User triggers stay on. Switching them off needs a superuser (`session_replication_role`, which would switch foreign
keys off as well) or the table's owner and a lock against everybody (`ALTER TABLE ... DISABLE TRIGGER`); and what they
undid to other tables when the rows were deleted, a counter for instance, they do again. What they change in the very
rows that were inserted is written once more; what is different even then is reported.

Sequences need nothing: they stand beyond every number that they gave out, and no explicit number moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from activities.contract import Finding, Heartbeat, Recovery, Restored, Slice
from activities.errors import CriticalError
from activities.stores.postgres import restore_statements as sql
from activities.stores.postgres.catalogue import ForeignKey, Table, read_foreign_keys, read_tables, read_unique_indices
from activities.stores.postgres.connection import PAGE, copy, translated_at
from activities.stores.postgres.pre_images import names_of, write_name, writes
from activities.stores.postgres.restore_statements import Return
from activities.stores.postgres.statements import XID
from activities.vault import BatchVault

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection


async def put_back(connection: Connection, part: Slice, vault: BatchVault, heartbeat: Heartbeat) -> Restored:
    """Undoes the erasure of a slice, as far as it came.

    Args:
        connection: In a transaction of its own, whose settings make a row's text what it was in the pre-image.
        part: The slice.
        vault: Has its pre-images.
        heartbeat: Told every page and table.

    Returns:
        Counts by table; nothing where the vault has no back-up of the slice, since nothing was touched then.
    """
    names = await names_of(part, vault)
    receipts = [receipt for name in names if (receipt := await vault.receipt(name)) is not None]
    if not receipts:
        return Restored()
    tables, foreign_keys = await _tables(
        connection, sorted({place for receipt in receipts for place in receipt.places})
    )
    await connection.execute(sql.RETURNING)
    ours = await writes(vault)
    erasures = [write for write in ours if write.slice == part.name and write.verb == "erase"]
    xids = {write.xid for write in erasures}.union(xid for xid in names.values() if xid is not None)
    undone = xids - {int(row["x"]) for row in await connection.fetch(sql.COMMITTED, list(map(str, xids)))}
    taken = [write.name for write in erasures if write.xid not in undone]
    await _stage_taken(connection, tables, taken, vault, heartbeat)
    returns = await _stage(connection, tables, {name: names[name] in undone for name in names}, vault, heartbeat)
    marks = [str(write.xid % 2**32) for write in ours]
    for target in returns:
        with translated_at(target.table.place):
            await _look(connection, target, marks)
        heartbeat(target.table.place, 0)
    await connection.execute(sql.ANALYZE)
    await _refuse(connection, returns, foreign_keys)
    for target in returns:
        if not target.deletes:
            continue
        with translated_at(target.table.place):
            await connection.execute(target.insert())
            if not target.table.key:
                await connection.execute(target.find_alike("restored"))
            await connection.execute(sql.SETTLE_INSERTED, target.number)
        heartbeat(target.table.place, 0)
    await connection.execute(sql.ANALYZE)
    for target in returns:
        if target.masked:
            with translated_at(target.table.place):
                await connection.execute(target.unmask())
                await connection.execute(target.settle_unmasked())
            heartbeat(target.table.place, 0)
    for target in returns:
        if target.table.key and target.deletes:
            await _correct(connection, target)
    restored = await _count(connection, returns)
    if restored.total.restored:
        async with vault.recording(write_name(part, "restore", int(await connection.fetchval(XID)))):
            pass
    return restored


async def _tables(connection: Connection, places: Sequence[str]) -> tuple[list[Table], list[ForeignKey]]:
    """The tables of the pre-images, parents first: what the data map says today does not matter to what was done."""
    found = await read_tables(connection, places)
    for place in places:
        if place not in found:
            raise CriticalError(
                f"postgres {place}", "is not there any more, so that its rows cannot be put back", "Create it again."
            )
    foreign_keys = await read_foreign_keys(connection, list(found.values()))
    return sql.parents_first([found[place] for place in places], foreign_keys), foreign_keys


async def _stage_taken(
    connection: Connection, tables: Sequence[Table], names: Sequence[str], vault: BatchVault, heartbeat: Heartbeat
) -> None:
    """Stages the rows that the erasures of the slice wrote: those that committed."""
    numbers = {table.place: number for number, table in enumerate(tables)}
    page: list[tuple[Any, ...]] = []
    for name in names:
        async for place, record in vault.records(name):
            page.append((numbers[place], record["id"]))
            if len(page) >= PAGE:
                await copy(connection, "erasure_taken", page)
                heartbeat(place, len(page))
                page = []
    await copy(connection, "erasure_taken", page)
    await connection.execute("ANALYZE pg_temp.erasure_taken")


async def _stage(
    connection: Connection,
    tables: Sequence[Table],
    names: Mapping[str, bool],
    vault: BatchVault,
    heartbeat: Heartbeat,
) -> list[Return]:
    """Stages the pre-images of every name, then the one of each row that counts.

    Args:
        connection: PostgreSQL.
        tables: Those of the pre-images.
        names: Of pre-images, and whether the erasure that kept them was undone.
        vault: Has them.
        heartbeat: Told every page.
    """
    numbers = {table.place: number for number, table in enumerate(tables)}
    columns: dict[str, tuple[str, ...]] = {}
    masked: dict[str, set[str]] = {place: set() for place in numbers}
    deleted: set[str] = set()
    page: list[tuple[Any, ...]] = []
    for name, undone in names.items():
        async for place, record in vault.records(name):
            row, after = record["row"], record.get("after", {})
            if place not in columns:
                columns[place] = _columns(tables[numbers[place]], row)
            if len(row) != len(columns[place]) or not row.keys() >= set(columns[place]):
                raise _altered(place)
            masked[place] |= after.keys()
            deletes = "delete" in record["does"]
            if deletes:
                deleted.add(place)
            page.append(
                (
                    numbers[place],
                    record["id"],
                    record["at"],
                    deletes,
                    undone,
                    *([content[column] for column in columns[place]] for content in (row, {**row, **after})),
                )
            )
            if len(page) >= PAGE:
                await copy(connection, "erasure_saved", page)
                heartbeat(place, len(page))
                page = []
    await copy(connection, "erasure_saved", page)
    await connection.execute("ANALYZE pg_temp.erasure_saved")
    await connection.execute(sql.LATEST)
    await connection.execute(sql.UNMASK_LATEST)
    await connection.execute(sql.ANALYZE)
    return [
        Return(
            numbers[table.place], table, columns[table.place], frozenset(masked[table.place]), table.place in deleted
        )
        for table in tables
    ]


def _columns(table: Table, row: Mapping[str, str | None]) -> tuple[str, ...]:
    """The columns of the table's pre-images; one that was added since gets its default."""
    if any(name not in table.columns or table.columns[name].generated for name in row):
        raise _altered(table.place)
    return tuple(row)


def _altered(place: str) -> CriticalError:
    return CriticalError(
        f"postgres {place}", "its columns are not those of its pre-images", "Give it back the columns that it had."
    )


async def _look(connection: Connection, target: Return, marks: Sequence[str]) -> None:
    """Compares the rows of one table with their pre-images, and stages those that are to be written."""
    if target.table.key:
        await connection.execute(target.find("masked"), marks)
        if not target.masked.isdisjoint(target.table.key):
            await connection.execute(target.find("content"), marks)
        await connection.execute(sql.CLASSIFY, target.number)
    else:
        await connection.execute(target.lock_table())
        await connection.execute(target.find_alike("intact"))
    await connection.execute(sql.CLASSIFY_DELETED, target.number)
    for statement in target.stage():
        await connection.execute(statement)
    await connection.execute(f"ANALYZE {target.rows}")


async def _refuse(connection: Connection, returns: Sequence[Return], foreign_keys: Sequence[ForeignKey]) -> None:
    """Leaves out what the constraints would refuse, since others took its place or removed what it refers to."""
    by_oid = {target.table.oid: target for target in returns}
    for index in await read_unique_indices(connection, [target.table for target in returns]):
        await connection.execute(by_oid[index.table].refuse_taken(index))
    checks = [
        by_oid[key.child].refuse_orphans(key, by_oid.get(key.parent)) for key in foreign_keys if key.child in by_oid
    ]
    # a row that is left out may leave others without what they refer to: as often as the keys are deep, at most
    while checks and any([await connection.execute(check) != "UPDATE 0" for check in checks]):
        pass


async def _correct(connection: Connection, target: Return) -> None:
    """Writes what a trigger changed in the inserted rows once more, and marks what is different even then."""
    status = await connection.execute(target.find_altered())
    if status == "UPDATE 0" or (correction := target.correct()) is None:
        return
    if await connection.execute(correction) != "UPDATE 0":
        await connection.execute(target.find_altered())


async def _count(connection: Connection, returns: Sequence[Return]) -> Restored:
    places: dict[str, Recovery] = {}
    warnings: list[Finding] = []
    counts = {row["target"]: row for row in await connection.fetch(sql.COUNT)}
    for target in returns:
        place = target.table.place
        if (row := counts.get(target.number)) is None:
            continue  # all that is known of it was undone with its transaction
        places[place] = Recovery(row["found"], row["restored"], row["intact"], row["conflicted"])
        if row["conflicted"]:
            warnings.append(
                Finding(
                    place,
                    f"{row['conflicted']} rows were changed, removed or made anew by others since the erasure, or"
                    " depend on such rows; what others wrote was kept",
                    "Decide what they should be before the batch is shredded: until then the vault has their"
                    " pre-images",
                )
            )
        if row["altered"]:
            warnings.append(
                Finding(
                    place,
                    f"a trigger changed {row['altered']} rows while they were put back",
                    "Look at the table's triggers, and correct by hand what they changed, such as a time of change",
                )
            )
    return Restored(places, warnings)
