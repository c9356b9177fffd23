"""What the scan of Temporal finds in histories, on the real server: each test has a task queue of its own."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import temporal
from activities.errors import CriticalError
from activities.messages import Depth
from activities.settings import TemporalSettings
from activities.verification.contract import Scan, Scope
from activities.verification.scanners.temporal.scanner import CHILDREN, NAMING, OTHERS, OWN, TemporalScanner
from tests.bench import HasEnv
from tests.verification.residuals import uncertain
from tests.verification.scans import NEIGHBOURS, assert_shows_nobody, found, not_proven, scan


@workflow.defn
class Story:
    """Tells somebody's identity wherever a workflow can."""

    @workflow.run
    async def run(self, told: dict[str, Any]) -> str:
        if "again" in told:
            workflow.continue_as_new({"plain": told["again"]})
        if "details" in told:
            workflow.set_current_details(told["details"])
        if "child" in told:
            await workflow.execute_child_workflow(Story.run, {"plain": told["child"]}, id=f"{told['id']}-child")
        if "summary" in told:
            await workflow.sleep(timedelta(milliseconds=1), summary=told["summary"])
        if "memo" in told:
            workflow.upsert_memo({"note": told["memo"]})
        if "fails" in told:
            await workflow.execute_activity(
                fails,
                told["fails"],
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        return "done"


@activity.defn
def fails(what: str) -> None:
    raise ApplicationError(f"row ({what}, 1) is a duplicate", what)


@dataclass(frozen=True)
class Desk:
    """A task queue with a worker.

    Args:
        client: Temporal.
        queue: The queue.
    """

    client: Client
    queue: str

    @property
    def batch(self) -> str:
        return f"batch-{self.queue}"

    async def tell(self, workflow_id: str | None = None, **told: Any) -> None:
        memo = told.pop("described", None)
        name = workflow_id or self.batch
        handle = await self.client.start_workflow(
            Story.run, {"id": name, **told}, id=name, task_queue=self.queue, memo={"who": memo} if memo else None
        )
        try:
            await handle.result()
        except WorkflowFailureError:
            assert "fails" in told

    async def scan(self, depth: Depth, client: Client | None = None, batch: str | None = None) -> Scan:
        return await scan("temporal", TemporalScanner(client or self.client), Scope(depth, [batch or self.batch]))


@pytest.fixture
async def desk(stack: HasEnv) -> AsyncIterator[Desk]:
    client = await temporal.connect(TemporalSettings(address=stack.env["ERASURE_TEMPORAL__ADDRESS"]))
    async with at_work(client) as made:
        yield made


class at_work:  # noqa: N801 - read as a verb
    """A worker on a queue of its own."""

    def __init__(self, client: Client) -> None:
        self._desk = Desk(client, f"scan-{secrets.token_hex(6)}")
        self._threads = ThreadPoolExecutor(2)
        self._worker = Worker(
            client,
            task_queue=self._desk.queue,
            workflows=[Story],
            activities=[fails],
            activity_executor=self._threads,
            workflow_runner=UnsandboxedWorkflowRunner(),  # a story of this test, not the product's
        )

    async def __aenter__(self) -> Desk:
        await self._worker.__aenter__()
        return self._desk

    async def __aexit__(self, *error: Any) -> None:
        await self._worker.__aexit__(*error)
        self._threads.shutdown()


async def test_identities_are_found_wherever_a_history_may_tell_them(desk: Desk) -> None:
    await desk.tell(
        again="c-1",
        nested={"worker_id": "12", "n": 12, "text": '{"mail": "BOB@x.io"}'},
        described="ann.lee@x.io",
    )
    await desk.tell(fails="w-471100", summary="bob@x.io", memo="c-1", details="x", child="c-1", n=list(NEIGHBOURS))
    result = await desk.scan("catalogue")
    assert found(result) == {
        f"{OWN}: workflow_execution_started input": {"email": 2, "contributor_id": 3, "worker_id": 1},
        f"{OWN}: workflow_execution_started memo": {"email": 2},
        f"{OWN}: workflow_execution_continued_as_new input": {"contributor_id": 1},
        f"{OWN}: workflow_execution_continued_as_new memo": {"email": 1},
        f"{OWN}: description workflow_execution_info": {"email": 2, "contributor_id": 1},
        f"{OWN}: timer_started user_metadata": {"email": 1},
        f"{OWN}: workflow_properties_modified upserted_memo": {"contributor_id": 1},
        f"{OWN}: start_child_workflow_execution_initiated input": {"contributor_id": 1},
        f"{OWN}: activity_task_scheduled input": {"worker_id": 1},
        f"{OWN}: activity_task_failed failure": {"worker_id": 1},
        f"{OWN}: workflow_execution_failed failure": {"worker_id": 1},
        f"{CHILDREN}: workflow_execution_started input": {"contributor_id": 1},
    }
    assert f"{OWN}: workflow_execution_started input" in uncertain(result), "a number may be a count"
    assert_shows_nobody(result)


async def test_other_workflows_are_read_where_they_name_the_batch_or_at_depth_deep(desk: Desk) -> None:
    await desk.tell()
    await desk.tell(f"verify-{desk.batch}", plain="bob@x.io")
    await desk.tell(f"other-{secrets.token_hex(6)}", plain="c-1")
    mapped = await desk.scan("mapped")
    assert (mapped.residuals, mapped.proven) == ([], [OWN])
    assert NAMING in not_proven(mapped)
    result = await desk.scan("catalogue")
    assert found(result) == {f"{NAMING}: workflow_execution_started input": {"email": 1}}
    assert OTHERS in not_proven(result)
    assert result.proven == [OWN]
    deep = await desk.scan("deep")
    assert found(deep) == {
        f"{NAMING}: workflow_execution_started input": {"email": 1},
        f"{OTHERS}: workflow_execution_started input": {"contributor_id": 1},
    }
    with pytest.raises(CriticalError, match="no place within the scope"):
        await desk.scan("catalogue", batch="batch-unheard-of")


class Reversing(PayloadCodec):
    """Hides what a payload says."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/reversed"}, data=payload.SerializeToString()[::-1])
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(payload.data[::-1]) for payload in payloads]


async def test_encoded_payloads_are_read_with_their_codec_and_not_proven_without(stack: HasEnv) -> None:
    plain = await temporal.connect(TemporalSettings(address=stack.env["ERASURE_TEMPORAL__ADDRESS"]))
    config = plain.config()
    converter = dataclasses.replace(
        DataConverter.default,
        payload_codec=Reversing(),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
    config["data_converter"] = converter
    async with at_work(Client(**config)) as desk:
        await desk.tell(fails="bob@x.io")
        with_codec = found(await desk.scan("catalogue"))
        without = await desk.scan("catalogue", plain)
    assert with_codec[f"{OWN}: workflow_execution_started input"] == {"email": 1}
    assert with_codec[f"{OWN}: activity_task_failed failure"] == {"email": 1}
    assert found(without).keys() <= {
        f"{OWN}: activity_task_failed failure",
        f"{OWN}: workflow_execution_failed failure",
    }
    (hidden,) = [what for what in not_proven(without)[OWN] if "encrypted" in what]
    assert int(hidden.rpartition(" ")[2]) >= 5
    assert without.proven == []
