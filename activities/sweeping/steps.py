"""A sweep's activities as Temporal sees them. Inputs and results hold names, places and counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from temporalio import activity

from activities import submission
from activities.contract import AnyStoreKind, Heartbeat
from activities.datamap import DataMap
from activities.steps import AnyActivity, work
from activities.sweeping import accounts, gathering, looking
from activities.sweeping.messages import Gathered, Sighted, Sweep
from activities.tombstones import Tombstones
from activities.vault import BatchVault, Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

ARCHIVE = "sweeps."
"""Where the data maps of sweeps are kept; no batch can be named like that."""


class SweepActivities:
    """What of a sweep concerns no store in particular.

    Args:
        vault: The vault.
        pool: PostgreSQL, with the identity table and the tombstones.
    """

    def __init__(self, vault: Vault, pool: Pool[Record]) -> None:
        self._vault = vault
        self._pool = pool

    @activity.defn
    async def sweep_accounts(self, sweep: Sweep) -> Sighted:
        """Looks through the identity table: who came back, and who registered anew."""
        async with opened(self._vault, self._pool, sweep) as (vault, data_map, tombstones, heartbeat):
            await tombstones.prepare()
            return await accounts.look(self._pool, data_map.identity, tombstones, vault, heartbeat)

    @activity.defn
    async def gather_swept(self, sweep: Sweep) -> Gathered:
        """Makes a batch of what was found."""
        async with opened(self._vault, self._pool, sweep) as (vault, data_map, _, _):
            return await gathering.gather(self._vault, vault, data_map)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.sweep_accounts, self.gather_swept]


def of_store(kind: AnyStoreKind, client: Any, vault: Vault, pool: Pool[Record]) -> AnyActivity:
    """A sweep's activity of one store, named after it: ``sweep_postgres``.

    Args:
        kind: The store.
        client: Its client.
        vault: The vault.
        pool: PostgreSQL, with the tombstones.
    """

    @activity.defn(name=f"sweep_{kind.name}")
    async def sweep_store(sweep: Sweep) -> Sighted:
        async with opened(vault, pool, sweep) as (found, data_map, tombstones, heartbeat):
            store = kind.open(client, data_map.tables[kind.name], heartbeat)
            return await looking.look(kind.name, store.identities(), tombstones, found)

    return sweep_store


@asynccontextmanager
async def opened(
    vaults: Vault, pool: Pool[Record], sweep: Sweep
) -> AsyncIterator[tuple[BatchVault, DataMap, Tombstones, Heartbeat]]:
    """A sweep's part of the vault, its data map, the tombstones, and the heartbeat."""
    async with work() as heartbeat:
        data_map = await submission.read_data_map(await vaults.archive(ARCHIVE), sweep.data_map_digest)
        tombstones = await Tombstones.open(vaults, pool)
        yield await vaults.create(sweep.sweep_id), data_map, tombstones, heartbeat
