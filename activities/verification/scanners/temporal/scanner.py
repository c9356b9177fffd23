"""The scanner of Temporal: the workflows of a batch are its places, and what names the batch beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.service import RPCError, RPCStatusCode

from activities.contract import Finding, Heartbeat
from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.evidence import Evidence, Found
from activities.verification.needles import Needles
from activities.verification.scanners.temporal import texts
from activities.verification.scanners.temporal.texts import Sealed, Text

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from temporalio.client import Client, WorkflowExecution

OWN = "histories of the batch"
CHILDREN = "histories of its children"
NAMING = "other histories that name the batch"
OTHERS = "other histories of its task queue"
CANARY = "the batch's own id"
"""The places: a workflow's id may be anybody's, and is not shown."""

AGAIN = "Verify again."
_LOST = "histories that are not kept any more"
_PASSING = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.CANCELLED,
)


class TemporalScanner:
    """Reads histories: see `activities.verification.contract.Scanner`.

    The scope's mapped places are the ids of the batch's workflows. Nothing can be planted in a history; what is bound
    to stand there is the workflow's own id: it is read as if it were the canary.

    Args:
        client: Temporal, with the codec that the payloads were encoded by, if any.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._canary = ""

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists which histories there are."""
        with translated("temporal", _translate):
            info = await self._client.workflow_service.get_system_info(GetSystemInfoRequest())
            catalogue = Catalogue(f"Temporal {info.server_version}")
            counts: dict[str, tuple[int, int]] = {}
            for place in self._places(scope):
                async for execution in self._executions(place, scope):
                    events, size = counts.get(place, (0, 0))
                    listed = execution.raw_info
                    counts[place] = events + listed.history_length, size + listed.history_size_bytes
            catalogue.places.extend(
                Place(place, events, size) for place, (events, size) in counts.items() if place != OTHERS
            )
            others = counts.get(OTHERS)
            if others and scope.depth == "deep":
                catalogue.places.append(Place(OTHERS, others[0], others[1]))
            elif others:
                what = f"are read at depth deep only: {others[0]:,} events"
                catalogue.not_proven.append(Finding(OTHERS, what, "Verify at depth deep to read them too."))
            if scope.depth == "mapped":
                what = "children, and other workflows that name the batch, are not looked for at depth mapped"
                catalogue.not_proven.append(Finding(NAMING, what, "Verify at depth catalogue to read them too."))
            if OWN not in counts:
                what = "none is kept, so that nobody can say what stood in them"
                catalogue.not_proven.append(Finding(OWN, what, "Verify before Temporal's retention ends."))
            elif self._canary:
                catalogue.places.append(Place(CANARY, 1, 0))
        return catalogue

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads the histories of one place."""
        evidence = Evidence(needles, but_planted=place.name != CANARY)  # the batch's id stands in all that is its own
        with translated("temporal", _translate):
            source = OWN if place.name == CANARY else place.name
            async for execution in self._executions(source, scope):
                await self._read(execution, place.name, evidence, heartbeat)
        return evidence.reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Takes the id of the batch for the canary: it was planted when the batch began."""
        self._canary = value
        try:
            yield CANARY
        finally:
            self._canary = ""

    def _places(self, scope: Scope) -> Sequence[str]:
        return (OWN,) if scope.depth == "mapped" else (OWN, CHILDREN, NAMING, OTHERS)

    async def _executions(self, place: str, scope: Scope) -> AsyncIterator[WorkflowExecution]:
        """Yields the runs that make up a place."""
        if place == OWN:
            for workflow_id in dict.fromkeys(scope.mapped):
                async for execution in self._runs(workflow_id):
                    yield execution
        elif place == CHILDREN:
            for workflow_id in dict.fromkeys(scope.mapped):
                async for execution in self._client.list_workflows(f"RootWorkflowId = {_quoted(workflow_id)}"):
                    if execution.id not in scope.mapped:
                        yield execution
        else:
            for queue in await self._queues(scope):
                async for execution in self._client.list_workflows(f"TaskQueue = {_quoted(queue)}"):
                    if execution.id in scope.mapped or execution.root_id in scope.mapped:
                        continue
                    if _names(execution, scope.mapped) is (place == NAMING):
                        yield execution

    async def _runs(self, workflow_id: str) -> AsyncIterator[WorkflowExecution]:
        """Yields every run of a workflow, also the latest one, which the list may not show yet."""
        seen: set[str] = set()
        async for execution in self._client.list_workflows(f"WorkflowId = {_quoted(workflow_id)}"):
            seen.add(execution.run_id)
            yield execution
        try:
            latest = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            if latest.run_id not in seen:
                yield latest

    async def _queues(self, scope: Scope) -> list[str]:
        """The task queues of the batch's workflows."""
        return list({execution.task_queue: None async for execution in self._executions(OWN, scope)})

    async def _read(self, execution: WorkflowExecution, place: str, evidence: Evidence, heartbeat: Heartbeat) -> None:
        """Reads one run: its description, then its events."""
        handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
        try:
            description = (await handle.describe()).raw_description
            await self._search("description", description, place, execution.id, evidence)
            count = 0
            async for event in handle.fetch_history_events():
                kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
                await self._search(kind, event, place, execution.id, evidence)
                count += 1
                heartbeat(place, evidence.records)
                if place == CANARY:
                    return
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            evidence.miss(place, _LOST, "Verify before Temporal's retention ends.")
            return
        if count < description.workflow_execution_info.history_length:
            evidence.miss(place, "histories of which fewer events came than there are", AGAIN)

    async def _search(self, kind: str, message: Message, place: str, workflow_id: str, evidence: Evidence) -> None:
        """Searches an event, or a description: one record."""
        found: Found = {}
        stand: list[Text] = []
        for part in texts.parts(message):
            if isinstance(part, Sealed):
                stand += await self._opened(part, place, evidence)
            else:
                stand.append(part)
        places = [f"{place}: {kind} {each.field}" for each in stand]
        said = [each.text for each in stand]
        if place == CANARY:
            said = [text.replace(workflow_id, self._canary) for text in said]
        for _, holds in evidence.found(said, places, [each.name for each in stand]):
            found.update(holds)
        evidence.records += 1
        evidence.bytes += message.ByteSize()
        evidence.add(evidence.records, found)

    async def _opened(self, part: Sealed, place: str, evidence: Evidence) -> list[Text]:
        """The texts of a payload; notes one that nobody can read."""
        payload: Payload | None = part.payload
        codec = self._client.data_converter.payload_codec
        if codec is not None:
            try:
                (payload,) = await codec.decode([part.payload])
            except Exception:  # a codec is anybody's code, and its errors may quote what it decodes
                payload = None
        if payload is None or (texts.encoding(payload) not in texts.ENCODINGS and payload.data):
            what = "payloads that are encrypted, or encoded in a way that is not known"
            evidence.miss(place, what, "Give the worker the codec that they were encoded by.")
            return []
        return list(texts.decoded(part.field, payload))


def _names(execution: WorkflowExecution, batch: Sequence[str]) -> bool:
    """Whether a workflow's id, memo or search attributes name the batch."""
    listed = execution.raw_info
    told = [execution.id.encode()]
    told += [
        payload.data for payload in (*listed.memo.fields.values(), *listed.search_attributes.indexed_fields.values())
    ]
    return any(workflow_id.encode() in each for workflow_id in batch for each in told)


def _quoted(value: str) -> str:
    """A text in a list filter."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _translate(error: Exception) -> ErasureError | None:
    if not isinstance(error, RPCError):
        return None
    if error.status in _PASSING:
        return TransientError("temporal", f"does not answer ({error.status.name})", "It is tried again.")
    remedy = "Check the rights of ERASURE_TEMPORAL__API_KEY, and that the server has visibility."
    return CriticalError("temporal", f"refuses to show its histories ({error.status.name})", remedy)
