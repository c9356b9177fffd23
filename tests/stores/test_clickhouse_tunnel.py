"""ClickHouse through kubectl and ssh, which forward to the real server, drop, hang, and fail in their own words."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from activities.contract import Slice, Tally
from activities.datamap import DataMap, DataMapError
from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.settings import SettingsError, load
from activities.stores.clickhouse.connection import PLACE, ClickHouseSettings, connect, translate
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.store import ClickHouseStore
from activities.tunnel import PortForward, SshTunnel, http, lease
from activities.vault import BatchVault
from tests.bench import Bench, HasEnv, until, until_async
from tests.processes import Streams, call
from tests.stores.clickhouse_database import ANN, BOB, MAP, OURS, Database
from tests.stores.tunnel_cluster import Cluster

FORWARD = PortForward(context="prod", namespace="analytics", service="clickhouse")


@pytest.fixture
def cluster(stack: HasEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    target = URL(stack.env["ERASURE_CLICKHOUSE__URL"]).port
    assert target is not None
    made = Cluster(tmp_path, target)
    made.make()
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


def settings(database: str = "default", **route: Any) -> ClickHouseSettings:
    return ClickHouseSettings(database=database, **(route or {"port_forward": FORWARD}))


async def version(made: ClickHouseSettings) -> str:
    async with connect(made) as client:
        with translated(PLACE, translate):
            return await client.ask("SELECT version()")


@pytest.mark.parametrize(
    ("route", "given"),
    [
        (
            {"port_forward": FORWARD},
            {"context": "prod", "namespace": "analytics", "end": "service/clickhouse", "remote": 8123},
        ),
        (
            {"port_forward": PortForward(pod="clickhouse-0", port=8124)},
            {"context": None, "namespace": None, "end": "pod/clickhouse-0", "remote": 8124},
        ),
        (
            {"ssh_tunnel": SshTunnel(host="ops@bastion", target="10.0.0.7")},
            {"host": "ops@bastion", "target": "10.0.0.7", "remote": 8123},
        ),
    ],
    ids=["service", "pod", "ssh"],
)
async def test_clickhouse_is_reached_through_it_and_it_ends_with_the_client(
    cluster: Cluster, route: dict[str, Any], given: dict[str, Any]
) -> None:
    async with connect(settings(**route)) as client:
        assert (await client.ask("SELECT version()")).startswith("26.")
        assert len(cluster.running) == 1
    assert cluster.running == []
    (start,) = cluster.starts
    assert {key: start[key] for key in given} == given
    assert start["address"] == "127.0.0.1", "nobody else's way in"


async def test_a_drop_in_the_middle_of_a_mutation_fails_nothing_the_mutation_is_polled_again(
    cluster: Cluster, database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    async with connect(settings(database.name)) as client:
        store = ClickHouseStore(client, ClickHouseMap.model_validate(MAP), database.heartbeat)
        await store.back_up(both, vault)
        await database.run("SYSTEM STOP MERGES metrics")
        erasing = asyncio.create_task(store.erase(both, vault))
        await database.mutation_starts()
        for drops in (1, 2):
            cluster.drop()
            await until(lambda drops=drops: len(cluster.running) == 1 and len(cluster.starts) > drops, 20)  # type: ignore[misc]  # its default
        assert not erasing.done()
        await database.run("SYSTEM START MERGES metrics")
        erased = await erasing
        assert erased.places == {"metrics": Tally(matched=4, changed=4)}
        assert (await store.preview(both)).places == {"metrics": 0}
    assert len(await database.mutations()) == 1, "none was started twice"
    rows = await database.rows()
    assert {n for n, row in rows.items() if row[0].startswith("DELETED_USER")} == OURS


async def test_what_hangs_is_closed_and_opened_anew(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PING_TIMEOUT", 0.5)  # the waits are shorter, nothing else
    monkeypatch.setattr(lease, "GRACE", 0.5)
    async with connect(settings().model_copy(update={"timeout": 1})) as client:
        await client.ask("SELECT 1")
        (stuck,) = cluster.running
        os.kill(stuck, signal.SIGSTOP)
        with pytest.raises(TransientError, match="no answer in time"), translated(PLACE, translate):
            await client.ask("SELECT 1")

        async def answers() -> bool:
            try:
                with translated(PLACE, translate):
                    return await client.ask("SELECT 1") == "1"
            except TransientError:
                return False

        await until_async(answers, 30)
        assert len(cluster.starts) == 2
        assert stuck not in cluster.running


async def test_it_is_opened_again_with_growing_pauses_and_whoever_waits_is_told_why(cluster: Cluster) -> None:
    cluster.say("error: unable to forward port because pod is not running. Current status=Pending")
    async with connect(settings()) as client:
        with pytest.raises(TransientError) as raised, translated(PLACE, translate):
            await client.ask("SELECT 1")
        assert str(raised.value) == (
            "clickhouse through kubectl port-forward: its pod is not running. "
            "See `kubectl get pods` and `kubectl describe pod`."
        )
        await until(lambda: len(cluster.starts) >= 4, 20)
        moments = [start["at"] for start in cluster.starts[:4]]
        pauses = [after - before for before, after in pairwise(moments)]
        assert pauses[0] >= 0.2
        assert pauses[1] >= 0.4
        assert pauses[2] >= 0.8
        cluster.say("")

        async def answers() -> bool:
            try:
                return await client.ask("SELECT 1") == "1"
            except TransientError:
                return False

        await until_async(answers, 20)


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ('error: context "prod" does not exist', CriticalError, "kubectl knows no such context"),
        (
            "Error in configuration: context was not found for specified context: prod",
            CriticalError,
            "kubectl knows no such context",
        ),
        (
            'Error from server (Forbidden): pods "clickhouse-0" is forbidden: User "ann@x.io" cannot create resource',
            CriticalError,
            "the cluster forbids it",
        ),
        ("error: You must be logged in to the server (Unauthorized)", CriticalError, "does not accept the credentials"),
        ('Error from server (NotFound): services "clickhouse" not found', TransientError, "no such service or pod"),
        ("error: Service clickhouse does not have a service port 8123", CriticalError, "the service has no such port"),
        ("error: lost connection to pod", TransientError, "the connection to the pod was lost"),
        (
            "Unable to connect to the server: dial tcp: lookup api.prod on 10.0.0.2:53: no such host",
            TransientError,
            "the host name of the cluster's API server is not known",
        ),
        (
            "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
            TransientError,
            "the cluster's API server cannot be reached",
        ),
        ("something else about ann@x.io", TransientError, "it ended with exit code 1"),
    ],
)
async def test_what_kubectl_fails_of_is_named_and_its_own_words_are_not_passed_on(
    cluster: Cluster, words: str, kind: type[ErasureError], said: str
) -> None:
    cluster.say(words)
    with pytest.raises(kind, match=said) as raised:
        await version(settings())
    assert "ann@x.io" not in str(raised.value)
    assert "{setting}" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("ops@bastion: Permission denied (publickey).", CriticalError, "does not accept the key"),
        ("Host key verification failed.", CriticalError, "host key is not known"),
        ("ssh: Could not resolve hostname bastion: Name or service not known", TransientError, "host name"),
        ("ssh: connect to host bastion port 22: Connection refused", TransientError, "SSH server cannot be reached"),
        ("client_loop: send disconnect: Broken pipe", TransientError, "the connection to the SSH server was lost"),
    ],
)
async def test_what_ssh_fails_of_is_named(cluster: Cluster, words: str, kind: type[ErasureError], said: str) -> None:
    cluster.say(words)
    with pytest.raises(kind, match=said):
        await version(settings(ssh_tunnel=SshTunnel(host="ops@bastion")))


async def test_a_local_port_that_is_taken_is_named_and_a_free_one_is_taken_unless_one_is_asked_for(
    cluster: Cluster,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TransientError, match=r"the local port is taken\. Set .*PORT_FORWARD__LOCAL_PORT"):
            await version(settings(port_forward=PortForward(service="clickhouse", local_port=port)))
    assert cluster.starts == [], "nothing is asked of the cluster"
    assert (await version(settings(port_forward=PortForward(service="clickhouse", local_port=port)))).startswith("26.")


async def test_a_program_that_is_not_installed_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cluster.folder))
    with pytest.raises(CriticalError, match="kubectl is not installed"):
        await version(settings())


async def test_it_ends_with_a_process_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    process = call(_hold, (settings().model_dump(mode="json"),), {**os.environ}, Streams(log, log))
    await until(lambda: len(cluster.running) == 1, 30)
    process.send_signal(signal.SIGKILL)
    await process.wait(30)
    await until(lambda: cluster.running == [], 10)


def _hold(given: dict[str, Any]) -> None:
    async def hold() -> None:
        async with connect(ClickHouseSettings.model_validate(given)):
            await asyncio.sleep(600)

    asyncio.run(hold())


async def test_a_batch_goes_on_through_a_port_forward_that_drops_and_it_ends_with_the_worker(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = URL(bench.env["ERASURE_CLICKHOUSE__URL"]).port
    assert target is not None
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), target)
    cluster.make()
    bench.env.update(cluster.env)
    bench.env["ERASURE_CLICKHOUSE__URL"] = "http://not-from-here.invalid:8123/"
    bench.env["ERASURE_CLICKHOUSE__PORT_FORWARD__SERVICE"] = "clickhouse"
    async with bench.worker():
        erasing = asyncio.create_task(bench.erase())
        for drops in range(3):
            await until(lambda drops=drops: len(cluster.starts) > drops and len(cluster.running) == 1, 60)  # type: ignore[misc]  # its default
            await asyncio.sleep(0.5)
            cluster.drop()
        finished = await erasing
        assert finished.code == 0, finished.stdout + finished.stderr
        assert len(cluster.starts) == 4
    assert cluster.running == []


def test_its_settings_come_from_the_environment_and_wrong_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "ERASURE_CLICKHOUSE__"
    for name, value in {"CONTEXT": "prod", "NAMESPACE": "analytics", "SERVICE": "ch", "LOCAL_PORT": "18123"}.items():
        monkeypatch.setenv(f"{prefix}PORT_FORWARD__{name}", value)
    read = load(ClickHouseSettings).port_forward
    assert read == PortForward(context="prod", namespace="analytics", service="ch", local_port=18_123)
    monkeypatch.setenv(f"{prefix}PORT_FORWARD__PORT", "99999")
    with pytest.raises(SettingsError, match="ERASURE_CLICKHOUSE__PORT_FORWARD__PORT: "):
        load(ClickHouseSettings)
    monkeypatch.setenv(f"{prefix}PORT_FORWARD__PORT", "8123")
    monkeypatch.setenv(f"{prefix}PORT_FORWARD__POD", "ch-0")
    with pytest.raises(SettingsError, match="set either SERVICE or POD"):
        load(ClickHouseSettings)
    monkeypatch.setenv(f"{prefix}PORT_FORWARD__POD", "--kubeconfig=/x")
    with pytest.raises(SettingsError, match="ERASURE_CLICKHOUSE__PORT_FORWARD__POD: "):
        load(ClickHouseSettings)
    monkeypatch.delenv(f"{prefix}PORT_FORWARD__POD")
    monkeypatch.setenv(f"{prefix}SSH_TUNNEL__HOST", "bastion")
    with pytest.raises(SettingsError, match="set either PORT_FORWARD or SSH_TUNNEL"):
        load(ClickHouseSettings)


def test_a_data_map_that_names_a_tunnel_is_told_where_it_belongs() -> None:
    source = {"identity": {"table": "public.c", "id": "id"}, "clickhouse": {"port_forward": {"context": "prod"}}}
    with pytest.raises(DataMapError, match="ERASURE_CLICKHOUSE__PORT_FORWARD__"):
        DataMap.parse({**source, "policy": {"order": ["clickhouse"], "critical": []}}, "map")
