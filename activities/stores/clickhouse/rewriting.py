"""Tables whose keys hold what is to be masked: a mutation may not touch a key (code 420), so they are written anew.

    log         made first, by which the table is taken; says whose it is, which table it was, which parts were copied
    copy        made like the table; merges of both are held back, so that parts keep their names
    fill        each part is copied, masked, in the order of its blocks: what replaces what stays the same
    exchange    the copy takes the table's name in one step; what comes in from now on comes into the copy
    late rows   the old table is closed to whoever still writes to it; parts that were not copied move over, as they are
    drop        the old table, then the log

Cut before the exchange, the copy is dropped and the table is as it was; cut after it, the rest is done. Nothing reads
fewer rows than there are at any time, no insert is lost, and no materialized view sees a row twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiochclient.exceptions import ChClientError

from activities.contract import Heartbeat
from activities.errors import CriticalError, TransientError
from activities.stores.clickhouse.cluster import literal, quote
from activities.stores.clickhouse.connection import Client, error_code
from activities.stores.clickhouse.fields import Table
from activities.stores.clickhouse.masking import Masks, new_columns
from activities.stores.clickhouse.mutations import unfinished
from activities.stores.clickhouse.schema import computed
from activities.stores.clickhouse.staging import PREFIX

LOG = "CREATE TABLE {log} (step String, detail String) ENGINE = MergeTree ORDER BY (step, detail) COMMENT {batch}"

ORIGIN = (
    "SELECT toString(uuid) AS uuid, comment, engine_full FROM system.tables WHERE database = {db} AND name = {name}"
)

PARTS = """
    SELECT name, partition_id AS partition, min_block_number AS first, max_block_number AS last FROM system.parts
    WHERE database = {db} AND table = {name} AND active AND rows > 0 AND NOT startsWith(name, 'patch-')
    ORDER BY partition_id, min_block_number
"""

COLUMNS = """
    SELECT name, default_kind AS kind, default_expression AS expression FROM system.columns
    WHERE database = {db} AND table = {name} AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY position
"""

BUSY = "SELECT count() AS merges FROM system.merges WHERE database = {db} AND table = {name}"

DETACHED = "SELECT count() AS there FROM system.detached_tables WHERE database = {db} AND table = {name}"

FILL = """
    INSERT INTO {copy} ({columns}) SELECT {values} FROM {table} WHERE _part = {part}
    SETTINGS max_threads = 1, max_insert_threads = 1, optimize_on_insert = 0, insert_deduplicate = 0,
        max_partitions_per_insert_block = 0, insert_allow_materialized_columns = 1
"""
"""One thread, and nothing merged: rows stay in their order, and as many as they are."""

HELD_BACK = "max_bytes_to_merge_at_max_space_in_pool"
"""A table setting: no part is as small as one byte, so none is merged. It outlives a restart of the server."""

PATIENCE = 600.0
"""Seconds that running merges and mutations are waited for."""

ALREADY_EXISTS = 57


@dataclass(frozen=True)
class Part:
    """A part of a table."""

    name: str
    partition: str
    first: int
    last: int

    def overlaps(self, other: Part) -> bool:
        """Whether blocks of one are in the other."""
        return self.partition == other.partition and self.first <= other.last and other.first <= self.last


class Rewriting:
    """Writes one table anew.

    Args:
        client: The client.
        table: The table.
        batch_id: Whose work it is; a table is one batch's at a time.
        heartbeat: Told of the parts that are copied.
    """

    def __init__(self, client: Client, table: Table, batch_id: str, heartbeat: Heartbeat) -> None:
        self._client = client
        self._table = table
        self._batch_id = batch_id
        self._heartbeat = heartbeat
        name = f"{PREFIX}rewrite_{hashlib.sha256(table.name.encode()).hexdigest()[:16]}"
        self._log_name, self._copy_name = f"{name}_log", f"{name}_copy"
        self._log, self._copy, self._live = (
            f"{quote(client.database)}.{quote(each)}" for each in (self._log_name, self._copy_name, table.name)
        )

    async def run(self, names: Collection[str], masks: Masks) -> None:
        """Replaces the staged values of some fields.

        Args:
            names: The fields.
            masks: The staged values.

        Raises:
            TransientError: Another batch writes the table anew, or it was changed meanwhile.
        """
        await self.resume()
        await self._take()
        source = await self._origin(self._table.name)
        assert source is not None, "the table was resolved"
        merged = re.search(rf"{HELD_BACK} = (\d+)", source["engine_full"])
        await self._note(("merges", merged[1] if merged else ""), ("source", source["uuid"]))
        await self._client.execute(f"CREATE TABLE {self._copy} AS {self._live}")
        for table in (self._live, self._copy):
            await self._client.execute(f"ALTER TABLE {table} MODIFY SETTING {HELD_BACK} = 1")
        await self._wait_for_quiet()
        parts = await self._parts(self._table.name)
        await self._note(*(("part", part.name) for part in parts))
        await self._fill(parts, new_columns(self._table, names, masks))
        await self._compare(parts)
        await self._client.execute(f"EXCHANGE TABLES {self._live} AND {self._copy}")
        await self._finish(parts, merged[1] if merged else "")

    async def resume(self) -> None:
        """Ends what an earlier attempt of this batch began: backwards before the exchange, forwards after it."""
        if await self._owner() != self._batch_id:
            return
        steps = await self._client.fetch(f"SELECT step, detail FROM {self._log}")
        noted = {step: {row["detail"] for row in steps if row["step"] == step} for step in ("merges", "source", "part")}
        live = await self._origin(self._table.name)
        if noted["source"] and live is not None and live["uuid"] not in noted["source"]:
            await self._finish([_part(name) for name in noted["part"]], *noted["merges"])
            return
        if noted["source"]:
            await self._release_merges(*noted["merges"])
        for table in (self._copy, self._log):
            await self._client.execute(f"DROP TABLE IF EXISTS {table} SYNC")

    async def _take(self) -> None:
        """Makes the log: whoever makes it has the table."""
        try:
            batch = literal(self._batch_id)
            await self._client.execute(LOG.replace("{log}", self._log).replace("{batch}", batch))
        except ChClientError as error:
            if error_code(str(error)) != ALREADY_EXISTS:
                raise
        if await self._owner() != self._batch_id:
            what, remedy = "is being written anew by another batch", "It is tried again once that is done."
            raise TransientError(self._table.name, what, remedy)

    async def _fill(self, parts: list[Part], new: dict[str, str]) -> None:
        rows = await self._client.fetch(COLUMNS, db=self._client.database, name=self._table.name)
        anew = computed(rows, set(new))
        columns = [row["name"] for row in rows if row["name"] not in anew]
        statement = FILL.replace("{copy}", self._copy).replace("{table}", self._live)
        statement = statement.replace("{columns}", ", ".join(quote(column) for column in columns))
        statement = statement.replace("{values}", ", ".join(new.get(column, quote(column)) for column in columns))
        for done, part in enumerate(parts):
            self._heartbeat(f"{self._table.name}, parts copied", done)
            await self._client.execute(statement.replace("{part}", literal(part.name)))

    async def _compare(self, parts: list[Part]) -> None:
        """Makes sure that the copy has every row, and that the parts are still what they were."""
        wanted = f"_part IN (SELECT detail FROM {self._log} WHERE step = 'part')"
        (was,) = await self._client.fetch(f"SELECT count() AS rows FROM {self._live} WHERE {wanted}")
        (now,) = await self._client.fetch(f"SELECT count() AS rows FROM {self._copy}")
        there = {part.name for part in await self._parts(self._table.name)}
        if was["rows"] != now["rows"] or not {part.name for part in parts} <= there:
            await self.resume()
            what = "was changed while it was written anew, by an ALTER or OPTIMIZE"
            raise TransientError(self._table.name, what, "It is as it was, and is tried again.")

    async def _finish(self, copied: list[Part], merged: str) -> None:
        """After the exchange: what came late moves over, and the old table goes."""
        if await self._origin(self._copy_name) is not None or await self._is_detached():
            # whoever still inserts has the old table open: it is closed once they are done
            await self._client.execute(f"DETACH TABLE IF EXISTS {self._copy} SYNC")
            await self._client.execute(f"ATTACH TABLE {self._copy}")
            await self._move_late(copied)
        await self._release_merges(merged)
        for table in (self._copy, self._log):
            await self._client.execute(f"DROP TABLE IF EXISTS {table} SYNC")

    async def _move_late(self, copied: list[Part]) -> None:
        names = {part.name for part in copied}
        parts = await self._parts(self._copy_name)
        late = [part for part in parts if part.name not in names]
        if any(part.overlaps(other) for part in late for other in copied):
            what = f"rows that came while it was written anew are in {self._copy_name}, merged with copied ones"
            remedy = "Copy by hand the rows that are missing, then drop that table and the log beside it."
            raise CriticalError(self._table.name, what, remedy)
        partitions = {part.partition for part in late}
        for part in parts:
            if part.name in names and part.partition in partitions:
                await self._client.execute(f"ALTER TABLE {self._copy} DROP PART {literal(part.name)}")
        for partition in sorted(partitions):
            move = f"MOVE PARTITION ID {literal(partition)} TO TABLE {self._live}"
            await self._client.execute(f"ALTER TABLE {self._copy} {move}")

    async def _wait_for_quiet(self) -> None:
        """Waits for merges that run already, and for mutations: what they do would be lost."""
        began = asyncio.get_running_loop().time()
        while True:
            (row,) = await self._client.fetch(BUSY, db=self._client.database, name=self._table.name)
            waiting = row["merges"] + len(await unfinished(self._client, self._table.name))
            if not waiting:
                return
            self._heartbeat(f"{self._table.name}, merges and mutations waited for", waiting)
            if asyncio.get_running_loop().time() - began > PATIENCE:
                what = f"{waiting} merges or mutations of it do not end"
                raise TransientError(self._table.name, what, "It is tried again; kill mutations that cannot finish.")
            await asyncio.sleep(0.1)

    async def _release_merges(self, merged: str) -> None:
        """Lets the table merge again, as its settings said before."""
        change = f"MODIFY SETTING {HELD_BACK} = {merged}" if merged else f"RESET SETTING {HELD_BACK}"
        await self._client.execute(f"ALTER TABLE {self._live} {change}")

    async def _note(self, *steps: tuple[str, str]) -> None:
        await self._client.insert(self._log, ("step", "detail"), steps)

    async def _parts(self, name: str) -> list[Part]:
        rows = await self._client.fetch(PARTS, db=self._client.database, name=name)
        return [Part(row["name"], row["partition"], row["first"], row["last"]) for row in rows]

    async def _origin(self, name: str) -> dict[str, Any] | None:
        rows = await self._client.fetch(ORIGIN, db=self._client.database, name=name)
        return rows[0] if rows else None

    async def _owner(self) -> str | None:
        log = await self._origin(self._log_name)
        return str(log["comment"]) if log else None

    async def _is_detached(self) -> bool:
        rows = await self._client.fetch(DETACHED, db=self._client.database, name=self._copy_name)
        return bool(rows[0]["there"])


def _part(name: str) -> Part:
    """A part by its name: partition, blocks, and how often it was merged and mutated."""
    partition, first, last = name.split("_")[:3]
    return Part(name, partition, int(first), int(last))
