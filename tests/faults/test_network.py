"""Between the worker and each server, each in its own phase, the network is slow, silent, loses answers, or is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from temporalio.api.history.v1 import HistoryEvent

from activities.status import PhaseState
from devstack.platform.census_files import ALL_VERSIONS
from devstack.toxiproxy import Toxiproxy
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests import contents
from tests.bench import Bench, HasEnv, until_async
from tests.contents import differences
from tests.faults.faults import ADDRESSES, Cuts, Fault, Faults, Proxied
from tests.faults.size import TINY
from tests.faults.workers import forked
from workflows.erase import EraseContributors
from workflows.messages import Command

STORES = ("elasticsearch", "clickhouse", "postgres", "s3", "redis")

SUFFER = {"back_up_postgres": "vault"} | {f"erase_{store}": store for store in STORES}
"""Which server suffers in which type of activity."""

LATENCY = (Fault("latency", {"latency": 5_000}, seconds=6),)
"""The first answer comes after five seconds, and what follows until the sixth as late."""

LOSSES = (Fault("limit_data", {"bytes": 500}), Fault("timeout", {"timeout": 0}))
"""The server does what it is asked, and its answer is cut in the middle, or never comes."""

IMPATIENT = {
    "ERASURE_ELASTICSEARCH__TIMEOUT": "2",
    "ERASURE_CLICKHOUSE__TIMEOUT": "2",
    "ERASURE_POSTGRES__TIMEOUT": "2",
    "ERASURE_S3__TIMEOUT": "1",
    "ERASURE_REDIS__TIMEOUT": "1",
}
"""Every request is answered within milliseconds: who waits for longer than this waits for ever."""


@pytest.fixture
async def toxiproxy(tmp_path: Path) -> AsyncIterator[Toxiproxy]:
    """A Toxiproxy of the test's own."""
    server = Toxiproxy(tmp_path / "toxiproxy", tied=True)
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_batch_ends_right_though_every_server_is_slow_or_silent_or_loses_its_answers(
    prompt_stack: HasEnv, tmp_path: Path, toxiproxy: Toxiproxy
) -> None:
    async def suffers(faults: tuple[Fault, ...], first: int, last: int) -> list[Activity]:
        folder = tmp_path / f"{faults[0].toxic}-{first}"
        return await _suffers(prompt_stack, folder, toxiproxy, faults, dict([*SUFFER.items()][first:last]))

    at_once = [suffers(LATENCY, first, first + 2) for first in (0, 2, 4)]
    at_once += [suffers(LOSSES, first, first + 3) for first in (0, 3)]
    *slow, losing, losing_too = await asyncio.gather(*at_once)
    assert {each.name for batch in slow for each in batch if each.seconds >= 5} >= SUFFER.keys(), slow
    failed = {each.name for each in [*losing, *losing_too] if each.failure == "TransientError"}
    assert failed >= SUFFER.keys(), (losing, losing_too)


async def test_a_batch_whose_servers_are_cut_off_parks_and_retry_finishes_it(
    prompt_stack: HasEnv, tmp_path: Path, toxiproxy: Toxiproxy
) -> None:
    async with _bench(prompt_stack, tmp_path / "cut") as bench:
        bench.change_map("max_attempts = 10", "max_attempts = 2")
        proxied = Proxied.behind(toxiproxy, {**bench.env, **IMPATIENT}, "cut")
        cuts = {"verify_back_up": "vault"} | {
            f"{verb}_{store}": store for verb in ("erase", "restore") for store in STORES
        }
        before = await contents.read(bench.env, bench.platform.names)
        interceptor = Cuts({activity: proxied.proxies[name] for activity, name in cuts.items()})
        async with forked(replace(bench, env=proxied.env), interceptor):
            parked = await bench.erase()
            batch_id = parked.json["batch_id"]
            handle = (await bench.temporal()).get_workflow_handle_for(EraseContributors.run, batch_id)

            async def mends(store: str, server: str, state: PhaseState) -> None:
                """Waits until a phase is parked by what it should, heals that, and has the phase run again."""

                async def parked() -> bool:
                    status = await handle.query(EraseContributors.status)
                    (phase,) = [phase for phase in status.phases if phase.store == store]
                    return phase.state is state and ADDRESSES[server] in (phase.error or "")

                await until_async(parked, 180)
                await asyncio.to_thread(proxied.proxies[server].heal)
                await handle.signal(EraseContributors.retry, Command("test", phase=store))

            assert parked.code == ExitCode.PARKED, parked.stderr
            await mends("elasticsearch", "vault", PhaseState.PARKED)
            for store in STORES[:4]:
                await mends(store, store, PhaseState.PARKED)
            warned = await bench.starter("watch", batch_id, "--json")
            assert warned.code == ExitCode.WARNED, "Redis is not critical"
            await asyncio.to_thread(proxied.proxies["redis"].heal)
            erased = await bench.starter("retry", batch_id, "--json")
            assert erased.code == ExitCode.ERASED, erased.stdout
            assert [row for row in await bench.census() if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
            await handle.signal(EraseContributors.rollback, Command("test"))
            for store in reversed(STORES[:4]):
                await mends(store, store, PhaseState.ROLLBACK_PARKED)
            rolled = await bench.starter("watch", batch_id, "--json")
        assert rolled.json["outcome"] == "rolled back", rolled.stderr
        assert differences(before, await contents.read(bench.env, bench.platform.names), but="redis") == []


@dataclass(frozen=True)
class Activity:
    """How one activity went.

    Args:
        name: Its type.
        attempt: The one that it ended with.
        seconds: How long that took.
        failure: The type of the error that the one before it ended with.
    """

    name: str
    attempt: int
    seconds: float
    failure: str


async def _suffers(
    stack: HasEnv, folder: Path, toxiproxy: Toxiproxy, faults: tuple[Fault, ...], suffer: dict[str, str]
) -> list[Activity]:
    """A batch whose activities suffer faults, and which has to end right by itself; answers with how they went."""
    async with _bench(stack, folder) as bench:
        proxied = Proxied.behind(toxiproxy, {**bench.env, **(IMPATIENT if faults is LOSSES else {})}, folder.name)
        interceptor = Faults({activity: proxied.proxies[name] for activity, name in suffer.items()}, faults)
        before = await bench.census()
        async with forked(replace(bench, env=proxied.env), interceptor):
            erased = await bench.erase()
        errors = [f"{phase['store']} is {phase['state']}: {phase['error']}" for phase in erased.json["phases"]]
        assert erased.code == ExitCode.ERASED, errors
        after = await bench.census()
        assert [row for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
        assert {(row.store, row.place): row.others for row in after} == {
            (row.store, row.place): row.others for row in before
        }
        for phase in erased.json["phases"]:
            assert phase["tally"]["changed"] + phase["tally"]["already_clean"] == sum(phase["before"].values()), phase
        return await _activities(bench, erased.json["batch_id"])


async def _activities(bench: Bench, batch_id: str) -> list[Activity]:
    found: list[Activity] = []
    names: dict[int, str] = {}
    started: dict[int, HistoryEvent] = {}
    async for event in (await bench.temporal()).get_workflow_handle(batch_id).fetch_history_events():
        if name := event.activity_task_scheduled_event_attributes.activity_type.name:
            names[event.event_id] = name
        if scheduled := event.activity_task_started_event_attributes.scheduled_event_id:
            started[scheduled] = event
        if scheduled := event.activity_task_completed_event_attributes.scheduled_event_id:
            start = started[scheduled]
            attributes = start.activity_task_started_event_attributes
            seconds = (event.event_time.ToDatetime() - start.event_time.ToDatetime()).total_seconds()
            failure = attributes.last_failure.application_failure_info.type
            found.append(Activity(names[scheduled], attributes.attempt, seconds, failure))
    return found


@asynccontextmanager
async def _bench(stack: HasEnv, folder: Path) -> AsyncIterator[Bench]:
    """A bench whose command line and census reach the servers directly; one slice at a time."""
    folder.mkdir()  # noqa: ASYNC240 - takes no time
    async with benches.bench(stack, folder, TINY) as made:
        made.change_map("concurrency = 2", "concurrency = 1")
        made.change_map("heartbeat_timeout = 2", "heartbeat_timeout = 30")  # no worker dies here
        yield made
