"""Rights, each tried on a key that nobody has, below each place of the data map: nothing comes of it.

A read finds no object; a write is guarded by a content that is not there; a version is deleted that never was. Only
one try has an effect: in a bucket that keeps versions, deleting what is not there leaves a delete marker. So it is
made only by a user who may take that marker away again, which is done at once.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Finding
from activities.stores.s3.answers import code_of, passes
from activities.stores.s3.data_map import ContentRule, ObjectTemplate
from activities.stores.s3.listing import NULL, Versioning

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

NO_CONTENT = f'"{"0" * 32}"'
"""An ETag that no object has."""

DENIED = frozenset({"AccessDenied", "403", "AllAccessDisabled"})


class Right(StrEnum):
    """What a user may have to be allowed."""

    READ = "s3:GetObject"
    WRITE = "s3:PutObject"
    DELETE = "s3:DeleteObject"
    DELETE_VERSION = "s3:DeleteObjectVersion"


_WORDS = {
    Right.READ: ("read objects", "s3:GetObject"),
    Right.WRITE: ("write objects", "s3:PutObject"),
    Right.DELETE: ("delete objects", "s3:DeleteObject"),
    Right.DELETE_VERSION: ("delete versions", "s3:DeleteObjectVersion and, where the server is MinIO, s3:DeleteObject"),
}


def needed(place: ObjectTemplate | ContentRule, versioning: Versioning) -> set[Right]:
    """What an erasure needs in a place, its rollback and its shredding included.

    Args:
        place: Of the data map.
        versioning: How its bucket keeps versions.
    """
    masks = isinstance(place, ContentRule) and place.then == "mask"
    rights = {Right.READ, Right.WRITE} if masks else {Right.DELETE}
    if isinstance(place, ContentRule):
        rights |= {Right.READ}
    if versioning is not None:
        rights |= {Right.DELETE_VERSION}
    if versioning != "Enabled":  # the body goes into the vault, and back
        rights |= {Right.READ, Right.WRITE}
    return rights


async def missing(
    client: S3Client, place: ObjectTemplate | ContentRule, versioning: Versioning
) -> AsyncIterator[Finding]:
    """Yields the rights that the user lacks in a place.

    Args:
        client: The client.
        place: Of the data map.
        versioning: How its bucket keeps versions.
    """
    wanted = needed(place, versioning)
    if isinstance(place, ContentRule):
        text, form = place.objects, place.form.key
    else:
        text, form = place.text, f"{place.before}*{place.after}"
    key = form.replace("*", f"erasure-check-{secrets.token_hex(8)}")
    key += f"erasure-check-{secrets.token_hex(8)}" if not key or key.endswith("/") else ""
    for right in await _refused(client, place.bucket, key, wanted):
        what, grant = _WORDS[right]
        yield Finding(text, f"the user may not {what}", f"Grant {grant} on these keys.")


async def _refused(client: S3Client, bucket: str, key: str, wanted: Collection[Right]) -> list[Right]:
    refused: list[Right] = []
    if Right.READ in wanted and await _code(_read(client, bucket, key)) in DENIED:
        refused.append(Right.READ)
    if Right.WRITE in wanted and await _code(_write(client, bucket, key)) in DENIED:
        refused.append(Right.WRITE)
    if Right.DELETE_VERSION in wanted and await _code(_delete(client, bucket, key, NULL)) in DENIED:
        refused.append(Right.DELETE_VERSION)
    elif Right.DELETE in wanted and await _code(_delete(client, bucket, key)) in DENIED:
        refused.append(Right.DELETE)
    return refused


async def _read(client: S3Client, bucket: str, key: str) -> str:
    await client.get_object(Bucket=bucket, Key=key)
    return ""


async def _write(client: S3Client, bucket: str, key: str) -> str:
    made = await client.put_object(Bucket=bucket, Key=key, Body=b"", IfMatch=NO_CONTENT)
    # only a server that knows no guard gets here: what it made goes again
    return await _delete(client, bucket, key, made.get("VersionId"))


async def _delete(client: S3Client, bucket: str, key: str, version: str | None = None) -> str:
    """Deletes as a phase does, whose requests name many keys: some servers ask for other rights then."""
    named: ObjectIdentifierTypeDef = {"Key": key, "VersionId": version} if version else {"Key": key}
    answer = await client.delete_objects(Bucket=bucket, Delete={"Objects": [named]})
    for error in answer.get("Errors", []):
        return error.get("Code", "?")
    for deleted in answer.get("Deleted", []):
        if deleted.get("DeleteMarker") and version is None and (marker := deleted.get("DeleteMarkerVersionId")):
            return await _delete(client, bucket, key, marker)
    return ""


async def _code(trial: Awaitable[str]) -> str:
    """By what a trial is refused; nothing where it is not."""
    try:
        return await trial
    except ClientError as error:
        if passes(error):
            raise
        return code_of(error)
