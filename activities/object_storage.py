"""The one place that makes S3 clients, for the platform's files and for the vault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError

from activities.errors import CriticalError, ErasureError, TransientError, Translate
from activities.reachability import unreachable
from activities.settings import S3Settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

MAX_CONNECTIONS = 32

_DENIALS = {
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key is not the access key's",
    "ExpiredToken": "the session has expired",
    "InvalidToken": "the session token is not known",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
"""Refusals that concern no right."""

_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "301"})


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
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            what = "there are no credentials for S3"
            return CriticalError(place, what, "Set __ACCESS_KEY and __SECRET_KEY, or what the AWS SDK looks for.")
        if isinstance(error, ResponseParserError):
            what = "S3's answer was cut short, or what answers is not S3"
            return TransientError(place, what, f"It is tried again; check {settings}.")
        if isinstance(error, BotoCoreError | aiohttp.ClientError | OSError):
            authority = "Name its certificate authority with AWS_CA_BUNDLE where this runs."
            return unreachable(place, error, settings, what="cannot reach S3", authority=authority)
        return None

    return translate


def _answered(place: str, settings: str, error: ClientError) -> ErasureError:
    code = str(error.response.get("Error", {}).get("Code", "?"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in ("NoSuchBucket", "404"):
        return CriticalError(place, "the bucket does not exist", f"Create it, or correct its name ({settings}).")
    if code in _DENIALS:
        return CriticalError(place, f"access denied ({code}): {_DENIALS[code]}", "Check the access key and its secret.")
    if status in (401, 403):
        return CriticalError(place, f"access denied ({code})", "Check the access key and its rights.")
    if code in _ELSEWHERE:
        return CriticalError(place, f"the bucket is in another region ({code})", "Set its __REGION.")
    if status >= 500 or status in (409, 429) or code in ("SlowDown", "RequestTimeout"):
        return TransientError(place, f"S3 answered {status} {code}", "Wait; it is tried again.")
    if not code.strip("?"):
        return CriticalError(place, f"what answers is not S3 ({status})", f"Check {settings}, and proxies.")
    return CriticalError(place, f"S3 answered {status} {code}", "Look into the S3 server's log.")
