"""ClickHouse's share of an erasure: find the stored spellings, keep their reverse mapping, mutate once, count again."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import Any

from activities.contract import BackUp, Erased, Finding, Health, Heartbeat, Impact, Slice, Tally
from activities.errors import CriticalError, TransientError, translated
from activities.identities import IdentityKind, IdentitySet
from activities.masking import is_mask
from activities.stores.clickhouse import catalogue, masking
from activities.stores.clickhouse.catalogue import STAGING, ClickHouseMap, Table
from activities.stores.clickhouse.connection import PLACE, Client, error_code, quote, text_of, translate
from activities.vault import BatchVault

PASSES = 5
"""How often rows that arrived during a mutation are taken up again."""

MAX_PENDING = 20
"""Unfinished mutations of a table beyond which no further one is started."""

FAILED_POLLS = 10
"""A mutation that says for so many polls that it fails is killed: it would block all later ones of its table."""

STAGE_IDENTITIES = (
    "CREATE TABLE IF NOT EXISTS {table} (kind String, value String) ENGINE = MergeTree ORDER BY (kind, value)"
)
STAGE_MASKS = "CREATE TABLE IF NOT EXISTS {table} (value String, mask String) ENGINE = MergeTree ORDER BY value"

MUTATIONS = """
    SELECT mutation_id AS id, command, is_done AS done, parts_to_do AS parts, latest_fail_reason AS reason
    FROM system.mutations WHERE database = {database} AND table = {table}
"""


KILL = "KILL MUTATION WHERE database = {database} AND table = {table} AND mutation_id = {mutation}"


@dataclass(frozen=True)
class People:
    """The batch's identities, by kind and in the form in which they are compared."""

    identities: list[tuple[str, str]]

    @classmethod
    async def of(cls, part: Slice) -> People:
        """Reads the batch."""
        people = IdentitySet([contributor async for page in part.pages() for contributor in page])
        return cls([(str(kind), value) for kind in IdentityKind for value in people.normalized(kind)])


class ClickHouseStore:
    """Erases in ClickHouse.

    Args:
        client: The client, shared.
        data_map: Table patterns and their columns.
        heartbeat: Told of every table and of a mutation's progress.
    """

    def __init__(self, client: Client, data_map: ClickHouseMap, heartbeat: Heartbeat) -> None:
        self._client = client
        self._data_map = data_map
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            version = (await self._client.fetch("SELECT version() AS version"))[0]["version"]
            found = await catalogue.read(self._client, self._data_map)
            for table in found.tables.values():
                pending = sum(not row["done"] for row in await self._mutations(table))
                if pending > MAX_PENDING:
                    what = f"has {pending} unfinished mutations"
                    found.problems.append(Finding(table.name, what, "Wait for them, or kill what cannot finish."))
        return Health(str(version), sorted(found.tables), found.problems, found.warnings)

    async def preview(self, part: Slice) -> Impact:
        """Counts the rows: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            people = await People.of(part)
            tables = (await catalogue.read(self._client, self._data_map)).tables
            return Impact({name: await self._count(table, people) for name, table in tables.items()})

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Keeps the reverse of every mask: see `activities.contract.Store`."""
        name = _pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                people = await People.of(part)
                tables = (await catalogue.read(self._client, self._data_map)).tables
                async with vault.recording(name) as recording:
                    for table in tables.values():
                        rows = await self._count(table, people)
                        await recording.add(table.name, {"rows": rows}, count=rows)
                        for record in await self._values(table, people, vault):
                            await recording.add(table.name, record, count=0)
                receipt = recording.receipt
        assert receipt is not None, "a recording that closed has a receipt"
        return receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Masks the rows: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(_pre_image(part))
            if receipt is None:
                raise CriticalError(PLACE, f"slice {part.name} has no back-up", "Submit the file again.")
            known = {_key(table, record) async for table, record in vault.records(_pre_image(part)) if "mask" in record}
            people = await People.of(part)
            tables = (await catalogue.read(self._client, self._data_map)).tables
            staging = Staging(self._client, part.batch_id)
            await staging.identities(people)
            erased = Erased()
            for table in tables.values():
                tally = await self._mask(table, people, staging, known, part, vault)
                clean = max(0, receipt.places.get(table.name, 0) - tally.matched)
                erased.places[table.name] = tally + Tally(already_clean=clean)
                if tally.conflicted:
                    what = f"{tally.conflicted:,} rows still arrive with an identity"
                    erased.warnings.append(Finding(table.name, what, "Stop their source, then submit again."))
            await staging.drop()
        return erased

    async def _mask(
        self, table: Table, people: People, staging: Staging, known: set[str], part: Slice, vault: BatchVault
    ) -> Tally:
        """Mutates a table until no row of it holds an identity, or the passes are used up."""
        for unfinished in [row for row in await self._mutations(table) if staging.owns(row["command"])]:
            if not unfinished["done"]:
                await self._finish(table, unfinished["id"])
        changed = 0
        for _ in range(PASSES):
            rows = await self._count(table, people)
            if not rows:
                break
            values = await self._values(table, people, vault)
            if later := [record for record in values if _key(table.name, record) not in known]:
                async with vault.recording(f"{_pre_image(part)}/later/{secrets.token_hex(8)}") as recording:
                    for record in later:
                        await recording.add(table.name, record, count=0)
                known |= {_key(table.name, record) for record in later}
            await staging.masks([(record["value"], record["mask"]) for record in values])
            await self._finish(table, await self._start(table, staging))
            left = await self._count(table, people)
            changed += max(0, rows - left)
            self._heartbeat(table.name, changed)
        left = await self._count(table, people)
        return Tally(matched=changed + left, changed=changed, conflicted=left)

    async def _count(self, table: Table, people: People) -> int:
        ((rows,),) = await self._client.select(masking.count(table), people.identities)
        self._heartbeat(table.name, int(rows))
        return int(rows)

    async def _values(self, table: Table, people: People, vault: BatchVault) -> list[dict[str, str]]:
        """The values to be masked in each column, with their masks: the reverse mapping."""
        found: list[dict[str, str]] = []
        for column in table.rules:
            for (value,) in await self._client.select(masking.values(table, column), people.identities):
                if not is_mask(text := text_of(value)):
                    found.append({"column": column, "value": text, "mask": vault.masker.token(text)})
        return found

    async def _start(self, table: Table, staging: Staging) -> str:
        """Starts the table's mutation; answers with its id."""
        earlier = await self._mutations(table)
        pending = sum(not row["done"] for row in earlier)
        if pending > MAX_PENDING:
            remedy = "It is tried again; kill the mutations that cannot finish."
            raise TransientError(table.name, f"{pending} unfinished mutations wait already", remedy)
        await self._client.execute(masking.mutation(table, staging.identities_table, staging.masks_table))
        ids = {row["id"] for row in earlier}
        (mutation,) = [
            row["id"] for row in await self._mutations(table) if row["id"] not in ids and staging.owns(row["command"])
        ]
        return str(mutation)

    async def _finish(self, table: Table, mutation: str) -> None:
        """Waits for a mutation; kills it where it keeps failing."""
        pause, failed = 0.02, 0
        while True:
            (row,) = [row for row in await self._mutations(table) if row["id"] == mutation]
            if row["done"]:
                return
            self._heartbeat(f"{table.name}, parts to mutate", int(row["parts"]))
            failed = failed + 1 if row["reason"] else 0
            if failed >= FAILED_POLLS:
                where = {"database": self._client.database, "table": table.name, "mutation": mutation}
                await self._client.fetch(KILL, **where)
                what = f"its mutation fails with code {error_code(row['reason'])} and was killed"
                remedy = "Look into ClickHouse's log. Some parts may be masked already; submit again to go on."
                raise CriticalError(table.name, what, remedy)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1)

    async def _mutations(self, table: Table) -> list[dict[str, Any]]:
        return await self._client.fetch(MUTATIONS, database=self._client.database, table=table.name)


class Staging:
    """The batch's own tables in ClickHouse, there for as long as a mutation may need them.

    Args:
        client: The client.
        batch_id: The batch.
    """

    def __init__(self, client: Client, batch_id: str) -> None:
        self._client = client
        name = STAGING + re.sub(r"\W", "_", batch_id)
        self.identities_table = f"{quote(client.database)}.{quote(f'{name}_identities')}"
        self.masks_table = f"{quote(client.database)}.{quote(f'{name}_masks')}"
        self._name = name

    def owns(self, command: object) -> bool:
        """Whether a mutation is of this batch."""
        return f"{self._name}_identities" in str(command)

    async def identities(self, people: People) -> None:
        """Fills the table of identities, unless an earlier attempt did."""
        await self._client.execute(STAGE_IDENTITIES.replace("{table}", self.identities_table))
        await self._client.execute(STAGE_MASKS.replace("{table}", self.masks_table))
        rows = await self._client.fetch(f"SELECT count() AS rows FROM {self.identities_table}")
        if rows[0]["rows"] < len(people.identities):
            await self._client.insert(self.identities_table, ("kind", "value"), people.identities)

    async def masks(self, masks: list[tuple[str, str]]) -> None:
        """Adds values and their masks; one that is there already changes nothing."""
        await self._client.insert(self.masks_table, ("value", "mask"), masks)

    async def drop(self) -> None:
        """Removes the tables: no mutation needs them any more."""
        for table in (self.identities_table, self.masks_table):
            await self._client.execute(f"DROP TABLE IF EXISTS {table} SYNC")


def _key(table: str, record: dict[str, str]) -> str:
    return f"{table}\0{record['column']}\0{record['mask']}"


def _pre_image(part: Slice) -> str:
    return f"pre-image/clickhouse/{part.name}"
