"""Deleting keys or versions, a thousand a request, with every key's own error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.errors import CriticalError, ErasureError, TransientError
from activities.stores.s3 import listing
from activities.stores.s3.answers import Reasons, code_of, listed
from activities.stores.s3.listing import Found, Version

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

PASSING = frozenset(
    {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "PreconditionFailed"}
)
"""Codes of a single key's failure that pass by themselves; the last one says that it was written anew meanwhile."""

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "InvalidArgument"})
"""Codes by which real gateways say, among other things, that a version is gone already."""

_UNFIT_FOR_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Failed = list[tuple[Found | Version, str]]


async def delete(
    client: S3Client, objects: Sequence[Found] | Sequence[Version], refused: Reasons
) -> tuple[Counter[str], Failed]:
    """Deletes objects, or versions for ever.

    Args:
        client: The client.
        objects: At most a thousand of one bucket.
        refused: Gathers the errors.

    Returns:
        How many were deleted, by place; and those that were refused, with S3's codes.
    """
    if not objects:
        return Counter(), []
    by_name: dict[tuple[str, str | None], Found | Version] = {_name(each): each for each in objects}
    failed = await _delete_singly(client, [each for each in objects if _UNFIT_FOR_XML.search(each.key)])
    many = [_identifier(each) for each in objects if not _UNFIT_FOR_XML.search(each.key)]
    if many:
        answer = await client.delete_objects(Bucket=objects[0].bucket, Delete={"Objects": many, "Quiet": True})
        for error in answer.get("Errors", []):
            by_id = by_name.get((error.get("Key", ""), error.get("VersionId") or None))
            each = by_id or by_name[error.get("Key", ""), None]
            failed.append((each, error.get("Code", "?")))
    kept = [(each, code) for each, code in failed if not await _is_gone(client, each, code)]
    for each, code in kept:
        refused.setdefault(each.place, Counter())[code] += 1
    deleted = Counter(each.place for each in objects)
    deleted.subtract(each.place for each, _ in kept)
    return deleted, kept


async def _delete_singly(client: S3Client, objects: Sequence[Found | Version]) -> Failed:
    """Keys with characters that XML cannot carry would have the whole request refused."""
    failed: Failed = []
    for each in objects:
        identifier = _identifier(each)
        named: dict[str, Any] = {"Bucket": each.bucket, "Key": each.key}
        if isinstance(each, Version):
            named["VersionId"] = each.version
        if "ETag" in identifier:
            named["IfMatch"] = identifier["ETag"]
        try:
            await client.delete_object(**named)
        except ClientError as error:
            failed.append((each, code_of(error)))
    return failed


async def _is_gone(client: S3Client, each: Found | Version, code: str) -> bool:
    if code not in _GONE:
        return False
    if isinstance(each, Found):
        return code == "NoSuchKey"
    left = await listing.stack(client, each.bucket, each.key, each.place)
    return each.version not in {version.version for version in left}


def _name(each: Found | Version) -> tuple[str, str | None]:
    return each.key, each.version if isinstance(each, Version) else None


def _identifier(each: Found | Version) -> ObjectIdentifierTypeDef:
    if isinstance(each, Version):
        return {"Key": each.key, "VersionId": each.version}
    if each.version is None:
        return {"Key": each.key, "ETag": each.etag}  # destroys it: only what was copied, where the server can tell
    return {"Key": each.key}


def refusal(refused: Reasons, of: Mapping[str, int]) -> ErasureError:
    """What becomes of keys that S3 did not delete or read.

    Args:
        refused: Codes with their counts, by place.
        of: How many were tried, by place.
    """
    places = [
        f"{place}: {counts.total():,} of {of.get(place, 0):,} ({listed(counts)})" for place, counts in refused.items()
    ]
    what = f"some objects were refused: {'; '.join(places)}"
    if {code for counts in refused.values() for code in counts} <= PASSING:
        return TransientError("s3", what, "Wait; it is tried again.")
    remedy = "Look for missing rights, object locks, legal holds and archived storage classes; then try again."
    return CriticalError("s3", what, remedy)
