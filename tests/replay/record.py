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

from temporalio.client import WorkflowFailureError, WorkflowHistory

from devstack.platform.plan import SMALL
from devstack.platform_api import PlatformApi, job_url
from tests.bench import Bench, bench
from tests.conftest import Elsewhere

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
    asyncio.run(record(servers, sys.argv[2:] or NAMES))
    asyncio.run(record_api_test(servers))
