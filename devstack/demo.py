"""``make demo``: the whole of it on real servers, from an empty platform to the report of an erased batch."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.platform import census, sample, seed
from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from devstack.platform.seed import Platform
from devstack.platform.tally import Count
from devstack.platform_api import job_url
from devstack.process import launch
from devstack.stack import Stack

FOLDER = Path(".demo")
START = 60.0
"""Seconds that a worker may take to start."""

console = Console()


def main() -> int:
    """Runs the demo; returns the exit code of the erasure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    shutil.rmtree(FOLDER / "stack", ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    _say(
        "Starting PostgreSQL, Valkey, ClickHouse, Elasticsearch, MinIO, Temporal and the platform's API on this machine"
    )
    with Stack(FOLDER / "stack") as stack:
        env = {**os.environ, **stack.env, "ERASURE_OPERATOR": "demo"}
        _say("Making a crowd-work platform: 2,000 contributors, their documents, metrics, rows, files and sessions")
        platform = asyncio.run(seed.seed(stack.env))
        env["ERASURE_CLICKHOUSE__DATABASE"] = platform.names.database
        env["ERASURE_API__JOB_URL"] = job_url(stack.env["ERASURE_API__BASE_URL"])
        stays = next(person for person in platform.people if person.worker_id and person not in platform.sample)
        env["ERASURE_API__CONTROL"] = stays.contributor_id
        csv = FOLDER / "ids.csv"
        sample.write(csv, platform.sample)
        before = asyncio.run(_census(stack.env, platform))
        with _worker(env):
            batch = f"demo-{secrets.token_hex(4)}"
            command = ["erase", str(csv), "--batch", batch]
            _say(f"$ python -m starter {' '.join(command)}")
            code = _starter(env, command)
            after = asyncio.run(_census(stack.env, platform))
            console.print(_comparison(before, after))
            _starter(env, ["report", batch, "--output", str(FOLDER / "reports")])
            url = f"{stack.env['ERASURE_TEMPORAL__UI_URL']}/namespaces/default/workflows/{batch}"
            _say(f"This run in Temporal's Web UI: {url}")
            _say(f"Took {time.monotonic() - began:.0f} s in all")
            if os.environ.get("KEEP"):
                _say("Everything keeps running until Ctrl-C (KEEP is set)")
                signal.pause()
            else:
                _say("KEEP=1 make demo leaves the Web UI running, to look at it")
    return code


async def _census(env: Mapping[str, str], platform: Platform) -> tuple[Count, ...]:
    async with connect(env) as clients:
        return await census.take(clients, platform.names, platform.sample)


@contextmanager
def _worker(env: dict[str, str]) -> Iterator[None]:
    """Runs a worker for as long as the block."""
    log = FOLDER / "worker.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "worker"]
        process = launch(command, env=env, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START
        while "worker started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the worker did not start, see {log}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _starter(env: dict[str, str], arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "starter", *arguments]
    return launch(command, env=env).wait()


def _comparison(before: Sequence[Count], after: Sequence[Count]) -> Table:
    """Each place before and after, counted apart from the eraser."""
    table = Table(
        title="Counted in the stores themselves, by code that the eraser does not share",
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("place", no_wrap=True)
    for name in ("records", "now", "of the 100", "now", "masked", "all others"):
        table.add_column(name, justify="right", no_wrap=True)
    later = {(count.store, count.place): count for count in after}
    kept = 0
    for store, counts in groupby(before, attrgetter("store")):
        table.add_row(f"[bold]{store}")
        for count in counts:
            now = later[count.store, count.place]
            if count.place.endswith(ALL_VERSIONS):
                kept += now.batch
                continue
            left = "[green]0" if not now.batch else f"[bold red]{now.batch:,}"
            same = "[green]untouched" if now.others == count.others else "[bold red]CHANGED"
            row = (f"{count.total:,}", f"{now.total:,}", f"{count.batch:,}", left, f"{now.deleted:,}", same)
            table.add_row(f"  {count.place}", *row)
    if kept:
        table.caption = f"The bucket is versioned: {kept} versions of deleted files still lie behind delete markers."
    return table


def _say(message: str) -> None:
    console.print(f"[bold]{message}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
