"""The platform's own connections, from the environment that the product reads too; apart from the product's clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import aioboto3
import aiohttp
import asyncpg
from aiobotocore.config import AioConfig
from aiochclient import ChClient
from elasticsearch import AsyncElasticsearch
from redis.asyncio import Redis

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

S3_CONNECTIONS = 16

MAX_QUERY_SIZE = 16 * 2**20
"""Bytes: the census names everybody of a batch in its query."""


@dataclass(frozen=True)
class Clients:
    """One client a store."""

    postgres: asyncpg.Pool
    elasticsearch: AsyncElasticsearch
    clickhouse: ChClient
    s3: S3Client
    redis: Redis


@asynccontextmanager
async def connect(env: Mapping[str, str]) -> AsyncIterator[Clients]:
    """Opens a client a store.

    Args:
        env: The ``ERASURE_...`` variables.

    Yields:
        The clients; they are closed at the end.
    """
    async with AsyncExitStack() as opened:
        postgres = await opened.enter_async_context(
            asyncpg.create_pool(env["ERASURE_POSTGRES__DSN"], min_size=1, max_size=4)
        )
        elasticsearch = await opened.enter_async_context(
            AsyncElasticsearch(env["ERASURE_ELASTICSEARCH__URL"], request_timeout=120)
        )
        http = await opened.enter_async_context(aiohttp.ClientSession())
        clickhouse = ChClient(
            http,
            url=env["ERASURE_CLICKHOUSE__URL"],
            user=env.get("ERASURE_CLICKHOUSE__USER"),
            password=env.get("ERASURE_CLICKHOUSE__PASSWORD"),
            max_query_size=MAX_QUERY_SIZE,
        )
        s3 = await opened.enter_async_context(
            _session().client(
                "s3",
                endpoint_url=env.get("ERASURE_S3__ENDPOINT_URL"),
                aws_access_key_id=env.get("ERASURE_S3__ACCESS_KEY"),
                aws_secret_access_key=env.get("ERASURE_S3__SECRET_KEY"),
                region_name=env.get("ERASURE_S3__REGION", "us-east-1"),
                # The client's own time is what thousands of small objects cost most: no checks that S3 makes again.
                config=AioConfig(
                    max_pool_connections=S3_CONNECTIONS,
                    parameter_validation=False,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"},
                ),
            )
        )
        redis = Redis.from_url(env["ERASURE_REDIS__URL"])
        opened.push_async_callback(redis.aclose)
        yield Clients(postgres, elasticsearch, clickhouse, s3, redis)


@cache
def _session() -> aioboto3.Session:
    """The SDK's session, kept: it reads its model of S3 from disk but once."""
    return aioboto3.Session()
