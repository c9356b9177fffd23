"""Listing: the objects of a slice's people, and every version of them, several prefixes at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from activities.contract import Slice
from activities.identities import IdentitySet
from activities.stores.s3.data_map import ObjectTemplate

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import DeleteMarkerEntryTypeDef, ObjectVersionTypeDef

CHUNK = 1_000
"""Keys a delete request: S3's own limit."""

LISTINGS = 16
"""Prefixes that are listed at the same time."""

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """An object as it stands now.

    Args:
        template: What found it.
        key: Its key.
        etag: Its body's tag.
        size: In bytes.
        version: Its version's id, in a versioned bucket.
    """

    template: ObjectTemplate
    key: str
    etag: str
    size: int
    version: str | None

    @property
    def identity(self) -> str:
        """Tells this object, with this content, apart from any other."""
        return "\0".join((self.template.bucket, self.key, self.version or self.etag))


@dataclass(frozen=True)
class Version:
    """One version of a key, or one delete marker.

    Args:
        template: What found it.
        key: Its key.
        version: Its id.
        is_marker: Whether it is a delete marker.
        is_latest: Whether it is on top: what a reader without a version sees.
    """

    template: ObjectTemplate
    key: str
    version: str
    is_marker: bool
    is_latest: bool


async def objects(client: S3Client, templates: Sequence[ObjectTemplate], part: Slice) -> AsyncIterator[list[Found]]:
    """Yields the current objects of a slice, in chunks of one template.

    Args:
        client: The client.
        templates: Where to look.
        part: Whose.
    """
    people = IdentitySet([contributor async for page in part.pages() for contributor in page])
    for template in templates:
        versioned = await is_versioned(client, template.bucket)

        def pages(key: str, template: ObjectTemplate = template, versioned: bool = versioned) -> Pages[Found]:
            return _current(client, template, key) if versioned else _plain(client, template, key)

        async for chunk in _side_by_side(template.keys(people), pages):
            yield chunk


async def versions(
    client: S3Client, templates: Sequence[ObjectTemplate], part: Slice
) -> AsyncIterator[list[list[Version]]]:
    """Yields every version and delete marker of a slice's people: chunks of stacks, a stack a key, the newest first.

    Args:
        client: The client.
        templates: Where to look; those in buckets without versions are passed over.
        part: Whose.
    """
    people = IdentitySet([contributor async for page in part.pages() for contributor in page])
    for template in templates:
        if not await is_versioned(client, template.bucket):
            continue

        def pages(key: str, template: ObjectTemplate = template) -> Pages[list[Version]]:
            return _stacks(client, template, key)

        async for stacks in _side_by_side(template.keys(people), pages):
            yield stacks


async def is_versioned(client: S3Client, bucket: str) -> bool:
    """Whether a delete leaves the object below a marker; a suspended bucket destroys its null version."""
    return (await client.get_bucket_versioning(Bucket=bucket)).get("Status") == "Enabled"


Pages = AsyncIterator[list[T]]


async def _plain(client: S3Client, template: ObjectTemplate, key: str) -> Pages[Found]:
    async for listed in client.get_paginator("list_objects_v2").paginate(Bucket=template.bucket, Prefix=key):
        yield [
            Found(template, item["Key"], item["ETag"], item["Size"], None)
            for item in listed.get("Contents", [])
            if template.is_prefix or item["Key"] == key
        ]
        if not template.is_prefix:
            return  # keys come in order: the exact one comes first


async def _current(client: S3Client, template: ObjectTemplate, key: str) -> Pages[Found]:
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=template.bucket, Prefix=key):
        yield [
            Found(template, entry["Key"], entry["ETag"], entry["Size"], entry["VersionId"])
            for entry in page.get("Versions", [])
            if entry["IsLatest"] and (template.is_prefix or entry["Key"] == key)
        ]
        if not template.is_prefix and page.get("NextKeyMarker", key) != key:
            return


async def _stacks(client: S3Client, template: ObjectTemplate, key: str) -> Pages[list[Version]]:
    """Versions and markers come in two lists: they are joined to one stack a key, in the order of their time."""
    stack: list[tuple[float, Version]] = []
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=template.bucket, Prefix=key):
        entries: list[tuple[ObjectVersionTypeDef | DeleteMarkerEntryTypeDef, bool]] = [
            *((entry, False) for entry in page.get("Versions", [])),
            *((entry, True) for entry in page.get("DeleteMarkers", [])),
        ]
        stacks: list[list[Version]] = []
        for entry, is_marker in sorted(entries, key=lambda pair: pair[0]["Key"]):
            if not template.is_prefix and entry["Key"] != key:
                continue
            version = Version(template, entry["Key"], entry["VersionId"], is_marker, entry["IsLatest"])
            if stack and stack[0][1].key != version.key:
                stacks.append(_newest_first(stack))
                stack = []
            stack.append((entry["LastModified"].timestamp(), version))
        yield stacks
    if stack:
        yield [_newest_first(stack)]


def _newest_first(stack: list[tuple[float, Version]]) -> list[Version]:
    return [version for _, version in sorted(stack, key=lambda pair: (pair[1].is_latest, pair[0]), reverse=True)]


async def _side_by_side(keys: Sequence[str], pages: Callable[[str], Pages[T]]) -> Pages[T]:
    """Lists `LISTINGS` prefixes at a time, and joins what comes to chunks of `CHUNK`."""
    waiting = iter(keys)
    queue: asyncio.Queue[list[T] | None] = asyncio.Queue(LISTINGS)

    async def work(waiting: Iterator[str]) -> None:
        for key in waiting:
            async for page in pages(key):
                await queue.put(page)

    workers = [asyncio.create_task(work(waiting)) for _ in range(LISTINGS)]
    closing = asyncio.create_task(_close(queue, workers))
    try:
        chunk: list[T] = []
        while (page := await queue.get()) is not None:
            chunk += page
            while len(chunk) >= CHUNK:
                yield chunk[:CHUNK]
                del chunk[:CHUNK]
        await asyncio.gather(*workers)
        if chunk:
            yield chunk
    finally:
        for task in (*workers, closing):
            task.cancel()
        await asyncio.gather(*workers, closing, return_exceptions=True)


async def _close(queue: asyncio.Queue[list[T] | None], workers: Sequence[asyncio.Task[None]]) -> None:
    """Says that no page will come any more, once all have ended, however they ended."""
    await asyncio.wait(workers)
    await queue.put(None)
