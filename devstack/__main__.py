"""``python -m devstack up | down | fetch | seed``: the servers alone, in the background."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from devstack.chromium import Chromium
from devstack.kafka import Kafka
from devstack.kms import Kms
from devstack.platform import sample, seed
from devstack.platform_api import job_url
from devstack.process import STOP_TIMEOUT, StackError
from devstack.stack import Stack
from devstack.toxiproxy import Toxiproxy
from devstack.versitygw import Versitygw

console = Console()
app = typer.Typer(help="The embedded servers.", no_args_is_help=True, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Option(help="For everything that the servers keep.")]
DEFAULT = Path(".stack")

ONLY_TESTS = (Versitygw, Toxiproxy, Kafka, Kms, Chromium)
"""Servers that no demo needs."""


@app.command()
def fetch(folder: Folder = DEFAULT) -> None:
    """Fetch or build every program into the cache, those that only tests run too."""
    Stack(folder).fetch()
    for server in ONLY_TESTS:
        server(folder / server.name, tied=True).fetch()


@app.command()
def up(folder: Folder = DEFAULT) -> None:
    """Start the servers and write their connections to FOLDER/env."""
    if running(folder):
        console.print(f"Already running. Their connections: {folder / 'env'}", highlight=False)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stack = Stack(folder, tied=False)
    stack.start()
    started = {server.name: _identity(server.process.pid) for server in stack.servers if server.process}
    (folder / "servers.json").write_text(json.dumps(started))
    write_env(folder / "env", stack.env)
    console.print(f"Running. Their connections: `. {folder / 'env'}`", highlight=False)
    console.print(f"Temporal's Web UI: {stack.env['ERASURE_TEMPORAL__UI_URL']}", highlight=False)


@app.command()
def down(folder: Folder = DEFAULT) -> None:
    """End the servers that `up` started, and only those."""
    processes = running(folder)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, STOP_TIMEOUT)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, STOP_TIMEOUT)
    (folder / "servers.json").unlink(missing_ok=True)
    console.print(f"Ended {len(processes)} servers." if processes else "Nothing was running.")


@app.command("seed")
def make_platform(csv: Annotated[Path, typer.Argument(help="Where to write the sample of people to erase.")]) -> None:
    """Make the demo's platform on the servers that the environment names, and write a CSV of 100 people to erase."""
    platform = asyncio.run(seed.seed(os.environ))
    sample.write(csv, platform.sample)
    console.print(f"Made {len(platform.people):,} contributors. To erase {len(platform.sample)} of them: {csv}")
    if base_url := os.environ.get("ERASURE_API__BASE_URL"):
        console.print(f"A job that they work in: {job_url(base_url)}", highlight=False, soft_wrap=True)


def running(folder: Path) -> list[psutil.Process]:
    """The processes that `up` started in this folder and that still run: same pid, same time of start."""
    record = folder / "servers.json"
    if not record.exists():
        return []
    found = []
    for pid, created in json.loads(record.read_text()).values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def write_env(path: Path, env: Mapping[str, str]) -> None:
    """Writes connections as a shell script that only the owner may read: it holds keys."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("".join(f"export {name}='{value}'\n" for name, value in env.items()))


def _identity(pid: int) -> tuple[int, float]:
    return pid, psutil.Process(pid).create_time()


if __name__ == "__main__":
    try:
        app()
    except StackError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)
