"""The activities of an API test as Temporal sees them."""

from __future__ import annotations

from aiohttp import ClientSession
from temporalio import activity

from activities.platform_api import report, run
from activities.platform_api.client import PlatformApi
from activities.platform_api.messages import ApiTestStatus, Page, PageCounts, Run
from activities.settings import PlatformApiSettings
from activities.steps import AnyActivity, work
from activities.vault import Vault


class ApiTestActivities:
    """What an API test does.

    Args:
        vault: The vault.
        session: Connections to the platform's API.
        settings: Where it is.
    """

    def __init__(self, vault: Vault, session: ClientSession, settings: PlatformApiSettings) -> None:
        self._vault = vault
        self._session = session
        self._settings = settings

    @activity.defn
    async def check_platform_api(self, test: Run) -> None:
        """Proves that the vault holds the test, that the platform's API is up, and that it knows the control."""
        async with work():
            assignment = await run.read(await self._vault.open(test.run_id))
            await run.check(self._api(assignment), assignment)

    @activity.defn
    async def ask_platform_api(self, page: Page) -> PageCounts:
        """Fetches the work of a page of contributors, and hands it in where there was some."""
        async with work() as heartbeat:
            vault = await self._vault.open(page.run.run_id)
            assignment = await run.read(vault)
            return await run.ask(vault, self._api(assignment), assignment.rules, page, heartbeat)

    @activity.defn
    async def report_api_test(self, status: ApiTestStatus) -> str:
        """Writes the report into the vault; returns its name."""
        async with work():
            run_id = status.run.run_id
            return await report.write(await self._vault.open(run_id), await self._vault.archive(run_id), status)

    @property
    def all(self) -> list[AnyActivity]:
        """The activities, to be hosted by a worker."""
        return [self.check_platform_api, self.ask_platform_api, self.report_api_test]

    def _api(self, assignment: run.Assignment) -> PlatformApi:
        return PlatformApi(self._session, self._settings, assignment.rules, assignment.job)
