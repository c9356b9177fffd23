"""Temporal: the server with its namespace, and workers on every task queue of a batch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.contract import outdated
from activities.errors import CriticalError, ErasureError, TransientError
from activities.settings import TemporalSettings, load
from activities.setup.contract import Result, State
from activities.temporal import UnreachableError, connect, idle_queues

PLACE = "temporal"

OLDEST = "1.24"
"""From then on a submission can say what becomes of a batch that runs already."""


class TemporalCheck:
    """The server: its version, its namespace, and the rights of whoever calls."""

    name = PLACE

    async def run(self) -> Result:
        """Describes the namespace, lists in it, and signals a workflow that nobody has."""
        settings = load(TemporalSettings)
        client = await _connected(settings)
        try:
            service = client.workflow_service
            version = (await service.get_system_info(GetSystemInfoRequest())).server_version
            await service.describe_namespace(DescribeNamespaceRequest(namespace=settings.namespace))
            async for _ in client.list_workflows(limit=1):
                pass
            await _signal_nobody(client)
        except RPCError as error:
            raise _refused(error, settings) from None
        findings = list(outdated(PLACE, version, OLDEST))
        return Result(State.FAILED if findings else State.OK, version, findings)


class WorkersCheck:
    """The workers: every task queue of a batch has one.

    Args:
        stores: The stores of a batch.
    """

    name = "workers"

    def __init__(self, stores: Sequence[str]) -> None:
        self._stores = stores

    async def run(self) -> Result:
        """Asks who polls."""
        settings = load(TemporalSettings)
        client = await _connected(settings)
        try:
            idle = await idle_queues(client, settings, self._stores)
        except RPCError as error:
            raise _refused(error, settings) from None
        if not idle:
            return Result(State.OK, f"{1 + len(self._stores)} task queues")
        raise TransientError(self.name, f"no worker polls {', '.join(idle)}", "Start one: python -m worker.")


async def _connected(settings: TemporalSettings) -> Client:
    try:
        return await connect(settings)
    except UnreachableError as error:
        raise TransientError(PLACE, error.what, error.remedy) from None


async def _signal_nobody(client: Client) -> None:
    """Tries the right to write: whoever lacks it is refused before anybody looks for the workflow."""
    try:
        await client.get_workflow_handle(f"erasure-check-{secrets.token_hex(8)}").signal("nothing")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


def _refused(error: RPCError, settings: TemporalSettings) -> ErasureError:
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            what = f"there is no namespace {settings.namespace}"
            remedy = f"Correct ERASURE_TEMPORAL__NAMESPACE, or: temporal operator namespace create {settings.namespace}"
            return CriticalError(PLACE, what, f"{remedy}.")
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            what = f"the caller is refused ({error.status.name})"
            return CriticalError(PLACE, what, "Check ERASURE_TEMPORAL__API_KEY, its role, and the namespace.")
        case RPCStatusCode.UNIMPLEMENTED:
            return CriticalError(PLACE, "what answers is not Temporal", "Check ERASURE_TEMPORAL__ADDRESS.")
    return TransientError(PLACE, f"it answers {error.status.name}", "Look at its log; try again.")
