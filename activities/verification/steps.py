"""The activities of a verification as Temporal sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession
from temporalio import activity

from activities import submission
from activities.contract import Heartbeat
from activities.datamap import DataMap
from activities.holds import Holds
from activities.settings import PlatformApiSettings
from activities.steps import AnyActivity, work
from activities.vault import Vault
from activities.verification import access, report, scanning
from activities.verification.contract import AnyScannerKind, Estimate, Scan, Scanner, Scope
from activities.verification.messages import Access, Target, VerificationStatus
from activities.verification.people import People

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class VerificationActivities:
    """What concerns a verification and no store in particular.

    Args:
        vault: The vault.
        identities: PostgreSQL, where the identity table and the legal holds are.
        session: Connections to the platform's API.
        settings: Where that is.
    """

    def __init__(
        self, vault: Vault, identities: Pool[Record], session: ClientSession, settings: PlatformApiSettings
    ) -> None:
        self._vault = vault
        self._identities = identities
        self._holds = Holds(identities)
        self._session = session
        self._settings = settings

    @activity.defn
    async def count_left_out(self, target: Target) -> int:
        """How many people of the batch were left out of it, and are not looked for."""
        async with work():
            vault = await self._vault.open(target.batch.batch_id)
            return (await People.of(vault, self._holds, target)).left_out

    @activity.defn
    async def ask_platform(self, target: Target) -> Access:
        """Asks the platform's API, which must not know them, and the identity table, which must not list them."""
        async with work() as heartbeat:
            vault = await self._vault.open(target.batch.batch_id)
            data_map = await submission.read_data_map(vault, target.batch.data_map_digest)
            people = await People.of(vault, self._holds, target)
            return await access.ask(people, data_map, self._session, self._settings, self._identities, heartbeat)

    @activity.defn
    async def report_verification(self, status: VerificationStatus) -> str:
        """Writes the report into the vault; returns its name."""
        async with work():
            return await report.write(await self._vault.archive(status.batch_id), status)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.count_left_out, self.ask_platform, self.report_verification]


class ScanActivities:
    """The scan of one store, or of what is beside the stores: ``scan_postgres`` and ``estimate_scan_postgres``.

    Args:
        kind: The scanner.
        client: The store's client, shared by all executions.
        settings: The store's settings.
        vault: The vault.
        holds: The legal holds.
    """

    def __init__(self, kind: AnyScannerKind, client: Any, settings: Any, vault: Vault, holds: Holds) -> None:
        self._kind = kind
        self._client = client
        self._settings = settings
        self._vault = vault
        self._holds = holds

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""

        @activity.defn(name=f"estimate_scan_{self._kind.name}")
        async def estimate(target: Target) -> Estimate:
            async with self._opened(target) as (scanner, scope, _, heartbeat):
                return await scanning.estimate(scanner, scope, heartbeat)

        @activity.defn(name=f"scan_{self._kind.name}")
        async def scan(target: Target) -> Scan:
            # the same again where it is cut off: a scan removes what an earlier try has planted
            canary = f"canary-{activity.info().workflow_run_id}" if self._kind.plants else target.workflow_id
            async with self._opened(target) as (scanner, scope, people, heartbeat):
                return await scanning.scan(self._kind.name, scanner, scope, people, heartbeat, canary=canary)

        return [estimate, scan]

    @asynccontextmanager
    async def _opened(self, target: Target) -> AsyncIterator[tuple[Scanner, Scope, People, Heartbeat]]:
        async with work() as heartbeat:
            vault = await self._vault.open(target.batch.batch_id)
            data_map = await submission.read_data_map(vault, target.batch.data_map_digest)
            people = await People.of(vault, self._holds, target)
            yield self._kind.open(self._client, self._settings), self._scope(data_map, target), people, heartbeat

    def _scope(self, data_map: DataMap, target: Target) -> Scope:
        mapped = self._kind.mapped(data_map.tables.get(self._kind.name, data_map.verification))
        return Scope(
            target.depth, tuple(mapped) if self._kind.plants else (target.workflow_id,), data_map.verification.reach
        )
