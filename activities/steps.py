"""The activities as Temporal sees them: they open the batch, run one verb of one store, and translate errors.

Inputs and results hold a batch id, numbers and counts. Store code knows nothing of Temporal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import drift, manifest, report, submission
from activities.certificate import issuing
from activities.contract import AnyStoreKind, BackUp, Erased, Finding, Heartbeat, Impact, Purged, Restored, Store
from activities.datamap import DataMap
from activities.errors import ErasureError, TransientError, unknown
from activities.holds import Holds
from activities.manifest import ManifestSlice
from activities.messages import BackUps, Batch, Certified, Checked, Reported, Resolution, Resolved, Step
from activities.status import BatchStatus
from activities.tombstones import Tombstones
from activities.vault import BatchVault, Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record


AnyActivity = Callable[..., Awaitable[Any]]


class BatchActivities:
    """What concerns the batch and no store in particular.

    Args:
        vault: The vault.
        identities: PostgreSQL, where identities are resolved and legal holds are kept.
    """

    def __init__(self, vault: Vault, identities: Pool[Record]) -> None:
        self._vault = vault
        self._identities = identities
        self._holds = Holds(identities)

    @activity.defn
    async def check_batch(self, batch: Batch) -> None:
        """Proves that the vault works and holds the batch as it was submitted, and that tombstones can be kept."""
        async with work():
            await self._vault.probe()
            vault = await self._vault.open(batch.batch_id)
            await submission.read_data_map(vault, batch.data_map_digest)
            await (await Tombstones.open(self._vault, self._identities)).prepare()

    @activity.defn
    async def resolve_identities(self, task: Resolution) -> Resolved:
        """Writes the manifest, unless an operator has to decide about shared identities first."""
        async with work() as heartbeat:
            vault = await self._vault.open(task.batch_id)
            data_map = await submission.read_data_map(vault, task.data_map_digest)
            return await manifest.resolve(vault, self._identities, data_map, self._holds, task, heartbeat)

    @activity.defn
    async def verify_back_up(self, backups: BackUps) -> None:
        """Reads a phase's whole back-up: what is missing or altered is found before anything is written."""
        async with work() as heartbeat:
            vault = await self._vault.open(backups.batch.batch_id)
            for done, (slice_name, digest) in enumerate(backups.digests.items(), 1):
                await vault.verify(f"pre-image/{backups.store}/{slice_name}", digest)
                heartbeat("verified", done)

    @activity.defn
    async def write_report(self, status: BatchStatus) -> Reported:
        """Writes the report into the vault, with the names of those who stay: under a hold, or sharing an identity."""
        async with work():
            archive = await self._vault.archive(status.batch_id)
            held = await report.holds(archive, self._vault, self._holds, status)
            stayers = await report.stayers(archive, self._vault, status)
            name = await report.write(archive, report.Contents(status, datetime.now(UTC), held, stayers))
            return Reported(name, len(held), sum(bool(each.too_late) for each in held))

    @activity.defn
    async def certify_batch(self, status: BatchStatus) -> Certified:
        """Issues the batch's certificate: signed, continuing the earlier one, kept where it outlives the batch key."""
        async with work():
            return await issuing.issue(self._vault, self._holds, status)

    @activity.defn
    async def shred_batch(self, batch: Batch) -> None:
        """Destroys the batch key and all that it sealed, and checks that nothing can be read any more."""
        async with work():
            await self._vault.shred(batch.batch_id)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [
            self.check_batch,
            self.resolve_identities,
            self.verify_back_up,
            self.write_report,
            self.certify_batch,
            self.shred_batch,
        ]


class StoreActivities:
    """One store's activities; each is named after its verb and its store, as ``erase_postgres``.

    Args:
        kind: The store.
        client: Its client, shared by all executions.
        vault: The vault.
        holds: The legal holds.
    """

    def __init__(self, kind: AnyStoreKind, client: Any, vault: Vault, holds: Holds) -> None:
        self._kind = kind
        self._client = client
        self._vault = vault
        self._holds = holds

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""

        @activity.defn(name=f"check_{self._kind.name}")
        async def check(batch: Batch) -> Checked:
            async with self._opened(batch) as (store, _, data_map):
                reversible = self._kind.name not in data_map.irreversible
                health = await drift.check(self._kind.name, store, data_map)
                return Checked(health, self._kind.unit, reversible)

        @activity.defn(name=f"count_{self._kind.name}")
        async def count(step: Step) -> Impact:
            async with self._store(step.batch) as (store, vault):
                return await store.preview(_part(vault, step))

        @activity.defn(name=f"back_up_{self._kind.name}")
        async def back_up(step: Step) -> BackUp:
            async with self._store(step.batch) as (store, vault):
                part = _part(vault, step)
                return replace(await store.back_up(part, vault), slice=part.name)

        @activity.defn(name=f"erase_{self._kind.name}")
        async def erase(step: Step) -> Erased:
            async with self._store(step.batch) as (store, vault):
                part = await self._without_held(_part(vault, step))
                erased = await store.erase(part, vault)
                if part.without:
                    what = f"{len(part.without):,} people came under a legal hold and were left out"
                    remedy = "The report names them. Submit them again once the hold is lifted."
                    erased.warnings.append(Finding(self._kind.name, what, remedy))
                return erased

        @activity.defn(name=f"restore_{self._kind.name}")
        async def restore(step: Step) -> Restored:
            async with self._store(step.batch) as (store, vault):
                return await store.restore(_part(vault, step), vault)

        @activity.defn(name=f"purge_{self._kind.name}")
        async def purge(step: Step) -> Purged:
            async with self._store(step.batch) as (store, vault):
                return await store.purge(_part(vault, step), vault)

        return [check, count, back_up, erase, restore, purge]

    async def _without_held(self, part: ManifestSlice) -> ManifestSlice:
        """The slice without those who are under a legal hold now; they are put down for the report."""
        held: set[str] = set()
        async for page in part.pages():
            held |= await self._holds.among([contributor.contributor_id for contributor in page])
        if held:
            await report.leave_out(part.vault, self._kind.name, part.name, held)
        return replace(part, without=frozenset(held))

    @asynccontextmanager
    async def _store(self, batch: Batch) -> AsyncIterator[tuple[Store, BatchVault]]:
        async with self._opened(batch) as (store, vault, _):
            yield store, vault

    @asynccontextmanager
    async def _opened(self, batch: Batch) -> AsyncIterator[tuple[Store, BatchVault, DataMap]]:
        async with work() as heartbeat:
            vault = await self._vault.open(batch.batch_id)
            data_map = await submission.read_data_map(vault, batch.data_map_digest)
            yield self._kind.open(self._client, data_map.tables[self._kind.name], heartbeat), vault, data_map


def _part(vault: BatchVault, step: Step) -> ManifestSlice:
    return ManifestSlice(vault, step.number, step.slices, step.attempt)


@asynccontextmanager
async def work() -> AsyncIterator[Heartbeat]:
    """Heartbeats for as long as the block runs, with what it reported last; turns its errors into Temporal's.

    A single statement may take longer than the heartbeat time-out, so the beat goes on by itself: it says that this
    process lives. How long a statement may take is bounded by the driver's and the activity's own time-outs.
    """
    progress: dict[str, int] = {}
    timeout = activity.info().heartbeat_timeout
    pause = timeout.total_seconds() / 4 if timeout else 10

    async def beat() -> None:
        while True:
            activity.heartbeat(progress)
            await asyncio.sleep(pause)

    beating = asyncio.create_task(beat())
    try:
        yield progress.__setitem__
    except ErasureError as error:
        raise ApplicationError(
            str(error), type=type(error).__name__, non_retryable=not isinstance(error, TransientError)
        ) from None
    except Exception as error:
        raise ApplicationError(str(unknown("activity", error)), type="CriticalError", non_retryable=True) from None
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
