"""Copies: an object with all that belongs to it, into the vault and back, where a write would destroy it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from activities.stores.s3.answers import CHANGED, code_of
from activities.stores.s3.listing import Found
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import TagTypeDef

BODY_CHUNK = 1024 * 1024

SMALL = 32 * 1024
"""Bodies of at most so many bytes lie in the record itself: a hundred in one object of the vault, not one in two."""

PART_SIZE = 16 * 1024 * 1024
"""Bytes a part of an upload, and what one upload holds in memory; a smaller body goes in one request."""

HEADERS = (
    "ContentType",
    "ContentEncoding",
    "ContentDisposition",
    "ContentLanguage",
    "CacheControl",
    "Metadata",
    "StorageClass",
    "WebsiteRedirectLocation",
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "BucketKeyEnabled",
)
"""What an exact copy of an object needs besides its body, its tags and the end of its life in caches."""


async def take(client: S3Client, found: Found, name: str, vault: BatchVault) -> dict[str, Any]:
    """Copies an object into the vault.

    Args:
        client: The client.
        found: The object.
        name: Where in the vault a large body goes.
        vault: The batch.

    Returns:
        The body or where it is, what belongs to it, and which object it was, as JSON values.

    Raises:
        ClientError: It cannot be read; it may have gone since it was listed.
    """
    answer = await client.get_object(Bucket=found.bucket, Key=found.key)
    copy: dict[str, Any] = {
        "etag": answer["ETag"],
        "size": answer["ContentLength"],
        "modified": math.floor(answer["LastModified"].timestamp()),
        "headers": headers(answer),
        "tags": [],
    }
    digest = hashlib.sha256()
    body = answer["Body"]
    async with body:
        if answer["ContentLength"] <= SMALL:
            small = await body.read()
            digest.update(small)
            copy["body"] = base64.b64encode(small).decode()
        else:
            copy["name"] = name
            async with vault.recording(name) as recording:
                async for chunk in body.iter_chunks(BODY_CHUNK):
                    digest.update(chunk)
                    await recording.write(chunk)
    if answer.get("TagCount", 0) > 0:
        copy["tags"] = (await client.get_object_tagging(Bucket=found.bucket, Key=found.key))["TagSet"]
    return {**copy, "sha256": digest.hexdigest()}


def headers(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to an object, out of S3's answer, as it is said when it is put again."""
    kept = {name: answer[name] for name in HEADERS if name in answer}
    return kept | ({"Expires": answer["ExpiresString"]} if "ExpiresString" in answer else {})


async def chunks(copy: Mapping[str, Any], vault: BatchVault) -> AsyncIterator[bytes]:
    """Yields a copy's body."""
    if "body" in copy:
        yield base64.b64decode(copy["body"])
        return
    async for chunk in vault.chunks(copy["name"]):
        yield chunk


async def put_back(client: S3Client, record: Mapping[str, Any], vault: BatchVault, over: str | None = None) -> bool:
    """Puts an object back as it was, unless there is another one of that key.

    Args:
        client: The client.
        record: Its pre-image.
        vault: The batch.
        over: The tag of the object that it is to replace; None where there must be none.

    Returns:
        Whether it was put; False where somebody wrote the key anew.
    """
    copy = record["copy"]
    where: dict[str, Any] = {"Bucket": record["bucket"], "Key": record["key"]}
    made: dict[str, Any] = {**where, **copy["headers"]}
    if copy["tags"]:
        made["Tagging"] = tagging(copy["tags"])
    guard: dict[str, Any] = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
    try:
        if record["size"] <= PART_SIZE:
            body = b"".join([chunk async for chunk in chunks(copy, vault)])
            await client.put_object(**made, Body=body, **guard)
        else:
            await _put_large(client, where, made, chunks(copy, vault), guard)
    except ClientError as error:
        if code_of(error) in CHANGED:
            return False
        raise
    return True


def tagging(tags: Sequence[TagTypeDef]) -> str:
    """Tags as they are said when an object is put."""
    return urlencode({tag["Key"]: tag["Value"] for tag in tags})


async def _put_large(
    client: S3Client,
    where: dict[str, Any],
    made: dict[str, Any],
    body: AsyncIterator[bytes],
    guard: dict[str, Any],
) -> None:
    upload = (await client.create_multipart_upload(**made))["UploadId"]
    parts: list[dict[str, Any]] = []

    async def put(piece: bytes) -> None:
        number = len(parts) + 1
        answer = await client.upload_part(**where, UploadId=upload, PartNumber=number, Body=piece)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    try:
        buffer = bytearray()
        async for chunk in body:
            buffer += chunk
            while len(buffer) >= PART_SIZE:
                await put(bytes(buffer[:PART_SIZE]))
                del buffer[:PART_SIZE]
        if buffer:
            await put(bytes(buffer))
        done: Any = {"Parts": parts}
        await client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=done, **guard)
    except BaseException:  # a cancelled one too: nothing unfinished is left; it is raised again
        await client.abort_multipart_upload(**where, UploadId=upload)
        raise


async def is_same(client: S3Client, record: Mapping[str, Any], etag: str, size: int) -> bool:
    """Whether an object that is there now is the one of a pre-image.

    An equal ETag says so at once. Another one may come from an upload in parts of other sizes: then the bodies decide.

    Args:
        client: The client.
        record: The pre-image.
        etag: Of the object that is there.
        size: Of the object that is there, in bytes.
    """
    if etag == record["etag"]:
        return True
    if size != record["size"]:
        return False
    digest = hashlib.sha256()
    answer = await client.get_object(Bucket=record["bucket"], Key=record["key"])
    body = answer["Body"]
    async with body:
        async for chunk in body.iter_chunks(BODY_CHUNK):
            digest.update(chunk)
    return bool(digest.hexdigest() == record["copy"]["sha256"])
