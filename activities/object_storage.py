"""The one place that makes S3 clients, for the platform's files and for the vault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from activities.errors import CriticalError, ErasureError, TransientError, Translate
from activities.settings import S3Settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

MAX_CONNECTIONS = 32


@asynccontextmanager
async def s3_client(settings: S3Settings) -> AsyncIterator[S3Client]:
    """Opens a client; makes no request.

    Args:
        settings: Where S3 is.

    Yields:
        The client, with time-outs, path-style addresses on endpoints of one's own, and the SDK's standard retries.
    """
    async with aws_client("s3", settings) as client:
        yield client


@asynccontextmanager
async def aws_client(service: Literal["s3", "kms"], settings: S3Settings) -> AsyncIterator[Any]:
    """Opens a client of one of AWS's services; makes no request.

    Args:
        service: The service.
        settings: Where it is, and its keys.
    """
    config = AioConfig(
        connect_timeout=5,
        read_timeout=settings.timeout,
        max_pool_connections=MAX_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
    )
    async with _session().client(
        service,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
        aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
        region_name=settings.region,
        config=config,
    ) as client:
        yield client


@cache
def _session() -> aioboto3.Session:
    """The SDK's session, kept: it reads its model of S3 from disk but once."""
    return aioboto3.Session()


def translate_for(place: str, settings: str) -> Translate:
    """Makes the mapping of S3's errors to the taxonomy.

    An answer that is cut short is aiohttp's error where it is an object, and a parser's where it is a document.

    Args:
        place: Who talks to S3, as messages name it.
        settings: The variables that say where it is.
    """

    def translate(error: Exception) -> ErasureError | None:
        if isinstance(error, ClientError):
            return _answered(place, settings, error)
        if isinstance(error, BotoCoreError | ResponseParserError | aiohttp.ClientError | OSError):
            return TransientError(
                place, f"cannot reach S3 ({type(error).__name__})", f"Check {settings} and the network."
            )
        return None

    return translate


def _answered(place: str, settings: str, error: ClientError) -> ErasureError:
    code = str(error.response.get("Error", {}).get("Code", "?"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in ("NoSuchBucket", "404"):
        return CriticalError(place, "the bucket does not exist", f"Create it, or correct its name ({settings}).")
    if status in (401, 403):
        return CriticalError(place, f"access denied ({code})", "Check the access key and its rights.")
    if status >= 500 or status in (409, 429) or code in ("SlowDown", "RequestTimeout"):
        return TransientError(place, f"S3 answered {status} {code}", "Wait; it is tried again.")
    return CriticalError(place, f"S3 answered {status} {code}", "Look into the S3 server's log.")
