"""``python -m tests.replay.record .stack/env [NAME...]``: records what `test_replay` replays, on real servers.

Run it when the workflow was changed on purpose, and no batch of the older version can be running anywhere; for a new
history beside the older ones, name it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory

from activities.fetching.messages import FetchStage, FetchStatus
from devstack.platform.clients import connect
from devstack.platform.plan import SMALL
from devstack.platform_api import PlatformApi, job_url
from tests.bench import Bench, bench
from tests.conftest import Elsewhere
from workflows.fetch import FetchInactive

HISTORIES = Path(__file__).parent / "histories"

NAMES = ("erased", "refused", "warned", "rolled-back", "shredded", "certified")
"""Ways in which a batch ends. `certified` is shredded as well, by a workflow that also issues certificates."""

OF_A_MACHINE = {"identity", "stackTrace", "workerVersion", "binaryChecksum"}
"""Fields that name a host, a process or a path; a replay needs none of them."""


async def record(stack: Elsewhere, names: Sequence[str]) -> None:
    """Records one history for each way in which a batch ends.

    Args:
        stack: The servers.
        names: Of `NAMES`.
    """
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            async with bench(stack, Path(folder), SMALL) as made:
                _prepare(made, name)
                async with made.worker():
                    batch_id = (await made.erase()).json["batch_id"]
                    handle = (await made.temporal()).get_workflow_handle(batch_id)
                    if name == "rolled-back":
                        await made.starter("rollback", batch_id)
                    if name in ("rolled-back", "shredded", "certified"):
                        await made.starter("shred", batch_id)
                        with contextlib.suppress(WorkflowFailureError):  # a rolled back batch ends as failed
                            await handle.result()
                _write(name, await handle.fetch_history())


async def record_api_test(stack: Elsewhere) -> None:
    """Records the history of an API test."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(stack, Path(folder), SMALL) as made:
            server = PlatformApi(Path(folder, "api"), made.env, made.platform.names, tied=True)
            await asyncio.to_thread(server.start)
            made.env |= {**server.env, "ERASURE_CONFIG": str(made.data_map)}
            async with made.worker():
                command = ("api-test", job_url("https://platform.example"), str(made.csv), "--json")
                run_id = (await made.starter(*command)).json["run_id"]
                _write("api-test", await (await made.temporal()).get_workflow_handle(run_id).fetch_history())
            server.stop()


async def record_fetch(stack: Elsewhere) -> None:
    """Records the history of a fetch that is kept in the vault and handed over, and then taken."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(stack, Path(folder), SMALL) as made:
            made.env |= {"ERASURE_CONFIG": str(made.data_map)}
            asked = ("--days-inactive", "365", "--min-projects", "1", "--max-contributors", "4")
            async with made.worker():
                await made.starter("fetch", *asked, "--schedule", "0 2 29 2 *", "--erase", "--vault")
                client = await made.temporal()
                queue = made.env["ERASURE_TEMPORAL__TASK_QUEUE"]
                await client.get_schedule_handle(f"fetch-{queue}").trigger()
                handle = await _ready(client, queue)
                await made.starter("fetch", "--from", handle.id, "-o", str(made.folder / "fetched.csv"))
                await handle.cancel()
                with contextlib.suppress(WorkflowFailureError):
                    await handle.result()
                await made.starter("fetch", "--unschedule")
                _write("fetch", await handle.fetch_history())


async def _ready(client: Client, queue: str) -> WorkflowHandle[FetchInactive, FetchStatus]:
    """The fetch that a queue's schedule started, once its CSV can be taken."""
    while True:
        async for run in client.list_workflows(f"TaskQueue = '{queue}' AND WorkflowType = 'FetchInactive'"):
            handle = client.get_workflow_handle_for(FetchInactive.run, run.id)
            if (await handle.query(FetchInactive.status)).stage is FetchStage.READY:
                return handle
        await asyncio.sleep(0.1)


async def record_sweep(stack: Elsewhere) -> None:
    """Records the history of a sweep that finds somebody in one store, and has them erased."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(stack, Path(folder), SMALL) as made, made.worker(), connect(made.env) as clients:
            await made.erase()
            person = next(each for each in made.platform.sample if each.worker_id)
            document = {"worker_id": person.worker_id}
            await clients.elasticsearch.index(index=made.platform.names.indices[0], document=document, refresh=True)
            await made.starter("sweep", "--config", str(made.data_map), "--operator", "dana")
            temporal, queue = await made.temporal(), made.env["ERASURE_TEMPORAL__TASK_QUEUE"]
            query = f"WorkflowType = 'SweepErased' AND TaskQueue = '{queue}'"
            (sweep,) = [each.id async for each in temporal.list_workflows(query)]
            _write("swept", await temporal.get_workflow_handle(sweep).fetch_history())


async def record_dry_run(stack: Elsewhere) -> None:
    """Records the history of a dry run."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(stack, Path(folder), SMALL) as made, made.worker():
            batch_id = (await made.erase("--dry-run")).json["batch_id"]
            _write("dry-run", await (await made.temporal()).get_workflow_handle(batch_id).fetch_history())


async def record_verified(stack: Elsewhere) -> None:
    """Records the histories of a batch with a canary before it and a verification after it, and of these two."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(stack, Path(folder), SMALL) as made, made.worker():
            made.change_map("after_batch = false", "after_batch = true")
            own = made.platform.names.database[-8:]
            canary = f'[canary]\ncontributor_id = "c-canary-{own}"\nemails = ["canary-{own}@example.invalid"]\n'
            made.change_map("[policy]\n", f"{canary}\n[policy]\n")
            batch_id = (await made.erase()).json["batch_id"]
            await made.starter("shred", batch_id)
            client, queue = await made.temporal(), made.env["ERASURE_TEMPORAL__TASK_QUEUE"]
            batch = client.get_workflow_handle(batch_id)
            await batch.result()
            _write("verified", await batch.fetch_history())
            for name, kind in (("verification", "VerifyErasure"), ("canary", "EraseCanary")):
                runs = client.list_workflows(f"WorkflowType = '{kind}' AND TaskQueue = '{queue}'")
                first, *_ = [run.id async for run in runs]
                _write(name, await client.get_workflow_handle(first).fetch_history())


def _write(name: str, history: WorkflowHistory) -> None:
    text = json.dumps(_clean(history.to_json_dict()), separators=(",", ":"), sort_keys=True)
    (HISTORIES / f"{name}.json").write_text(text + "\n")


def _prepare(made: Bench, name: str) -> None:
    if name == "refused":
        made.change_map('by = "actor_worker_id"', 'by = "actor"')
    if name == "warned":
        more = '[clickhouse."nothing_here*"]\nemail = "email"\n\n'
        made.change_map('[clickhouse."unit_metrics*"]', more + '[clickhouse."unit_metrics*"]')


def _clean(value: Any) -> Any:
    match value:
        case dict():
            return {key: _clean(entry) for key, entry in value.items() if key not in OF_A_MACHINE}
        case list():
            return [_clean(entry) for entry in value]
        case str():
            return re.sub(r"erasure@[\w.-]+", "erasure@worker", value)
    return value


if __name__ == "__main__":
    servers = Elsewhere.named(Path(sys.argv[1]))
    others = {"api-test": record_api_test, "fetch": record_fetch, "swept": record_sweep, "dry-run": record_dry_run}
    others |= {"verified": record_verified}
    wanted = sys.argv[2:] or [*NAMES, *others]
    asyncio.run(record(servers, [name for name in wanted if name in NAMES]))
    for other in [name for name in wanted if name in others]:
        asyncio.run(others[other](servers))
