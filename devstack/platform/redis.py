"""The platform's Redis: authentication, sessions and a cache of jobs, beside keys that belong to nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from random import Random

from redis.asyncio import Redis

from devstack.platform.people import Person
from devstack.platform.plan import SEED, Size
from devstack.platform.postgres import FIRST_JOB

KINDS = ("auth", "session", "jobcache", "queue", "flag", "stats")
"""The first part of every key."""

BATCH = 1_000
"""Keys a round trip."""


async def load(client: Redis, people: Sequence[Person], size: Size, key_prefix: str = "", seed: int = SEED) -> None:
    """Writes the keys, in pipelines. There is no schema to create.

    Args:
        client: Connected to the platform's database.
        people: The contributors.
        size: Says how many of them have keys.
        key_prefix: What each key starts with.
        seed: The same seed makes the same keys.
    """
    random = Random(f"redis {seed}")
    pipeline = client.pipeline(transaction=False)
    for person in people[: size.cached]:
        own = person.contributor_id
        ttl = random.randint(3_600, 86_400)
        token = f"{random.getrandbits(128):032x}"
        pipeline.hset(f"{key_prefix}auth:{own}", mapping={"email": person.email, "role": "worker", "token": token})
        pipeline.expire(f"{key_prefix}auth:{own}", ttl)
        for _ in range(random.randint(0, 3)):
            session = f"{key_prefix}session:{own}:{random.getrandbits(64):016x}"
            pipeline.set(session, json.dumps({"user": own, "email": person.email}), ex=ttl)
        for job in random.sample(range(size.jobs), random.randint(0, 2)):
            pipeline.set(f"{key_prefix}jobcache:{FIRST_JOB + job}:{own}", json.dumps({"state": "assigned"}), ex=600_000)
        if len(pipeline) >= BATCH:
            await pipeline.execute()
    for number in range(size.jobs):
        pipeline.rpush(
            f"{key_prefix}queue:job:{FIRST_JOB + number}",
            *(f"unit-{random.getrandbits(32):x}" for _ in "abc"),
        )
        pipeline.set(f"{key_prefix}stats:job:{FIRST_JOB + number}", random.getrandbits(20))
    pipeline.set(f"{key_prefix}flag:new-editor", "on")
    await pipeline.execute()


async def drop(client: Redis, key_prefix: str = "") -> None:
    """Deletes the keys of the kinds made here."""

    async def drop_kind(kind: str) -> None:
        found = [key async for key in client.scan_iter(match=f"{key_prefix}{kind}:*", count=BATCH)]
        for start in range(0, len(found), BATCH):
            await client.unlink(*found[start : start + BATCH])

    await asyncio.gather(*(drop_kind(kind) for kind in KINDS))
