"""A platform whose API is up: its PostgreSQL and Redis on the session's servers, its server a process of its own."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from devstack.platform import postgres, redis
from devstack.platform.clients import connect
from devstack.platform.people import Person
from devstack.platform.plan import SMALL, Names
from devstack.platform.postgres import FIRST_JOB, job_secret, quoted
from devstack.platform.seed import Platform, plan
from devstack.platform_api import PlatformApi, job_url
from tests.bench import Bench, HasEnv, bare_environment, map_of


@dataclass(frozen=True)
class Desk:
    """A platform, with its API.

    Args:
        stack: The servers.
        platform: Its people and names.
        server: Its API.
    """

    stack: HasEnv
    platform: Platform
    server: PlatformApi

    @property
    def workers(self) -> list[Person]:
        """Those who are in the first job."""
        return [person for person in self.platform.people if person.worker_id is not None]

    @property
    def outsider(self) -> Person:
        """Somebody whom the platform knows, and who is in no job."""
        return next(person for person in self.platform.people if person.worker_id is None)

    @property
    def secret(self) -> str:
        """The first job's."""
        return job_secret(FIRST_JOB)

    @property
    def job_url(self) -> str:
        """The first job's address."""
        return job_url("https://platform.example")

    async def sql(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Runs a statement; ``{}`` stands for the schema."""
        connection = await asyncpg.connect(self.stack.env["ERASURE_POSTGRES__DSN"])
        try:
            rows: list[asyncpg.Record] = await connection.fetch(
                statement.format(quoted(self.platform.names.schema)), *values
            )
            return rows
        finally:
            await connection.close()

    async def commits(self, person: Person) -> int:
        """How often somebody's work in the first job was taken by the API."""
        query = (
            "SELECT count(*) FROM {}.job_mappings WHERE contributor_id = $1 AND job_id = $2 AND commit_key IS NOT NULL"
        )
        return int((await self.sql(query, person.contributor_id, FIRST_JOB))[0][0])

    def bench(self, folder: Path, ids: Sequence[str], **settings: str | int) -> Bench:
        """A worker's and a command line's surroundings.

        Args:
            folder: For files of the test.
            ids: Who stands in the CSV.
            settings: Of the data map, to be changed: ``rate``, ``page_size``, ``max_attempts``.
        """
        csv, data_map = folder / "ids.csv", folder / "erasure.toml"
        csv.write_text("\n".join(["contributor_id", *ids]) + "\n")
        data_map.write_text(map_of(self.platform.names).replace("[platform_api]\n", "[platform_api]\npage_size = 2\n"))
        env = {
            **bare_environment(),
            **self.stack.env,
            **self.server.env,
            "ERASURE_TEMPORAL__TASK_QUEUE": f"test-{secrets.token_hex(4)}",
            "ERASURE_VAULT__KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "ERASURE_CONFIG": str(data_map),
        }
        bench = Bench(env, self.platform, data_map, csv, folder)
        for name, value in settings.items():
            old = next(line for line in data_map.read_text().splitlines() if line.startswith(f"{name} = "))
            bench.change_map(old, f"{name} = {value}")
        return bench


@contextmanager
def desk(stack: HasEnv, folder: Path) -> Iterator[Desk]:
    """Makes a small platform's PostgreSQL and Redis, and serves it.

    Args:
        stack: The servers.
        folder: For the API's log.
    """
    made = plan(SMALL, Names.under(secrets.token_hex(4)))
    server = PlatformApi(folder, stack.env, made.names, tied=True)
    server.spawn()
    try:
        asyncio.run(_seed(stack, made))
        server.wait()
        yield Desk(stack, made, server)
    finally:
        server.stop()
        asyncio.run(_drop(stack, made.names))


async def _seed(stack: HasEnv, made: Platform) -> None:
    async with connect(stack.env) as clients:
        await postgres.create(clients.postgres, made.names.schema)
        await postgres.load(clients.postgres, made.people, made.size, made.names.schema)
        await redis.load(clients.redis, made.people[:5], made.size, made.names.key_prefix)


async def _drop(stack: HasEnv, names: Names) -> None:
    async with connect(stack.env) as clients:
        await postgres.drop(clients.postgres, names.schema)
        await redis.drop(clients.redis, names.key_prefix)
