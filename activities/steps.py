"""The activities as Temporal sees them: they open the batch, run one verb of one store, and translate errors.

Inputs and results hold a batch id, numbers and counts. Store code knows nothing of Temporal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import manifest, report, submission
from activities.contract import AnyStoreKind, BackUp, Erased, Heartbeat, Impact, Store
from activities.errors import ErasureError, TransientError, unknown
from activities.manifest import ManifestSlice
from activities.messages import Batch, Checked, Resolved, Step
from activities.status import BatchStatus
from activities.vault import Vault

if TYPE_CHECKING:
    from asyncpg import Pool, Record


AnyActivity = Callable[..., Awaitable[Any]]


class BatchActivities:
    """What concerns the batch and no store in particular.

    Args:
        vault: The vault.
        identities: PostgreSQL, where identities are resolved.
    """

    def __init__(self, vault: Vault, identities: Pool[Record]) -> None:
        self._vault = vault
        self._identities = identities

    @activity.defn
    async def check_batch(self, batch: Batch) -> None:
        """Proves that the vault works and holds the batch as it was submitted."""
        async with _work():
            await self._vault.probe()
            vault = await self._vault.open(batch.batch_id)
            await submission.read_data_map(vault, batch.data_map_digest)

    @activity.defn
    async def resolve_identities(self, batch: Batch) -> Resolved:
        """Writes the manifest."""
        async with _work() as heartbeat:
            vault = await self._vault.open(batch.batch_id)
            data_map = await submission.read_data_map(vault, batch.data_map_digest)
            return await manifest.resolve(vault, self._identities, data_map, heartbeat)

    @activity.defn
    async def write_report(self, status: BatchStatus) -> str:
        """Writes the report into the vault; answers with its name there."""
        async with _work():
            return await report.write(await self._vault.open(status.batch_id), status)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.check_batch, self.resolve_identities, self.write_report]


class StoreActivities:
    """One store's activities; each is named after its verb and its store, as ``erase_postgres``.

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

        @activity.defn(name=f"check_{self._kind.name}")
        async def check(batch: Batch) -> Checked:
            async with self._store(batch) as (store, _):
                return Checked(await store.probe(), self._kind.unit)

        @activity.defn(name=f"count_{self._kind.name}")
        async def count(step: Step) -> Impact:
            async with self._store(step.batch) as (store, vault):
                return await store.preview(ManifestSlice(vault, step.number, step.slices))

        @activity.defn(name=f"back_up_{self._kind.name}")
        async def back_up(step: Step) -> BackUp:
            async with self._store(step.batch) as (store, vault):
                return await store.back_up(ManifestSlice(vault, step.number, step.slices), vault)

        @activity.defn(name=f"erase_{self._kind.name}")
        async def erase(step: Step) -> Erased:
            async with self._store(step.batch) as (store, vault):
                return await store.erase(ManifestSlice(vault, step.number, step.slices), vault)

        return [check, count, back_up, erase]

    @asynccontextmanager
    async def _store(self, batch: Batch) -> AsyncIterator[tuple[Store, Any]]:
        async with _work() as heartbeat:
            vault = await self._vault.open(batch.batch_id)
            data_map = await submission.read_data_map(vault, batch.data_map_digest)
            yield self._kind.open(self._client, data_map.tables[self._kind.name], heartbeat), vault


@asynccontextmanager
async def _work() -> AsyncIterator[Heartbeat]:
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
