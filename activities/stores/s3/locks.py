"""Object lock: what retention or a legal hold keeps from being purged, told before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.stores.s3.answers import Reasons, passes
from activities.stores.s3.listing import Found, Version
from activities.stores.s3.paging import Pages, side_by_side

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LOOKS = 16
"""Objects that are asked for their locks at the same time."""


async def rule(client: S3Client, bucket: str) -> str | None:
    """What object lock does to new objects of a bucket, in words; None where the bucket has none."""
    try:
        answer = await client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as error:
        if passes(error):
            raise
        return None  # so answers a bucket without it, and a server that knows of no locks
    default = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    if not default:
        return "object lock"
    length = f"{default['Days']:,} days" if "Days" in default else f"{default.get('Years', 0):,} years"
    return f"object lock, {default.get('Mode', '?').lower()}, {length}"


async def held(client: S3Client, found: Sequence[Found], reasons: Reasons) -> None:
    """Counts the objects that are locked now; a marker hides them, and no purge can delete them yet.

    Args:
        client: The client.
        found: Objects of a bucket with object lock.
        reasons: Gathers why.
    """

    async def look(each: Found) -> Pages[tuple[str, str]]:
        try:
            answer = await client.head_object(Bucket=each.bucket, Key=each.key)
        except ClientError as error:
            if passes(error):
                raise
            return  # gone since, or not to be read: a purge that fails tells
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            yield [(each.place, "legal hold")]
        elif mode := answer.get("ObjectLockMode"):
            yield [(each.place, f"{mode.lower()} until {answer['ObjectLockRetainUntilDate']:%Y-%m-%d}")]

    async for looked in side_by_side(found, look, LOOKS):
        for place, reason in looked:
            reasons.setdefault(place, Counter())[reason] += 1


async def why(client: S3Client, refused: Sequence[tuple[Version, str]], reasons: Reasons) -> None:
    """Counts why versions could not be deleted: by which lock, or S3's own code.

    Args:
        client: The client.
        refused: The versions with their codes.
        reasons: Gathers why.
    """

    async def look(pair: tuple[Version, str]) -> Pages[tuple[str, str]]:
        each, code = pair
        yield [(each.place, await _lock(client, each) or code)]

    async for looked in side_by_side(refused, look, LOOKS):
        for place, reason in looked:
            reasons.setdefault(place, Counter())[reason] += 1


async def _lock(client: S3Client, each: Version) -> str | None:
    hold = await _answer(client.get_object_legal_hold, each)
    if hold.get("LegalHold", {}).get("Status") == "ON":
        return "legal hold"
    retention = (await _answer(client.get_object_retention, each)).get("Retention")
    return f"{retention['Mode'].lower()} until {retention['RetainUntilDate']:%Y-%m-%d}" if retention else None


async def _answer(ask: Callable[..., Awaitable[Any]], each: Version) -> dict[str, Any]:
    """What is set on a version; nothing where nothing ever was, or it may not be read."""
    try:
        return dict(await ask(Bucket=each.bucket, Key=each.key, VersionId=each.version))
    except ClientError as error:
        if passes(error):
            raise
        return {}
