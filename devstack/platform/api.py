"""``python -m devstack.platform.api``: the platform's HTTP server, over its real PostgreSQL and Redis.

It gives the contributors of a job their work, and takes it. It knows nothing of erasures: like many a platform it takes
for granted that whoever comes with a job's secret exists, and what it cannot do then is a SYSTEM_ERROR.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import asyncpg
import typer
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from devstack.platform.postgres import quoted

log = logging.getLogger(__name__)

KEEP_SIGNED_IN = 3_600
"""Seconds for which Redis answers who a contributor is; PostgreSQL is not asked meanwhile."""

JOB = "SELECT title, secret FROM {schema}.jobs WHERE id = $1"

CONTRIBUTOR = "SELECT email FROM {schema}.contributors WHERE id = $1"

OPEN = """
UPDATE {schema}.job_mappings SET state = 'started' WHERE id = (
    SELECT id FROM {schema}.job_mappings
    WHERE job_id = $1 AND contributor_id = $2 AND state IN ('assigned', 'started') ORDER BY id LIMIT 1 FOR UPDATE)
RETURNING id
"""
"""What the contributor has been assigned and not handed in: asked again, it is the same."""

NEXT = """
INSERT INTO {schema}.job_mappings (job_id, contributor_id, state, assigned_at)
SELECT $1, $2, 'started', now()
WHERE EXISTS (SELECT FROM {schema}.job_mappings WHERE job_id = $1 AND contributor_id = $2)
RETURNING id
"""

TAKE = """
UPDATE {schema}.job_mappings SET state = 'submitted', commit_key = $4
WHERE id = $1 AND job_id = $2 AND contributor_id = $3 AND state = 'started' RETURNING id
"""

TAKEN = "SELECT true FROM {schema}.job_mappings WHERE id = $1 AND contributor_id = $2 AND commit_key = $3"


@dataclass(frozen=True)
class Backend:
    """What the handlers work with.

    Args:
        postgres: The platform's database.
        redis: Its cache.
        schema: Where its tables are.
        key_prefix: What each key of Redis starts with.
        token: What a caller of the API proves itself by.
    """

    postgres: asyncpg.Pool
    redis: Redis
    schema: str
    key_prefix: str
    token: str

    async def row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """The first row of a statement."""
        return await self.postgres.fetchrow(statement.format(schema=quoted(self.schema)), *values)

    async def sign_in(self, contributor_id: str) -> None:
        """Finds out who a contributor is, in Redis or else in PostgreSQL, and remembers it for a while.

        Raises:
            LookupError: There is nobody of this id.
        """
        key = f"{self.key_prefix}auth:{contributor_id}"
        if await self.redis.exists(key):
            return
        person = await self.row(CONTRIBUTOR, contributor_id)
        if person is None:
            raise LookupError("nobody has this id")
        await self.redis.hset(key, mapping={"email": person["email"], "role": "worker"})
        await self.redis.expire(key, KEEP_SIGNED_IN)


BACKEND = web.AppKey("backend", Backend)


async def health(request: web.Request) -> web.Response:
    """Whether PostgreSQL and Redis answer."""
    backend = request.app[BACKEND]
    await backend.postgres.fetchval("SELECT 1")
    await backend.redis.ping()
    return _answer("OK")


async def fetch(request: web.Request) -> web.Response:
    """Gives a contributor of a job a piece of work."""
    backend, job = request.app[BACKEND], int(request.match_info["job"])
    if (refused := await _refused(request, job)) is not None:
        return refused
    contributor_id = str((await request.json())["contributor_id"])
    await backend.sign_in(contributor_id)
    work = await backend.row(OPEN, job, contributor_id) or await backend.row(NEXT, job, contributor_id)
    return _answer("NOT_IN_JOB", 403) if work is None else _answer("OK", work={"id": str(work["id"])})


async def commit(request: web.Request) -> web.Response:
    """Takes a piece of work; the same idempotency key again is the same commit."""
    backend, job = request.app[BACKEND], int(request.match_info["job"])
    if (refused := await _refused(request, job)) is not None:
        return refused
    key = request.headers.get("Idempotency-Key")
    if not key:
        return _answer("NO_IDEMPOTENCY_KEY", 400)
    contributor_id, work = str((await request.json())["contributor_id"]), int(request.match_info["work"])
    await backend.sign_in(contributor_id)
    try:
        taken = await backend.row(TAKE, work, job, contributor_id, key)
    except asyncpg.IntegrityConstraintViolationError:
        return _answer("REJECTED", 409)
    if taken is None and await backend.row(TAKEN, work, contributor_id, key) is None:
        return _answer("NOT_OPEN", 409)
    return _answer("OK", repeated=taken is None)


async def _refused(request: web.Request, job: int) -> web.Response | None:
    """The answer to somebody who does not know the job's secret."""
    known = await request.app[BACKEND].row(JOB, job)
    if known is None:
        return _answer("JOB_NOT_FOUND", 404)
    if not hmac.compare_digest(known["secret"].encode(), request.headers.get("X-Job-Secret", "").encode()):
        return _answer("BAD_SECRET", 403)
    return None


def _answer(status: str, http: int = 200, **more: Any) -> web.Response:
    return web.json_response({"status": status, **more}, status=http)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _authorized(request: web.Request, handler: Handler) -> web.StreamResponse:
    expected = f"Bearer {request.app[BACKEND].token}".encode()
    if request.path != "/health" and not hmac.compare_digest(
        request.headers.get("Authorization", "").encode(), expected
    ):
        return _answer("UNAUTHORIZED", 401)
    return await handler(request)


@web.middleware
async def _failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except LookupError:
        return _answer("SYSTEM_ERROR", 500)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError):
        log.exception("a store fails")
        return _answer("UNAVAILABLE", 503)


def application(dsn: str, redis_url: str, token: str, schema: str, key_prefix: str) -> web.Application:
    """Makes the server's application.

    Args:
        dsn: PostgreSQL.
        redis_url: Redis.
        token: What a caller proves itself by.
        schema: Where the platform's tables are.
        key_prefix: What each key of Redis starts with.
    """

    async def backend(app: web.Application) -> AsyncIterator[None]:
        redis = Redis.from_url(redis_url)
        async with asyncpg.create_pool(dsn, min_size=0, max_size=8, timeout=5, command_timeout=10) as pool:
            app[BACKEND] = Backend(pool, redis, schema, key_prefix, token)
            yield
        await redis.aclose()

    app = web.Application(middlewares=[_failures, _authorized])
    app.cleanup_ctx.append(backend)
    app.router.add_get("/health", health)
    app.router.add_post(r"/api/v1/jobs/{job:\d{1,18}}/fetch", fetch)
    app.router.add_post(r"/api/v1/jobs/{job:\d{1,18}}/units/{work:\d{1,18}}/commit", commit)
    return app


def main(
    port: Annotated[int, typer.Option(help="Port of the loopback interface.")],
    schema: Annotated[str, typer.Option(help="PostgreSQL's schema.")] = "public",
    key_prefix: Annotated[str, typer.Option(help="What each key of Redis starts with.")] = "",
) -> None:
    """Serve the platform that the environment's PostgreSQL and Redis hold, until SIGTERM."""
    env = os.environ
    dsn, redis_url, token = env["ERASURE_POSTGRES__DSN"], env["ERASURE_REDIS__URL"], env["ERASURE_API__TOKEN"]
    web.run_app(
        application(dsn, redis_url, token, schema, key_prefix),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        shutdown_timeout=5,
    )


if __name__ == "__main__":
    typer.run(main)
