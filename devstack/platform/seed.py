"""Makes a whole platform in the five stores, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass

from devstack.platform import clickhouse, elasticsearch, postgres, redis, s3, sample
from devstack.platform.clients import Clients, connect
from devstack.platform.people import Person, generate
from devstack.platform.plan import DEMO, SEED, Names, Size


@dataclass(frozen=True)
class Platform:
    """A platform that was made.

    Args:
        names: What its parts are called.
        size: How large it is.
        people: Its contributors.
        sample: Those to be erased.
    """

    names: Names
    size: Size
    people: tuple[Person, ...]
    sample: tuple[Person, ...]


def plan(size: Size = DEMO, names: Names | None = None, number: int = SEED) -> Platform:
    """A platform as it is going to be made: its people and its sample, without any server.

    Args:
        size: How large.
        names: What its parts are called; those of ``erasure.toml`` where not given.
        number: The seed.
    """
    people = generate(size, number)
    return Platform(names or Names(), size, people, sample.choose(people, size.batch, number))


async def seed(
    connections: Mapping[str, str], size: Size = DEMO, names: Names | None = None, number: int = SEED
) -> Platform:
    """Makes the schemas and fills them; fails where a platform of these names exists already.

    Args:
        connections: The ``ERASURE_...`` variables.
        size: How large.
        names: What its parts are called; those of ``erasure.toml`` where not given.
        number: The same seed makes the same platform.
    """
    platform = plan(size, names, number)
    async with connect(connections) as clients:
        # PostgreSQL comes first: its marker says that the rest may be dropped, should this end halfway.
        await postgres.create(clients.postgres, platform.names.schema)
        async with asyncio.TaskGroup() as group:
            for part in _parts(clients, platform, number):
                group.create_task(part)
    return platform


async def clear(connections: Mapping[str, str], names: Names | None = None) -> bool:
    """Drops a platform of these names in every store, if there is one.

    Args:
        connections: The ``ERASURE_...`` variables.
        names: What its parts are called.

    Returns:
        Whether there was one.

    Raises:
        PermissionError: There is one that was not made here; nothing was dropped.
    """
    named = names or Names()
    async with connect(connections) as clients:
        if not await postgres.is_there(clients.postgres, named.schema):
            return False
        await asyncio.gather(
            elasticsearch.drop(clients.elasticsearch, named),
            clickhouse.drop(clients.clickhouse, named.database),
            s3.drop(clients.s3, named.bucket),
            redis.drop(clients.redis, named.key_prefix),
        )
        await postgres.drop(clients.postgres, named.schema)
    return True


def _parts(clients: Clients, platform: Platform, number: int) -> list[Coroutine[None, None, None]]:
    people, size, names = platform.people, platform.size, platform.names

    async def documents() -> None:
        await elasticsearch.create(clients.elasticsearch, names)
        await elasticsearch.load(clients.elasticsearch, people, size, names, number)

    async def metrics() -> None:
        await clickhouse.create(clients.clickhouse, names.database)
        await clickhouse.load(clients.clickhouse, people, size, names.database, number)

    async def files() -> None:
        await s3.create(clients.s3, names.bucket)
        await s3.load(clients.s3, people, size, names.bucket, number)

    return [
        documents(),
        metrics(),
        files(),
        postgres.load(clients.postgres, people, size, names.schema, number),
        redis.load(clients.redis, people, size, names.key_prefix, number),
    ]
