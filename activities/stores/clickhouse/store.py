"""ClickHouse's share of an erasure: find the stored spellings, keep their reverse mapping, mutate once, count again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from activities.contract import (
    BackUp,
    Erased,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Recovery,
    Restored,
    Slice,
    Tally,
)
from activities.errors import CriticalError, translated
from activities.identities import IdentityKind, IdentitySet
from activities.masking import is_mask
from activities.stores.clickhouse import catalogue, masking
from activities.stores.clickhouse.catalogue import ClickHouseMap, Table
from activities.stores.clickhouse.connection import PLACE, Client, text_of, translate
from activities.stores.clickhouse.mutations import MAX_PENDING, Mutations, pending
from activities.stores.clickhouse.staging import Staging
from activities.vault import BatchVault

PASSES = 5
"""How often rows that arrived during a mutation are taken up again."""

OUTDATED = """
    SELECT table, count() AS parts FROM system.parts
    WHERE database = {database} AND NOT active GROUP BY table
"""


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
                if (unfinished := await pending(self._client, table.name)) > MAX_PENDING:
                    what = f"has {unfinished} unfinished mutations"
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
            await staging.identities(people.identities)
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
        mutations = Mutations(self._client, table.name, staging, self._heartbeat)
        await mutations.finish_own()
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
            await mutations.run(masking.mutation(table, staging.identities_table, staging.masks_table))
            left = await self._count(table, people)
            changed += max(0, rows - left)
            self._heartbeat(table.name, changed)
        left = await self._count(table, people)
        return Tally(matched=changed + left, changed=changed, conflicted=left)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Turns every mask of the batch back into its value: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(_pre_image(part))
            if receipt is None:
                return Restored()
            pairs = await self._reverse_mapping(part, vault)
            masks = [("mask", mask) for _, mask in pairs]
            tables = (await catalogue.read(self._client, self._data_map)).tables
            staging = Staging(self._client, part.batch_id)
            restored = Restored()
            for name, rows in receipt.places.items():
                if name not in tables:
                    restored.places[name] = Recovery(rows, conflicted=rows)
                    restored.warnings.append(Finding(name, "is not there any more", "Its rows cannot be put back."))
                    continue
                recovery = await self._unmask(tables[name], rows, pairs, masks, staging)
                restored.places[name] = recovery
                if recovery.conflicted:
                    what = f"{recovery.conflicted:,} rows still hold a mask of this batch"
                    restored.warnings.append(Finding(name, what, "Stop what writes them, then roll back again."))
            await staging.drop()
        return restored

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Drops the batch's staging tables; says where old parts still lie: see `activities.contract.Store`."""
        del vault  # the vault's own share of a batch is shredded with its key
        with translated(PLACE, translate):
            dropped = await Staging(self._client, part.batch_id).drop()
            tables = (await catalogue.read(self._client, self._data_map)).tables
            outdated = await self._client.fetch(OUTDATED, database=self._client.database)
        remedy = "ClickHouse removes them by itself after old_parts_lifetime, eight minutes unless set otherwise."
        return Purged(
            {"staging tables": dropped},
            [
                Finding(row["table"], f"{row['parts']:,} outdated parts may still hold plain values", remedy)
                for row in outdated
                if row["table"] in tables
            ],
        )

    async def _reverse_mapping(self, part: Slice, vault: BatchVault) -> list[tuple[str, str]]:
        """Every value that was or may have been masked, with its mask."""
        names = [_pre_image(part), *await vault.names(f"{_pre_image(part)}/later/")]
        pairs = {
            (record["value"], record["mask"])
            for name in names
            async for _, record in vault.records(name)
            if "mask" in record
        }
        return sorted(pairs)

    async def _unmask(
        self,
        table: Table,
        rows: int,
        pairs: Sequence[tuple[str, str]],
        masks: Sequence[tuple[str, str]],
        staging: Staging,
    ) -> Recovery:
        """Mutates a table back until no row of it holds a mask of the batch."""
        mutations = Mutations(self._client, table.name, staging, self._heartbeat)
        await mutations.kill_own()
        statement = masking.count_masked(table)
        at_first = left = int((await self._client.select(statement, masks))[0][0])
        for _ in range(PASSES):
            if not left:
                break
            await staging.masks(pairs)
            await mutations.run(masking.reverse(table, staging.masks_table))
            left = int((await self._client.select(statement, masks))[0][0])
            self._heartbeat(table.name, at_first - left)
        restored = max(0, at_first - left)
        found = max(rows, restored + left)
        return Recovery(found, restored, found - restored - left, left)

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


def _key(table: str, record: dict[str, str]) -> str:
    return f"{table}\0{record['column']}\0{record['mask']}"


def _pre_image(part: Slice) -> str:
    return f"pre-image/clickhouse/{part.name}"
