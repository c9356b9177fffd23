"""A platform whose people are checked, previewed, refused and then erased: what the diagram's tests look at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from devstack.platform.clients import connect
from starter.exit_codes import ExitCode
from tests import contents
from tests.bench import Bench, Finished
from tests.contents import Contents


@dataclass(frozen=True)
class Scenario:
    """What the commands left behind, in their order.

    Args:
        bench: What they ran with.
        bad_csv: A dry run of a file with a bad line, and of a data map that is none.
        bad_map: A dry run of the good file, with a data map that is none.
        before: What the stores held at first.
        dry: A dry run.
        after_dry: What they held then.
        in_vault: What the vault kept of the dry run.
        refused: An erasure of more people than the policy allows.
        after_refused: What they held then.
        erased: An erasure.
        again: The checks of the same people after it.
        steps: The activities of dry run, refused batch and erased batch, each in order.
    """

    bench: Bench
    bad_csv: Finished
    bad_map: Finished
    before: Contents
    dry: Finished
    after_dry: Contents
    in_vault: list[str]
    refused: Finished
    after_refused: Contents
    erased: Finished
    again: Finished
    steps: dict[str, list[str]]

    def checks(self) -> dict[str, Any]:
        """The dry run's checks, by name."""
        return {check["name"]: check for check in self.dry.json["checks"]}


async def play(bench: Bench) -> Scenario:
    """Runs them all.

    Args:
        bench: A platform of its own.
    """
    bad_csv, bad_map = bench.folder / "bad.csv", bench.folder / "bad.toml"
    bad_csv.write_text("contributor_id\n12\nno good id\n")
    bad_map.write_text(bench.data_map.read_text().replace("[redis]", "[reddis]"))

    async def held() -> Contents:
        return await contents.read(bench.env, bench.platform.names)

    before = await held()
    bench.change_map("after_batch = false", "after_batch = true")
    async with bench.worker():
        dry, bad_line, bad_key = await asyncio.gather(
            bench.erase("--dry-run"),
            bench.starter("erase", str(bad_csv), "--config", str(bad_map.with_name("erasure.toml")), "--dry-run"),
            bench.starter("erase", str(bench.csv), "--config", str(bad_map), "--dry-run"),
        )
        assert dry.code == ExitCode.ERASED, dry.stdout + dry.stderr
        after_dry = await held()
        bench.change_map("after_batch = true", "after_batch = false")
        bench.change_map("# max_contributors = 10000", "max_contributors = 3")
        refused = await bench.erase()
        refused_steps = await _steps(bench, refused.json["batch_id"])
        after_refused = await held()
        bench.change_map("max_contributors = 3", "# max_contributors = 10000")
        erased = await bench.erase()
        again = await bench.starter("check", str(bench.csv), "--config", str(bench.data_map), "--json")
    dry_id, batch_id = dry.json["batch_id"], erased.json["batch_id"]
    steps = {
        "dry": await _steps(bench, dry_id),
        "refused": refused_steps,
        "erased": await _steps(bench, batch_id),
    }
    in_vault = await _in_vault(bench, dry_id)
    return Scenario(
        bench, bad_line, bad_key, before, dry, after_dry, in_vault, refused, after_refused, erased, again, steps
    )


async def _steps(bench: Bench, workflow_id: str) -> list[str]:
    """The activities of a workflow's latest run, in the order in which they were started."""
    history = await (await bench.temporal()).get_workflow_handle(workflow_id).fetch_history()
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


async def _in_vault(bench: Bench, batch_id: str) -> list[str]:
    """Every version of every object of a batch in the vault."""
    bucket = bench.env["ERASURE_VAULT__BUCKET"]
    async with connect(bench.env) as clients:
        pages = [
            await clients.s3.list_object_versions(Bucket=bucket, Prefix=f"{folder}/{batch_id}/")
            for folder in ("batches", "archive")
        ]
    return [each["Key"] for page in pages for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
