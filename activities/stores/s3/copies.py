"""Copies: an object with all that belongs to it, into the vault and back, where a delete would destroy it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from activities.stores.s3.listing import Found
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

BODY_CHUNK = 1024 * 1024

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
)
"""What an exact copy of an object needs besides its body and tags."""


async def take(client: S3Client, found: Found, name: str, vault: BatchVault) -> dict[str, Any]:
    """Copies an object into the vault.

    Args:
        client: The client.
        found: The object.
        name: Where in the vault its body goes.
        vault: The batch.

    Returns:
        Where the body is and what belongs to it, as JSON values.
    """
    bucket, key = found.template.bucket, found.key
    answer = await client.get_object(Bucket=bucket, Key=key)
    body = answer["Body"]
    digest = hashlib.sha256()
    async with body, vault.recording(name) as recording:
        async for chunk in body.iter_chunks(BODY_CHUNK):
            digest.update(chunk)
            await recording.write(chunk)
    tagged = answer.get("TagCount", 0) > 0
    tags = (await client.get_object_tagging(Bucket=bucket, Key=key))["TagSet"] if tagged else []
    headers = {name: value for name, value in answer.items() if name in HEADERS}
    return {"name": name, "sha256": digest.hexdigest(), "tags": tags, "headers": headers}


async def put_back(client: S3Client, record: Mapping[str, Any], vault: BatchVault) -> bool:
    """Puts an object back as it was, unless there is one of that key again.

    Args:
        client: The client.
        record: Its pre-image.
        vault: The batch.

    Returns:
        Whether it was put; False where somebody made the key anew.
    """
    copy = record["copy"]
    where: dict[str, Any] = {"Bucket": record["bucket"], "Key": record["key"]}
    made: dict[str, Any] = {**where, **copy["headers"]}
    if copy["tags"]:
        made["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in copy["tags"]})
    try:
        if record["size"] <= PART_SIZE:
            body = b"".join([chunk async for chunk in vault.chunks(copy["name"])])
            await client.put_object(**made, Body=body, IfNoneMatch="*")
        else:
            await _put_large(client, where, made, vault.chunks(copy["name"]))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
            return False
        raise
    return True


async def _put_large(
    client: S3Client, where: dict[str, Any], made: dict[str, Any], chunks: AsyncIterator[bytes]
) -> None:
    upload = (await client.create_multipart_upload(**made))["UploadId"]
    parts: list[dict[str, Any]] = []

    async def put(body: bytes) -> None:
        number = len(parts) + 1
        answer = await client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    try:
        buffer = bytearray()
        async for chunk in chunks:
            buffer += chunk
            while len(buffer) >= PART_SIZE:
                await put(bytes(buffer[:PART_SIZE]))
                del buffer[:PART_SIZE]
        if buffer:
            await put(bytes(buffer))
        done: Any = {"Parts": parts}
        await client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=done, IfNoneMatch="*")
    except (ClientError, asyncio.CancelledError):
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
