"""A small platform of its own a test, a worker process, and the command line, on the session's real servers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.status import PhaseState
from activities.vault import Vault
from activities.vault.keys import MasterKey
from devstack.platform import census, sample, seed
from devstack.platform.clients import Clients, connect
from devstack.platform.people import Person
from devstack.platform.plan import SMALL, Names, Size
from devstack.platform.seed import Platform
from devstack.platform.tally import Count
from tests import history
from tests.processes import ROOT, Forked, Streams, module
from workflows.erase import EraseContributors


class HasEnv(Protocol):
    """What tests need of a stack: how to reach it."""

    @property
    def env(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Finished:
    """A process that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document."""
        return json.loads(self.stdout)


@dataclass
class Worker:
    """A worker process.

    Args:
        process: The process.
        log: Its standard error.
    """

    process: Forked
    log: Path

    async def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait(120)

    async def stop(self) -> int:
        """Asks it to drain; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait(120)


@dataclass
class Bench:
    """What a test of a whole batch works with.

    Args:
        env: Environment of worker and command line.
        platform: The platform, with its people.
        data_map: The data map's file.
        csv: The sample of people to erase.
        folder: For files of the test.
        named_by_operators: People whom a test has an operator name in a reason, against the rule.
    """

    env: dict[str, str]
    platform: Platform
    data_map: Path
    csv: Path
    folder: Path
    named_by_operators: set[Person] = field(default_factory=set)

    async def starter(self, *arguments: str, **env: str) -> Finished:
        """Runs the command line to its end."""
        return await starter({**self.env, **env}, *arguments)

    async def erase(self, *options: str) -> Finished:
        """Erases the sample and waits for the end."""
        return await self.starter("erase", str(self.csv), "--config", str(self.data_map), "--json", *options)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """Runs a worker for as long as the block; it must end cleanly unless it was killed."""
        log = self.folder / f"worker-{secrets.token_hex(3)}.log"
        log.touch()
        process = module("worker", [], self.env, Streams(log, log))
        running = Worker(process, log)
        try:
            await until(lambda: "worker started" in log.read_text() or process.returncode is not None, 180)
            assert process.returncode is None, log.read_text()
            yield running
        finally:
            killed = process.returncode is not None
            code = await running.stop()
        assert killed or code == 0, log.read_text()[-2000:]

    async def temporal(self) -> Client:
        """A client of the test's own."""
        return await Client.connect(self.env["ERASURE_TEMPORAL__ADDRESS"], data_converter=pydantic_data_converter)

    async def reached(self, batch_id: str, store: str, state: PhaseState, done: int = 0) -> None:
        """Waits until a phase has a state, and has dealt with some contributors."""
        handle = (await self.temporal()).get_workflow_handle(batch_id)

        async def there() -> bool:
            status = await handle.query(EraseContributors.status)
            phase = next(phase for phase in status.phases if phase.store == store)
            return phase.state is state and phase.done >= done

        await until_async(there, 180)

    async def leaks(self) -> list[str]:
        """The people who are named in a worker's log, or in anything that Temporal keeps of this bench's batches."""
        kept = await history.recorded(await self.temporal(), self.env["ERASURE_TEMPORAL__TASK_QUEUE"])
        logs = [log.read_text() for log in self.folder.glob("worker-*.log")]
        people = [person for person in self.platform.people if person not in self.named_by_operators]
        return history.leaks([*kept, *logs], people)

    async def census(self) -> tuple[Count, ...]:
        """What the stores hold, counted apart from the eraser."""
        async with connect(self.env) as clients:
            return await census.take(clients, self.platform.names, self.platform.sample)

    def change_map(self, old: str, new: str) -> None:
        """Replaces a piece of the data map, which must be there."""
        text = self.data_map.read_text()
        assert old in text
        self.data_map.write_text(text.replace(old, new))


async def starter(env: Mapping[str, str], *arguments: str) -> Finished:
    """Runs the command line to its end.

    Args:
        env: The whole environment.
        arguments: Of the command line.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = Streams(Path(folder, "stdout"), Path(folder, "stderr"))
        code = await module("starter", arguments, env, streams).wait(240)
        return Finished(code, streams.stdout.read_text("utf-8"), streams.stderr.read_text("utf-8"))


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for a condition; fails after so many seconds."""

    async def there() -> bool:
        return condition()

    await until_async(there, seconds)


async def until_async(condition: Callable[[], Any], seconds: float) -> None:
    """Waits for an asynchronous condition; fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)


def vault_of(env: Mapping[str, str], clients: Clients) -> Vault:
    """The vault, as the product opens it."""
    return Vault(clients.s3, env["ERASURE_VAULT__BUCKET"], key_of(env))


def key_of(env: Mapping[str, str]) -> MasterKey:
    """The key that wraps the batch keys."""
    return MasterKey(base64.b64decode(env["ERASURE_VAULT__KEY"]))


def map_of(names: Names) -> str:
    """The default data map, over a platform of other names."""
    text = (ROOT / "erasure.toml").read_text()
    for old, new in (
        ('"project-*"', f'"{names.index_prefix}*"'),
        ('"public.', f'"{names.schema}.'),
        ("s3://platform-files/", f"s3://{names.bucket}/"),
        ('"auth:', f'"{names.key_prefix}auth:'),
        ('"session:', f'"{names.key_prefix}session:'),
        ('"jobcache:', f'"{names.key_prefix}jobcache:'),
        ('look = ["*"]', f"look = {json.dumps(_places(names))}"),
        ('reach = ["*"]', f"reach = {json.dumps(_reach(names))}"),
        ("after_batch = true", "after_batch = false"),
        ("slice_size = 5000", "slice_size = 7"),
        ("concurrency = 4", "concurrency = 2\nheartbeat_timeout = 2"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


def _reach(names: Names) -> list[str]:
    """Globs of what a verification looks at: a platform's own places, and what the scans plant."""
    own = [place for place in _places(names) if place != "clickhouse *"]
    return [*own, f"clickhouse {names.database}.*", "temporal *", "* erasure-canary*"]


def _places(names: Names) -> list[str]:
    """Globs of what is a platform's own: others stand on the same servers."""
    return [
        f"elasticsearch {names.index_prefix}*",
        "clickhouse *",
        f"postgres {names.schema}.*",
        f"s3 *{names.bucket}*",
        f"redis *{names.key_prefix}*",
    ]


def bare_environment() -> dict[str, str]:
    """This process's environment without any setting of the product."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ERASURE_")}


@asynccontextmanager
async def bench(stack: HasEnv, folder: Path, size: Size = SMALL) -> AsyncIterator[Bench]:
    """A platform of a test's own, and everything around it; whatever its batches left on the way must name nobody.

    Args:
        stack: The servers.
        folder: For files of the test.
        size: How large the platform is.
    """
    name = secrets.token_hex(4)
    names = Names.under(name)
    async with database(stack.env, f"test_{name}") as dsn:
        servers = {**stack.env, "ERASURE_POSTGRES__DSN": dsn}
        made = await seed.seed(servers, size, names)
        csv, data_map = folder / "ids.csv", folder / "erasure.toml"
        sample.write(csv, made.sample)
        data_map.write_text(map_of(names))
        env = {
            **bare_environment(),
            **servers,
            "ERASURE_CLICKHOUSE__DATABASE": names.database,
            "ERASURE_TEMPORAL__TASK_QUEUE": f"test-{name}",
            # a batch is named by its content under the vault's key: with a key of its own, a test's batches are its own
            "ERASURE_VAULT__KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        opened = Bench(env, made, data_map, csv, folder)
        yield opened
        try:
            assert await opened.leaks() == []
        finally:
            await seed.clear(servers, names)


@asynccontextmanager
async def database(env: Mapping[str, str], name: str) -> AsyncIterator[str]:
    """A database of a test's own: the product keeps legal holds in one schema, whoever else works on the server."""
    dsn = env["ERASURE_POSTGRES__DSN"]

    async def tell(statement: str) -> None:
        server = await asyncpg.connect(dsn)  # anew: a test may have killed the server in between
        await server.execute(statement)
        await server.close()

    await tell(f"CREATE DATABASE {name}")
    try:
        yield f"{dsn.rpartition('/')[0]}/{name}"
    finally:
        await tell(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
