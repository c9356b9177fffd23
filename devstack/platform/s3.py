"""The platform's S3: what contributors uploaded, their pictures, and files that belong to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from devstack.platform.people import AWKWARD, BYSTANDERS, Person
from devstack.platform.plan import PROJECTS, SEED, Size

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

CONCURRENCY = 16

_FILES = (
    ("id-card.jpg", "image/jpeg", b"\xff\xd8\xff\xe0"),
    ("certificate.pdf", "application/pdf", b"%PDF-1.7\n"),
    ("contract.pdf", "application/pdf", b"%PDF-1.7\n"),
    ("voice sample.wav", "audio/wav", b"RIFF"),
)


@dataclass(frozen=True)
class Upload:
    """One object to put.

    Args:
        key: Its key.
        body: Its bytes.
        content_type: Its media type.
        metadata: Its user metadata.
        tags: Its tags, as in a URL's query.
    """

    key: str
    body: bytes
    content_type: str
    metadata: dict[str, str]
    tags: str = ""


async def create(client: S3Client, bucket: str = "platform-files") -> None:
    """Makes the bucket, versioned; fails where it exists already.

    Args:
        client: Connected to the platform's S3.
        bucket: Its name.
    """
    await client.create_bucket(Bucket=bucket)
    await client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


async def drop(client: S3Client, bucket: str = "platform-files") -> None:
    """Deletes the bucket with every version in it."""
    try:
        async for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if found:
                versions: list[ObjectIdentifierTypeDef] = [
                    {"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in found
                ]
                await client.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
        await client.delete_bucket(Bucket=bucket)
    except client.exceptions.NoSuchBucket:
        return


async def load(
    client: S3Client, people: Sequence[Person], size: Size, bucket: str = "platform-files", seed: int = SEED
) -> None:
    """Puts the objects, several at a time; a few get a second version.

    Args:
        client: Connected to the platform's S3.
        people: The contributors.
        size: Says how many objects.
        bucket: Where they go.
        seed: The same seed makes the same objects.
    """
    random = Random(f"s3 {seed}")
    first = [
        *_files(people, size, random),
        *_avatars(people, size, random),
        *_shared(size.shared_files, random),
    ]
    second = [Upload(one.key, one.body + b"2", one.content_type, one.metadata) for one in first[::50]]
    for uploads in (first, second):
        await _put(client, bucket, uploads)


async def _put(client: S3Client, bucket: str, uploads: Sequence[Upload]) -> None:
    waiting = iter(uploads)

    async def work() -> None:
        for upload in waiting:
            await client.put_object(
                Bucket=bucket,
                Key=upload.key,
                Body=upload.body,
                ContentType=upload.content_type,
                Metadata=upload.metadata,
                Tagging=upload.tags,
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


def _files(people: Sequence[Person], size: Size, random: Random) -> Iterator[Upload]:
    for person in _owners(people, size.file_owners, random):
        for name, media, magic in random.sample(_FILES, random.choice((1, 1, 2, 2, 3, 4))):
            noted = random.random() < 0.3
            yield Upload(
                f"contributors/{person.contributor_id}/{name}",
                magic + random.randbytes(random.randint(40, 400)),
                media,
                {"source": "upload-form", "checked": "yes"} if noted else {},
                "kind=evidence&keep=no" if noted else "",
            )


def _avatars(people: Sequence[Person], size: Size, random: Random) -> Iterator[Upload]:
    for person in _owners(people, size.avatars, random):
        body = b"\x89PNG\r\n\x1a\n" + random.randbytes(60)
        yield Upload(f"avatars/{person.contributor_id}.png", body, "image/png", {})


def _shared(count: int, random: Random) -> Iterator[Upload]:
    for number in range(count):
        key = f"projects/project-{random.choice(PROJECTS)}/guidelines-v{number:04d}.md"
        yield Upload(key, b"# Guidelines\n" + random.randbytes(30).hex().encode(), "text/markdown", {})


def _owners(people: Sequence[Person], count: int, random: Random) -> list[Person]:
    """The awkward ones with their bystanders, the inactive, and then whoever is drawn."""
    singled_out = len(AWKWARD) + len(BYSTANDERS)
    first = [
        *people[:singled_out],
        *(person for person in people[singled_out:] if person.status == "INACTIVE"),
    ]
    others = [person for person in people[singled_out:] if person.status == "ACTIVE"]
    return [*first, *random.sample(others, max(0, min(count - len(first), len(others))))][:count]
