"""Fetches through every box of the diagram, by the command line and a worker, over a platform's own PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import secrets
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHistory

from activities.errors import CriticalError
from activities.vault import Vault
from devstack.platform import postgres
from devstack.platform.clients import connect
from devstack.platform.people import Person
from devstack.platform.plan import SMALL
from devstack.platform.seed import plan
from starter.csv_file import CsvFile, Row
from tests.bench import Bench, Finished, HasEnv, bare_environment, database, map_of, vault_of
from tests.history import texts
from workflows.fetch import FetchInactive

DAYS, PROJECTS, LIMIT = 365, 3, 5


@dataclass(frozen=True)
class Step:
    """One activity that was started.

    Args:
        name: Its type.
        summary: As the timeline shows it.
    """

    name: str
    summary: str


@dataclass(frozen=True)
class Scenario:
    """What the fetches left.

    Args:
        bench: Their surroundings.
        excluded: Whom the exclude file names.
        held: Who is under a legal hold.
        kept: A fetch with ``--vault``,
        again: the same once more, without ``--force``,
        replaced: and with it;
        taken: the first one's CSV, taken once more;
        nobody: a fetch that finds nobody,
        refused: and one whose data map does not fit.
        rows: The first one's copy as ``erase`` reads it.
        files: What lies in the folder, by name.
        modes: The files' modes.
        steps: The first one's activities, in order.
        details: What the Web UI shows of it.
        histories: Of each fetch.
        texts: All that Temporal and the worker's log keep of them.
        states: How the workflows stand.
        left: Fetches of which something is left in the vault, after the one that was kept was cancelled.
    """

    bench: Bench
    excluded: Person
    held: Person
    kept: Finished
    again: Finished
    replaced: Finished
    taken: Finished
    nobody: Finished
    refused: Finished
    rows: list[Row]
    files: dict[str, str]
    modes: set[int]
    steps: list[Step]
    details: str
    histories: dict[str, WorkflowHistory]
    texts: list[str]
    states: dict[str, str]
    left: list[str]

    def activities(self, run_id: str) -> list[str]:
        """The types of a fetch's activities, in order."""
        return [step.name for step in _steps(self.histories[run_id])]

    def expected(self, as_of: datetime) -> list[Person]:
        """Whom the diagram's filters leave, in order, without the limit."""
        people = [
            person
            for person in self.bench.platform.people
            if person.status == "INACTIVE"
            and person.last_activity_at is not None
            and person.last_activity_at < as_of - timedelta(days=DAYS)
            and person.project_count >= PROJECTS
            and person not in (self.excluded, self.held)
        ]
        return sorted(people, key=lambda person: (person.last_activity_at, person.contributor_id))


@asynccontextmanager
async def platform(stack: HasEnv, folder: Path) -> AsyncIterator[Bench]:
    """A platform of which only the PostgreSQL is there.

    Args:
        stack: The servers.
        folder: For files.
    """
    made = plan(SMALL)
    async with database(stack.env, f"test_{secrets.token_hex(6)}") as dsn:
        env = {
            **bare_environment(),
            **stack.env,
            "ERASURE_POSTGRES__DSN": dsn,
            "ERASURE_TEMPORAL__TASK_QUEUE": f"test-{secrets.token_hex(4)}",
            "ERASURE_VAULT__KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "ERASURE_CONFIG": str(folder / "erasure.toml"),
        }
        async with connect(env) as clients:
            await postgres.create(clients.postgres)
            await postgres.load(clients.postgres, made.people, made.size)
        (folder / "erasure.toml").write_text(map_of(made.names))
        yield Bench(env, made, folder / "erasure.toml", folder / "ids.csv", folder)


async def play(stack: HasEnv, folder: Path) -> Scenario:
    """Runs the fetches.

    Args:
        stack: The servers.
        folder: For files.
    """
    async with platform(stack, folder) as bench:
        inactive = [person for person in bench.platform.people if person.status == "INACTIVE" and person.worker_id]
        excluded, held = [person for person in inactive if person.project_count >= PROJECTS][:2]
        out, exclude, wrong = folder / "out", folder / "exclude.csv", folder / "wrong.toml"
        out.mkdir()
        csv = out / "ids.csv"
        exclude.write_text(f"id;name\n{excluded.contributor_id};x\nc-999999;y\n")
        wrong.write_text(bench.data_map.read_text().replace('status = "status"', 'status = "state"'))
        asked = ["--days-inactive", str(DAYS), "--min-projects", str(PROJECTS), "--max-contributors", str(LIMIT)]
        command = ["fetch", *asked, "--exclude", str(exclude), "--json"]
        await bench.starter("hold", "add", held.contributor_id, "--reason", "case 17")
        async with bench.worker() as worker:
            kept, nobody, refused = await asyncio.gather(
                bench.starter(*command, "-o", str(csv), "--vault", "--as-of", f"{datetime.now(UTC):%Y-%m-%d}"),
                bench.starter(*command, "-o", str(out / "nobody.csv"), "--status", "GONE"),
                bench.starter(*command, "-o", str(out / "refused.csv"), "--config", str(wrong)),
            )
            again, replaced, taken = await asyncio.gather(
                bench.starter(*command, "-o", str(csv)),
                bench.starter(*command, "-o", str(csv), "--force"),
                bench.starter("fetch", "--from", kept.json["run_id"], "-o", str(out / "taken.csv"), "--json"),
            )
            client = await bench.temporal()
            await client.get_workflow_handle(replaced.json["run_id"]).result()
            queue = bench.env["ERASURE_TEMPORAL__TASK_QUEUE"]
            handle = client.get_workflow_handle_for(FetchInactive.run, kept.json["run_id"])
            metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
            runs = [run async for run in client.list_workflows(f"TaskQueue = '{queue}'")]
            histories = {run.id: await client.get_workflow_handle(run.id).fetch_history() for run in runs}
            everything = [text for run in runs for text in await texts(client, run.id)]
            everything.append(worker.log.read_text())
            described = [await client.get_workflow_handle(run.id).describe() for run in runs]
            states = {run.id: run.status.name if run.status else "" for run in described}
            await handle.cancel()
            await asyncio.gather(handle.result(), return_exceptions=True)
        async with connect(bench.env) as clients:
            left = [run.id for run in runs if await _is_left(vault_of(bench.env, clients), run.id)]
        reader = CsvFile(Path(kept.json["backup"]), ".+")
        reader.inspect()
        return Scenario(
            bench,
            excluded,
            held,
            kept,
            again,
            replaced,
            taken,
            nobody,
            refused,
            list(reader.rows()),
            {path.name: path.read_bytes().decode() for path in out.iterdir()},
            {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()},
            _steps(histories[kept.json["run_id"]]),
            metadata.current_details,
            histories,
            everything,
            states,
            left,
        )


async def _is_left(vault: Vault, run_id: str) -> bool:
    try:
        await vault.prove_shredded(run_id)
    except CriticalError:
        return True
    return False


def _steps(history: WorkflowHistory) -> list[Step]:
    return [
        Step(
            event.activity_task_scheduled_event_attributes.activity_type.name,
            event.user_metadata.summary.data.decode().strip('"'),
        )
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
