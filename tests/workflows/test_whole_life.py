"""One operator's day, with every command: set up, find, check, try, ask, erase, ask again, verify, report."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from devstack.platform_api import PlatformApi, job_url
from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished
from tests.contents import differences, read


async def test_from_an_environment_that_is_set_up_to_an_erasure_that_is_verified(bench: Bench) -> None:
    bench.change_map("after_batch = false", "after_batch = true")
    server = PlatformApi(bench.folder / "api", bench.env, bench.platform.names, tied=True)
    server.spawn()
    job = job_url("https://platform.example")
    ids, reports = bench.folder / "inactive.csv", bench.folder / "reports"
    working = [person for person in bench.platform.people if person.worker_id and person not in bench.platform.sample]
    bench.env |= {**server.env, "ERASURE_CONFIG": str(bench.data_map), "ERASURE_OPERATOR": "dana"}
    bench.env |= {"ERASURE_API__JOB_URL": job, "ERASURE_API__CONTROL": working[0].contributor_id}

    async def run(*command: str) -> Finished:
        return await bench.starter(*command)

    try:
        await asyncio.to_thread(server.wait)
        async with bench.worker():
            setup = await run("setup", "--json")
            found = await run(
                *("fetch", "-o", str(ids), "--days-inactive", "30", "--min-projects", "0", "--max-contributors", "8"),
                *("--status", "INACTIVE", "--json"),
            )
            _leave_out(ids, working[0].contributor_id)
            checked = await run("check", str(ids), "--json")
            untouched = await read(bench.env, bench.platform.names)
            tried = await run("erase", str(ids), "--dry-run", "--json")
            assert differences(untouched, await read(bench.env, bench.platform.names)) == [], "a dry run writes nothing"
            before = await run("api-test", job, str(ids), "--json")
            erased = await run("erase", str(ids), "--json")
            after = await run(
                "api-test", job, str(ids), "--expect", "erased", "--control", working[0].contributor_id, "--json"
            )
            batch_id = erased.json["batch_id"]
            verified = await run("verify", batch_id, "--json")
            await run("report", batch_id, "-o", str(reports))
    finally:
        server.stop()
    people = len(ids.read_text().splitlines()) - 1
    assert setup.code in (ExitCode.ERASED, ExitCode.WARNED), setup.stdout
    assert (found.code, people > 0) == (ExitCode.ERASED, True), found.stderr
    assert checked.code in (ExitCode.ERASED, ExitCode.WARNED), checked.stdout
    assert tried.code in (ExitCode.ERASED, ExitCode.WARNED), tried.stdout
    assert before.json["fetches"].get("OK", 0) > 0, "work is given"
    assert "SYSTEM_ERROR" not in before.json["fetches"]
    assert erased.code == ExitCode.ERASED, erased.stdout + erased.stderr
    assert erased.json["verification"]["residuals"] == {}
    assert (after.code, after.json["fetches"]) == (ExitCode.ERASED, {"SYSTEM_ERROR": people}), after.stdout
    assert verified.code in (ExitCode.ERASED, ExitCode.WARNED), verified.stdout
    assert verified.json["residuals"] == {}
    assert (verified.json["access"]["refused"], verified.json["access"]["known"]) == (people, 0)
    assert {path.suffix for path in reports.iterdir()} == {".html", ".md", ".json"}
    foreseen: dict[str, Any] = json.loads(tried.stdout)
    assert foreseen["contributors"] == people


def _leave_out(csv: Any, contributor_id: str) -> None:
    """Takes the one who stays out of a CSV."""
    lines = [line for line in csv.read_text().splitlines() if not line.startswith(f"{contributor_id},")]
    csv.write_text("\n".join(lines) + "\n")
