"""The diagram "Environment Setup Workflow": a test for each of its boxes and arrows, over one run on real servers.

In the run, the port-forward's pod is not ready, Redis is down, and the tool's own schema is not there; a fix makes the
schema, and while setup retries, the pod and Redis come up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from activities.errors import TransientError
from activities.setup import Result, Setup, State, checks, running
from activities.setup.temporal import WorkersCheck
from activities.stores import kinds
from devstack.valkey import Valkey
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import Finished, HasEnv, until_async
from tests.setup.conftest import SECONDS
from tests.stores.tunnel_cluster import Cluster


@dataclass(frozen=True)
class Walk:
    """What was seen on the way.

    Args:
        begun: The checks of the first round, in their order.
        first: What they answered.
        failed: What was not in order then.
        fixed: What the fix made.
        again: The checks of all later rounds.
        last: What was answered in the end.
        complete: Whether nothing was left that is not in order.
        forwards: How often the port-forward was started.
        running: The port-forwards that still ran in the end.
        script: A command that was run then.
    """

    begun: list[str]
    first: dict[str, Result]
    failed: list[str]
    fixed: dict[str, str]
    again: list[str]
    last: dict[str, Result]
    complete: bool
    forwards: int
    running: list[int]
    script: Finished


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walk(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walk]:
    """The run that all tests look at."""
    folder: Path = tmp_path_factory.mktemp("setup")
    async with benches.bench(stack, folder) as bench:
        target = URL(bench.env["ERASURE_CLICKHOUSE__URL"]).port
        assert target is not None
        cluster = Cluster(folder, target)
        cluster.make()
        valkey = Valkey(folder / "valkey", tied=True)
        environment = {
            **bench.env,
            **cluster.env,
            "ERASURE_CLICKHOUSE__URL": "http://clickhouse.inside.invalid:8123/",
            "ERASURE_CLICKHOUSE__PORT_FORWARD__SERVICE": "clickhouse",
            "ERASURE_REDIS__URL": f"redis://127.0.0.1:{valkey.port}/0",
        }
        begun: list[str] = []

        def tell(name: str, result: Result | None) -> None:
            if result is None:
                begun.append(name)

        async def polled() -> bool:
            try:
                return (await WorkersCheck(list(kinds())).run()).state is State.OK
            except TransientError:
                return False

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(running, "PAUSE", 0.2)
            for name, value in environment.items():
                patched.setenv(name, value)
            async with bench.worker():
                await until_async(polled, 60)
                cluster.say("error: unable to forward port because pod is not running. Current status=Pending")
                setup = Setup(checks(bench.data_map), SECONDS, tell)
                await setup.run()
                first, failed, begun_first = setup.results, [check.name for check in setup.failed], begun.copy()
                fixed = await setup.fix()
                begun.clear()
                retrying = asyncio.create_task(setup.retry(within=120))
                await asyncio.to_thread(valkey.start)
                try:
                    cluster.say("")
                    await retrying
                    script = await bench.starter("list", "--json", **environment)
                finally:
                    valkey.stop()
        yield Walk(
            begun_first,
            first,
            failed,
            fixed,
            begun,
            setup.results,
            not setup.failed,
            len(cluster.starts),
            cluster.running,
            script,
        )


def test_start_setup_begins_every_check_at_once(walk: Walk) -> None:
    assert walk.begun == list(walk.first)


def test_check_python_dependencies(walk: Walk) -> None:
    assert walk.first["python"].state is State.OK
    assert walk.first["packages"].state is State.OK


def test_verify_configuration_files(walk: Walk) -> None:
    assert (walk.first["data map"].state, walk.first["data map"].version) == (State.OK, "5 stores")
    assert walk.first["vault key"].state is State.OK


def test_test_database_connection(walk: Walk) -> None:
    assert (walk.first["postgres"].state, walk.first["postgres"].version) == (State.OK, "18.4")
    assert walk.first["identity table"].state is State.OK


def test_test_elasticsearch_connection(walk: Walk) -> None:
    assert (walk.first["elasticsearch"].state, walk.first["elasticsearch"].version) == (State.OK, "9.5.3")


def test_setup_clickhouse_port_forward(walk: Walk) -> None:
    (forward,) = walk.first["clickhouse"].findings
    assert forward.place == "clickhouse through kubectl port-forward"
    assert forward.what == "its pod is not running"
    assert walk.forwards > 1, "it is started again"
    assert walk.running == [], "it ends with its check"


def test_test_clickhouse_connection_comes_after_its_port_forward(walk: Walk) -> None:
    assert walk.first["clickhouse"].state is State.UNREACHABLE
    assert walk.last["clickhouse"].state is State.OK
    assert walk.last["clickhouse"].version.startswith("26.")


def test_verify_s3_access(walk: Walk) -> None:
    assert walk.first["s3"].state is State.OK
    assert walk.first["vault"].state is State.OK


def test_test_redis_connection(walk: Walk) -> None:
    assert walk.first["redis"].state is State.UNREACHABLE
    assert walk.last["redis"].state is State.OK


def test_all_connections_ok_no_leads_to_fix_connection_issues(walk: Walk) -> None:
    assert walk.failed == ["clickhouse", "redis"]
    assert walk.fixed == {"own schema": "made the schema erasure"}


def test_fix_leads_to_retry_setup_and_back_to_all_connections_ok(walk: Walk) -> None:
    assert set(walk.again) == {"clickhouse", "redis"}, "only what failed is tried again"


def test_all_connections_ok_yes_leads_to_setup_complete(walk: Walk) -> None:
    assert walk.complete
    assert {result.state for result in walk.last.values()} == {State.OK}


def test_setup_complete_leads_to_ready_to_run_scripts(walk: Walk) -> None:
    assert walk.script.code == ExitCode.ERASED, walk.script.stderr
    assert isinstance(walk.script.json, list)
