"""API tests that are cut, stopped, or run around an erasure."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.client import WorkflowFailureError

from activities.settings import VaultSettings
from activities.vault import Vault, VaultMissingError
from devstack.platform.people import Person
from devstack.platform_api import PlatformApi, job_url
from devstack.temporal import Temporal
from starter.exit_codes import ExitCode
from tests.bench import Bench, HasEnv, until
from tests.history import leaks
from tests.platform_api.desk import Desk
from tests.processes import ROOT
from tests.stores.conftest import s3_settings


async def test_work_is_given_before_an_erasure_and_after_it_the_platform_answers_system_error(bench: Bench) -> None:
    names = bench.platform.names
    server = PlatformApi(bench.folder / "api", bench.env, names, tied=True)
    server.spawn()
    erased = [person for person in bench.platform.sample if person.worker_id is not None]
    stays = next(person for person in bench.platform.people if person.worker_id and person not in bench.platform.sample)
    bench.csv.write_text(_csv(*erased))
    staying = bench.folder / "staying.csv"
    staying.write_text(_csv(stays))
    bench.env |= {**server.env, "ERASURE_CONFIG": str(bench.data_map)}
    url = job_url("https://platform.example")
    try:
        async with bench.worker():
            await asyncio.to_thread(server.wait)
            before = await bench.starter("api-test", url, str(bench.csv), "--expect", "active", "--json")
            erasure = await bench.erase()
            ask = ("api-test", url, str(bench.csv), "--expect", "erased", "--json", "--control")
            after, blind, other = await asyncio.gather(
                bench.starter(*ask, stays.contributor_id),
                bench.starter(*ask, erased[0].contributor_id),
                bench.starter("api-test", url, str(staying), "--expect", "erased", "--json"),
            )
    finally:
        server.stop()
    everybody = len(erased)
    assert (before.code, before.json["fetches"], before.json["commits"]) == (0, {"OK": everybody}, {"OK": everybody})
    assert erasure.code == ExitCode.ERASED, erasure.stderr
    assert (after.code, after.json["fetches"], after.json["commits"]) == (0, {"SYSTEM_ERROR": everybody}, {})
    assert after.json["verdicts"] == {"as expected": everybody, "contrary": 0, "unclear": 0}
    assert after.json["control"] is True
    assert blind.code == ExitCode.PARKED
    assert "answers SYSTEM_ERROR about the control, who stays" in blind.stderr
    await (await bench.temporal()).get_workflow_handle(blind.json["run_id"]).terminate()
    assert (other.code, other.json["fetches"]) == (ExitCode.FAILED, {"OK": 1}), "who stays is given work"
    assert other.json["lines"] == {"contrary": [2], "unclear": []}


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Temporal]:
    """A Temporal of the test's own, which suggests to continue as new after 20 events, not after 4,096."""
    server = Temporal(tmp_path / "temporal", tied=True, settings={"limit.historyCount.suggestContinueAsNew": 20})
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


async def test_a_long_test_whose_worker_dies_goes_on_and_hands_no_work_in_twice(
    platform: Desk, impatient: Temporal, tmp_path: Path
) -> None:
    people = platform.workers[6:16]
    bench = platform.bench(tmp_path, [person.contributor_id for person in people], rate=10)
    bench.env |= impatient.env
    before = [await platform.commits(person) for person in people]
    async with bench.worker() as worker:
        command = asyncio.ensure_future(bench.starter("api-test", platform.job_url, str(bench.csv), "--json"))
        await until(lambda: worker.log.read_text().count("work given and taken") > 2, 180)  # the second page
        await worker.kill()
    async with bench.worker() as worker:
        finished = await command
        log = worker.log.read_text()
        workflows = (await bench.temporal()).list_workflows("WorkflowType = 'ApiTest'")
        runs = {run.run_id async for run in workflows}
    assert finished.code == ExitCode.ERASED, finished.stderr
    assert finished.json["commits"] == {"OK": len(people)}
    assert [await platform.commits(person) for person in people] == [count + 1 for count in before]
    assert len(runs) > 1, "its history became long"
    assert log.count("work given and taken") < len(people), "what was answered before is not asked again"
    assert leaks([log], people) == []


async def test_a_test_that_stopped_goes_on_by_the_same_command_and_keeps_nothing_in_the_end(
    platform: Desk, stack: HasEnv, tmp_path: Path
) -> None:
    person = platform.workers[16]
    bench = platform.bench(tmp_path, [person.contributor_id], attempts=1, max_attempts=1)
    server = PlatformApi(tmp_path / "api", stack.env, platform.platform.names, tied=True)
    bench.env |= server.env
    command = ("api-test", platform.job_url, str(bench.csv), "--expect", "active")
    async with bench.worker():
        stopped = await bench.starter(*command)
        server.spawn()
        await asyncio.to_thread(server.wait)
        try:
            finished = await bench.starter(*command, "--json")
            code, said = await _piped(bench, platform.job_url + "x")
            (waits,) = re.findall(r"api-test-[0-9a-f]{16}", said)
            given_up = (await bench.temporal()).get_workflow_handle(waits)
            await given_up.cancel()
            with pytest.raises(WorkflowFailureError):
                await given_up.result()
        finally:
            server.stop()
    assert stopped.code == ExitCode.UNREACHABLE, stopped.stderr
    assert "platform API: cannot be reached" in stopped.stderr
    assert "give the same command again" in stopped.stderr
    assert (finished.code, finished.json["verdicts"]["as expected"]) == (ExitCode.ERASED, 1)
    assert "goes on where it stopped" in finished.stderr
    assert code == ExitCode.PARKED, "a wrong secret does not mend itself"
    assert "answers BAD_SECRET" in said
    assert platform.secret not in stopped.stderr + finished.stderr + said
    async with Vault.connect(_vault(bench), s3_settings(stack)) as vault:
        for run_id in (finished.json["run_id"], waits):
            with pytest.raises(VaultMissingError):  # people and secret are gone with the key that sealed them
                await vault.open(run_id)


async def _piped(bench: Bench, url: str) -> tuple[int | None, str]:
    """An API test that reads its URL from standard input: exit code and standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "api-test", "-", str(bench.csv)),
        cwd=ROOT,
        env=bench.env,
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said = (await asyncio.wait_for(process.communicate(url.encode() + b"\n"), 60))[1].decode()
    return process.returncode, said


def _csv(*people: Person) -> str:
    return "\n".join(["contributor_id", *(person.contributor_id for person in people)]) + "\n"


def _vault(bench: Bench) -> VaultSettings:
    return VaultSettings(bucket=bench.env["ERASURE_VAULT__BUCKET"], key=SecretStr(bench.env["ERASURE_VAULT__KEY"]))
