"""ClickHouse's share of an erasure: find the stored spellings, keep their reverse mapping, mutate once, count again."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from activities.contract import (
    BackUp,
    Erased,
    Extent,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Recovery,
    Restored,
    Sighting,
    Slice,
    Suspect,
    Tally,
)
from activities.errors import CriticalError, translated
from activities.masking import Masker
from activities.stores.clickhouse import catalogue, extent, masking, remains, rights, server_state, values
from activities.stores.clickhouse.connection import PLACE, Client, text_of, translate
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.fields import Table
from activities.stores.clickhouse.identities import identities
from activities.stores.clickhouse.masking import Masks
from activities.stores.clickhouse.mutations import Mutations
from activities.stores.clickhouse.rewriting import Rewriting
from activities.stores.clickhouse.staging import Staging
from activities.stores.clickhouse.streams import Arrivals
from activities.stores.clickhouse.survey import survey
from activities.stores.clickhouse.values import Masked, People
from activities.suspicion import Suspicion
from activities.vault import BatchVault

PASSES = 5
"""How often rows that arrived during a mutation are taken up again."""


class ClickHouseStore:
    """Erases in ClickHouse.

    Args:
        client: The client, shared.
        data_map: Table patterns and their fields.
        heartbeat: Told of every table and of a mutation's progress.
    """

    def __init__(self, client: Client, data_map: ClickHouseMap, heartbeat: Heartbeat) -> None:
        self._client = client
        self._data_map = data_map
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            version = await self._client.ask("SELECT version()")
            found = await catalogue.read(self._client, self._data_map)
            state = await server_state.look(self._client, found.tables)
            warnings = found.warnings + await remains.detached_parts(self._client, found.tables)
            lacking, unknown = await rights.check(self._client, found.tables.values())
            notes = state.notes + await remains.left_over(self._client) + unknown
        problems = found.problems + state.problems + lacking
        return Health(version, sorted(found.tables), problems, warnings, notes)

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for what the data map does not name: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await survey(self._client, self._data_map, suspicion)

    async def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what the columns hold: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            mapped = await catalogue.read(self._client, self._data_map)
            for finding in (*mapped.problems, *mapped.warnings):
                yield finding
            for table in mapped.tables.values():
                async with aclosing(identities(self._client, table)) as found:
                    async for each in found:
                        self._heartbeat(table.name, len(each.values))
                        yield each

    async def preview(self, part: Slice) -> Impact:
        """Counts the rows: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            people = await People.of(part)
            places: dict[str, int] = {}
            extents: dict[str, Extent] = {}
            for name, table in (await catalogue.read(self._client, self._data_map)).tables.items():
                rows = await self._count_by_part(table, await values.find(self._client, table, people, None))
                places[name] = sum(rows.values())
                if rows:
                    extents[name] = await extent.of(self._client, table, rows)
            return Impact(places, extents)

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Keeps the reverse of every mask: see `activities.contract.Store`."""
        name = _pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                people = await People.of(part)
                tables = (await catalogue.read(self._client, self._data_map)).tables
                async with vault.recording(name) as recording:
                    for table in tables.values():
                        rows, masked = await self._found(table, people, vault.masker)
                        await recording.add(table.name, {"rows": rows}, count=rows)
                        for record in _records(masked):
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
            erased = Erased()
            for table in tables.values():
                arrivals = Arrivals(self._client, table.streams, self._heartbeat)
                tally = await self._mask(table, people, staging, known, part, vault, arrivals)
                clean = max(0, receipt.places.get(table.name, 0) - tally.matched)
                erased.places[table.name] = tally + Tally(already_clean=clean)
                erased.places.update(dict.fromkeys(arrivals.read_to, Tally()))
                erased.warnings.extend(each for each in arrivals.warnings if each not in erased.warnings)
                if tally.conflicted:
                    what = f"{tally.conflicted:,} rows still arrive with an identity"
                    erased.warnings.append(Finding(table.name, what, "Stop their source, then submit again."))
            erased.warnings.extend(await remains.reload_dictionaries(self._client))
            await staging.drop()
        return erased

    async def _mask(
        self,
        table: Table,
        people: People,
        staging: Staging,
        known: set[str],
        part: Slice,
        vault: BatchVault,
        arrivals: Arrivals,
    ) -> Tally:
        """Masks a table until no row of it holds an identity and none is on its way, or the passes are used up."""
        await self._end_earlier(table, staging)
        changed, settled = 0, False
        rows, masked = await self._found(table, people, vault.masker)
        for _ in range(PASSES):
            if rows:
                if later := [each for each in _records(masked) if _key(table.name, each) not in known]:
                    async with vault.recording(f"{_pre_image(part)}/later/{secrets.token_hex(8)}") as recording:
                        for record in later:
                            await recording.add(table.name, record, count=0)
                    known |= {_key(table.name, record) for record in later}
                await staging.add(_labelled(table, masked))
                await self._replace(table, list(masked), Masks(staging.table), staging)
                settled = False
            elif settled:
                break
            else:
                await arrivals.settle()
                settled = True
            before = rows
            rows, masked = await self._found(table, people, vault.masker)
            changed += max(0, before - rows)
            self._heartbeat(table.name, changed)
        else:
            arrivals.go_on()
        return Tally(matched=changed + rows, changed=changed, conflicted=rows)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Turns every mask of the batch back into its value: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(_pre_image(part))
            if receipt is None:
                return Restored()
            reverse = await self._reverse_mapping(part, vault)
            tables = (await catalogue.read(self._client, self._data_map)).tables
            staging = Staging(self._client, part.batch_id)
            restored = Restored()
            for name, rows in receipt.places.items():
                if name not in tables:
                    restored.places[name] = Recovery(rows, conflicted=rows)
                    restored.warnings.append(Finding(name, "is not there any more", "Its rows cannot be put back."))
                    continue
                if any(not tables[name].is_reversible(column) for column in reverse.get(name, {})):
                    restored.places[name] = Recovery(rows, conflicted=rows)
                    what = "was masked in a way that cannot be undone, as the data map says"
                    restored.warnings.append(Finding(name, what, "It stays as it is."))
                    continue
                recovery = await self._unmask(tables[name], rows, reverse.get(name, {}), staging)
                restored.places[name] = recovery
                if recovery.conflicted:
                    what = f"{recovery.conflicted:,} rows still hold a mask of this batch"
                    restored.warnings.append(Finding(name, what, "Stop what writes them, then roll back again."))
            restored.warnings.extend(await remains.reload_dictionaries(self._client))
            await staging.drop()
        return restored

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Drops the batch's own tables; says where values may lie still: see `activities.contract.Store`."""
        del vault  # the vault's own share of a batch is shredded with its key
        with translated(PLACE, translate):
            tables = (await catalogue.read(self._client, self._data_map)).tables
            staging = Staging(self._client, part.batch_id)
            for table in tables.values():
                await self._end_earlier(table, staging)
            dropped = await staging.drop()
            outdated = await remains.outdated_parts(self._client, tables)
            warnings = outdated + await remains.detached_parts(self._client, tables)
        return Purged({"staging tables": dropped}, warnings)

    async def _reverse_mapping(self, part: Slice, vault: BatchVault) -> dict[str, Masked]:
        """Of each table every value that was or may have been masked, with its mask."""
        found: dict[str, Masked] = {}
        for name in [_pre_image(part), *await vault.names(f"{_pre_image(part)}/later/")]:
            async for table, record in vault.records(name):
                if "mask" in record:
                    fields = found.setdefault(table, {})
                    fields.setdefault(record["column"], {})[record["value"]] = record["mask"]
        return found

    async def _unmask(self, table: Table, rows: int, reverse: Masked, staging: Staging) -> Recovery:
        """Masks a table back until no row of it holds a mask of the batch."""
        if table.rewritten:
            await self._rewriting(table, staging).resume()
        else:
            await Mutations(self._client, table.name, staging, self._heartbeat).kill_own()
        reverse = {
            name: pairs for name, pairs in reverse.items() if name in table.fields and table.fields[name].reversible
        }
        masks = {name: dict.fromkeys(pairs.values(), "") for name, pairs in reverse.items()}
        at_first = left = await self._count(table, masks)
        for _ in range(PASSES):
            if not left:
                break
            await staging.add(_labelled(table, reverse))
            await self._replace(table, list(reverse), Masks(staging.table, back=True), staging)
            left = await self._count(table, masks)
            self._heartbeat(table.name, at_first - left)
        restored = max(0, at_first - left)
        found = max(rows, restored + left)
        return Recovery(found, restored, found - restored - left, left)

    async def _replace(self, table: Table, names: list[str], masks: Masks, staging: Staging) -> None:
        """Replaces what is staged, by a mutation, or by a table that is written anew where a key forbids that."""
        if table.rewritten:
            await self._rewriting(table, staging).run(names, masks)
        else:
            mutations = Mutations(self._client, table.name, staging, self._heartbeat)
            await mutations.run(masking.mutation(table, names, masks, self._client.cluster.on))

    async def _end_earlier(self, table: Table, staging: Staging) -> None:
        """Ends what an earlier attempt began."""
        if table.rewritten:
            await self._rewriting(table, staging).resume()
        else:
            await Mutations(self._client, table.name, staging, self._heartbeat).finish_own()

    def _rewriting(self, table: Table, staging: Staging) -> Rewriting:
        return Rewriting(self._client, table, staging.batch_id, self._heartbeat)

    async def _found(self, table: Table, people: People, masker: Masker | None) -> tuple[int, Masked]:
        """How many rows hold an identity, and the values that are to be masked."""
        masked = await values.find(self._client, table, people, masker)
        return await self._count(table, _held(table, masked)), masked

    async def _count_by_part(self, table: Table, masked: Masked) -> dict[str, int]:
        """How many rows of which part hold one of some values."""
        held = _held(table, masked)
        rows: dict[str, int] = {}
        if sent := _sent(table, held):
            async for part, counted in self._client.select(masking.count_by_part(table, held), sent):
                rows[text_of(part)] = int(counted)
        self._heartbeat(table.name, sum(rows.values()))
        return rows

    async def _count(self, table: Table, held: Masked) -> int:
        sent = _sent(table, held)
        rows = 0
        if sent:
            async for (counted,) in self._client.select(masking.count(table, held), sent):
                rows = int(counted)
        self._heartbeat(table.name, rows)
        return rows


def _held(table: Table, masked: Masked) -> Masked:
    """Without the values of fields that only stand beside others: by them no row is found."""
    return {name: pairs for name, pairs in masked.items() if table.fields[name].holds}


def _sent(table: Table, held: Masked) -> list[tuple[str, str]]:
    return [(table.label(name), value) for name, pairs in held.items() for value in pairs]


def _records(masked: Masked) -> Iterable[dict[str, str]]:
    for column, pairs in masked.items():
        for value, mask in pairs.items():
            yield {"column": column, "value": value, "mask": mask}


def _labelled(table: Table, masked: Masked) -> list[tuple[str, str, str]]:
    return [(table.label(name), value, mask) for name, pairs in masked.items() for value, mask in pairs.items()]


def _key(table: str, record: dict[str, str]) -> str:
    return "\0".join((table, record["column"], record["value"]))


def _pre_image(part: Slice) -> str:
    return f"pre-image/clickhouse/{part.name}"
