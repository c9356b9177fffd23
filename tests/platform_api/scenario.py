"""One API test as an operator runs it, and everything that it left behind: what the diagram's tests look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.platform.people import Person
from devstack.platform.postgres import FIRST_JOB
from tests.bench import Bench, Finished
from tests.history import texts
from tests.platform_api.desk import Desk

NOBODY = "c-99999"
"""An id that the platform does not know."""

REFUSES = """
CREATE FUNCTION {0}.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE check_violation USING MESSAGE = 'this work is not wanted'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON {0}.job_mappings FOR EACH ROW
    WHEN (NEW.state = 'submitted' AND NEW.contributor_id = '{1}') EXECUTE FUNCTION {0}.refuse()
"""
"""The platform's database takes nobody's work who is named."""


@dataclass(frozen=True)
class Step:
    """One activity of the workflow: its type, and the number of the page that it asked for."""

    name: str
    page: int | None


@dataclass(frozen=True)
class Scenario:
    """What an API test left behind.

    Args:
        bench: What it ran with.
        people: Who stands in the CSV, by line: two who work, one who is unknown, one in no job, one who is refused.
        finished: The command.
        rows: The report's rows, by line.
        documents: The report's files, by their kind.
        log: The worker's log about people, by line.
        all_logs: All that the worker logged.
        steps: The workflow's activities, in order.
        kept: All texts that Temporal keeps of it.
        states: The platform's own table: state and commit key of the latest work of each line.
        closed: How Temporal says that the workflow ended.
        bad_url: The same command with a URL that is none, and a CSV that is none.
        bad_csv: The same command with a CSV that is none.
    """

    bench: Bench
    people: dict[int, str]
    finished: Finished
    rows: dict[int, dict[str, str]]
    documents: dict[str, str]
    log: dict[int, dict[str, Any]]
    all_logs: str
    steps: list[Step]
    kept: list[str]
    states: dict[int, tuple[str, str | None] | None]
    closed: str
    bad_url: Finished
    bad_csv: Finished

    @property
    def report(self) -> Mapping[str, Any]:
        """The report as JSON."""
        found: Mapping[str, Any] = self.finished.json
        return found

    @property
    def persons(self) -> list[Person]:
        """The people of the CSV whom the platform knows."""
        wanted = set(self.people.values())
        return [person for person in self.bench.platform.people if person.contributor_id in wanted]


async def play(platform: Desk, folder: Path) -> Scenario:
    """Runs an API test that goes through every box of the diagram.

    Args:
        platform: The platform.
        folder: For files.
    """
    first, second, refused = platform.workers[3:6]
    ids = [
        first.contributor_id,
        NOBODY,
        platform.outsider.contributor_id,
        refused.contributor_id,
        second.contributor_id,
    ]
    bench = platform.bench(folder, [*ids, ids[0]])
    people = dict(enumerate(ids, 2))
    schema = (await platform.sql("SELECT '{}'"))[0][0]
    await platform.sql("DO $do$ BEGIN " + REFUSES.format(schema, refused.contributor_id) + "; END $do$")
    out, none = str(folder / "out"), str(folder / "there-is-none.csv")
    wrong_url = f"https://platform.example/units?secret={platform.secret}"
    async with bench.worker() as worker:
        finished, bad_url, bad_csv = await asyncio.gather(
            bench.starter("api-test", platform.job_url, str(bench.csv), "--json", "-o", out),
            bench.starter("api-test", wrong_url, none),
            bench.starter("api-test", platform.job_url, none),
        )
    await platform.sql("DROP FUNCTION {}.refuse CASCADE")
    all_logs = worker.log.read_text()
    entries = [json.loads(line) for line in all_logs.splitlines()]
    documents = {path.suffix[1:]: path.read_text() for path in (folder / "out").iterdir()}
    run_id = finished.json["run_id"]
    client = await bench.temporal()
    description = await client.get_workflow_handle(run_id).describe()
    return Scenario(
        bench,
        people,
        finished,
        _rows(documents["csv"]),
        documents,
        {entry["line"]: entry for entry in entries if "line" in entry},
        all_logs,
        [
            Step(event.activity_task_scheduled_event_attributes.activity_type.name, _page(event))
            for event in (await client.get_workflow_handle(run_id).fetch_history()).events
            if event.HasField("activity_task_scheduled_event_attributes")
        ],
        await texts(client, run_id),
        {line: await _state(platform, contributor_id) for line, contributor_id in people.items()},
        description.status.name if description.status else "",
        bad_url,
        bad_csv,
    )


def _rows(text: str) -> dict[int, dict[str, str]]:
    header, *rows = [line.split(",") for line in text.splitlines()]
    return {int(row[0]): dict(zip(header, row, strict=True)) for row in rows}


def _page(event: Any) -> int | None:
    payload = json.loads(event.activity_task_scheduled_event_attributes.input.payloads[0].data)
    number: int | None = payload.get("number")
    return number


async def _state(platform: Desk, contributor_id: str) -> tuple[str, str | None] | None:
    query = (
        "SELECT state, commit_key FROM {}.job_mappings WHERE contributor_id = $1 AND job_id = $2 ORDER BY id LIMIT 1"
    )
    rows = await platform.sql(query, contributor_id, FIRST_JOB)
    return (rows[0]["state"], rows[0]["commit_key"]) if rows else None
