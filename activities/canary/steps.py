"""The activities of the canary as Temporal sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from temporalio import activity

from activities import submission
from activities.canary.book import Book
from activities.canary.messages import CanaryStep, Preparation
from activities.canary.person import Alone, Canary
from activities.contract import AnyStoreKind, Contributor, Finding, Impact, Planted, Planter
from activities.datamap import DataMap
from activities.errors import CriticalError
from activities.identities import IdentityKind, forms, normal
from activities.identity_table import Identity, count_holders, look_up
from activities.manifest import ManifestSlice
from activities.steps import AnyActivity, work
from activities.vault import BatchVault, Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

PLACE = "canary"

_OTHERS = "Choose identities that nobody has: [canary] in the data map."


class CanaryActivities:
    """What concerns the canary and no store in particular.

    Args:
        vault: The vault.
        identities: PostgreSQL, where the identity table is.
    """

    def __init__(self, vault: Vault, identities: Pool[Record]) -> None:
        self._vault = vault
        self._identities = identities

    @activity.defn
    async def prepare_canary(self, task: Preparation) -> None:
        """Makes sure that the canary is nobody, and puts the batch that erases it into the vault."""
        async with work():
            vault = await self._vault.open(task.batch.batch_id)
            data_map = await submission.read_data_map(vault, task.batch.data_map_digest)
            person = _person(data_map)
            await self._refuse_a_member(vault, person, task)
            await self._refuse_the_known(data_map, person)
            erasure = await self._vault.create(task.erasure)
            await submission.write(erasure, data_map, [person])

    @activity.defn
    async def close_canary(self, step: CanaryStep) -> None:
        """Puts down that all of it was taken away."""
        async with work():
            await Book(await self._vault.archive(step.canary)).close()

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.prepare_canary, self.close_canary]

    async def _refuse_a_member(self, vault: BatchVault, person: Contributor, task: Preparation) -> None:
        own = _identities(person)
        pages = ManifestSlice(vault, None, task.slices, task.attempt).pages()
        if any([own & _identities(each) async for page in pages for each in page]) or any(
            [own & _identities(each) async for each in submission.read_contributors(vault)]
        ):
            raise CriticalError(PLACE, "somebody of the batch has one of its identities", _OTHERS)

    async def _refuse_the_known(self, data_map: DataMap, person: Contributor) -> None:
        table = data_map.identity
        wanted: dict[Identity, set[str]] = {
            (kind, value): forms(value, kind)
            for kind, value in _identities(person)
            if kind is not IdentityKind.CONTRIBUTOR_ID
        }
        known = await look_up(self._identities, table, [person.contributor_id])
        if known or any((await count_holders(self._identities, table, wanted)).values()):
            raise CriticalError(PLACE, f"somebody in {table.table} has one of its identities", _OTHERS)


class PlantingActivities:
    """What is done to the canary in one store, as ``plant_postgres``.

    Args:
        kind: The store.
        client: Its client, shared by all executions.
        vault: The vault.
    """

    def __init__(self, kind: AnyStoreKind, client: Any, vault: Vault) -> None:
        self._kind = kind
        self._client = client
        self._vault = vault

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        store = self._kind.name

        @activity.defn(name=f"find_canary_{store}")
        async def find(step: CanaryStep) -> Impact:
            async with work() as heartbeat:
                data_map = await self._data_map(step)
                opened = self._kind.open(self._client, data_map.tables[store], heartbeat)
                return await opened.preview(Alone(_person(data_map), step.erasure))

        @activity.defn(name=f"plant_{store}")
        async def plant(step: CanaryStep) -> Planted:
            async with self._planter(step) as (planter, data_map, book):
                if (seeds := await book.planned(step.erasure, store)) is None:
                    canary = await self._canary(step, data_map)
                    seeds = await book.plan(step.erasure, store, await planter.seeds(canary))
                planted = await planter.plant(seeds.seeds)
                return Planted(planted.places, [*seeds.missed, *planted.missed])

        @activity.defn(name=f"uproot_{store}")
        async def uproot(step: CanaryStep) -> list[Finding]:
            async with self._planter(step) as (planter, _, book):
                return await planter.uproot(await book.outstanding(store))

        return [find, plant, uproot]

    @asynccontextmanager
    async def _planter(self, step: CanaryStep) -> AsyncIterator[tuple[Planter, DataMap, Book]]:
        async with work():
            data_map = await self._data_map(step)
            planter = self._kind.planter(self._client, data_map.tables[self._kind.name])
            yield planter, data_map, Book(await self._vault.archive(step.canary))

    async def _canary(self, step: CanaryStep, data_map: DataMap) -> Canary:
        person, table = _person(data_map), data_map.identity
        columns = {table.id: person.contributor_id}
        columns |= _each(table.emails, person.emails) | _each(table.worker_ids, person.worker_ids)
        erasure = await self._vault.open(step.erasure)
        return Canary(person, erasure.masker, table.table, columns)

    async def _data_map(self, step: CanaryStep) -> DataMap:
        vault = await self._vault.open(step.batch.batch_id)
        return await submission.read_data_map(vault, step.batch.data_map_digest)


def _person(data_map: DataMap) -> Contributor:
    if data_map.canary is None:
        raise CriticalError(PLACE, "the data map names none", "Add [canary] to it.")
    return data_map.canary.person


def _identities(person: Contributor) -> set[Identity]:
    return {
        (IdentityKind.CONTRIBUTOR_ID, person.contributor_id),
        *((IdentityKind.EMAIL, normal(value, IdentityKind.EMAIL)) for value in person.emails),
        *((IdentityKind.WORKER_ID, value) for value in person.worker_ids),
    }


def _each(columns: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """A value a column; where there are fewer, the first ones again."""
    return {column: values[number % len(values)] for number, column in enumerate(columns) if values}
