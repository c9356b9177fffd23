"""Pre-images: a record an object, with its body where a write destroys it, in the vault.

pre-image/s3/<slice>                    what the back-up found
pre-image/s3/<slice>/later/<time>-...   what came or changed since, recorded before it is written
pre-image/s3/<slice>/body/<token>       bodies too large for a record
pre-image/s3/<slice>/uploads/<time>-... unfinished uploads, seen by the erasure and aborted by the purge
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.contract import Slice
from activities.stores.s3 import copies
from activities.stores.s3.answers import ABSENT, Reasons, code_of
from activities.stores.s3.digests import Digests, digest_of
from activities.stores.s3.listing import Found
from activities.stores.s3.paging import Pages, side_by_side
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

COPIES = 8
"""Objects whose bodies are copied into the vault at the same time."""

RECORDS = 500
"""Records that are read at a time; each may hold a small body."""

Record = dict[str, Any]


def name_of(part: Slice) -> str:
    """Where in the vault a slice's pre-images are."""
    return f"pre-image/s3/{part.name}"


def new_name(part: Slice, what: str) -> str:
    """A name of its own below the slice's, which sorts by the time it was made."""
    return f"{name_of(part)}/{what}/{time.time_ns():020}-{secrets.token_hex(4)}"


async def keep(
    client: S3Client, found: Sequence[Found], recording: Recording, part: Slice, vault: BatchVault, refused: Reasons
) -> list[Found]:
    """Records objects; copies the bodies that a write would destroy.

    Args:
        client: The client.
        found: The objects.
        recording: Takes the records.
        part: The slice.
        vault: The batch.
        refused: Gathers the errors of objects that could not be copied.

    Returns:
        What was recorded, as it was at that moment: only these may be written.
    """

    async def one(each: Found) -> Pages[tuple[Found, Record | None]]:
        if each.version is not None:
            yield [(each, None)]
            return
        token = vault.masker.token("\0".join(_parts(each)))
        name = f"{name_of(part)}/body/{token.lower()}"
        try:
            copy = await copies.take(client, each, name, vault)
        except ClientError as error:
            if (code := code_of(error)) not in ABSENT:
                refused.setdefault(each.place, Counter())[code] += 1
            return
        yield [(replace(each, etag=copy["etag"], size=copy["size"], modified=copy["modified"]), copy)]

    kept: list[Found] = []
    async for copied in side_by_side(found, one, COPIES):
        for each, copy in copied:
            record = {
                "bucket": each.bucket,
                "key": each.key,
                "etag": each.etag,
                "size": each.size,
                "modified": each.modified,
                "version": each.version,
                "copy": copy,
            }
            await recording.add(each.place, record)
            kept.append(each)
    return kept


async def known(part: Slice, vault: BatchVault) -> Digests:
    """Every object, with its content, that the back-up holds: see `digest`."""
    found = Digests()
    async for _, record in vault.records(name_of(part)):
        named = record["bucket"], record["key"], record["version"] or record["etag"], str(record["modified"])
        found.add(digest_of(*named))
    return found


def digest(found: Found) -> bytes:
    """Tells an object, with its content, apart from any other."""
    return digest_of(*_parts(found))


async def hidden(part: Slice, vault: BatchVault, places: Collection[str]) -> Digests:
    """Every version of some places that outlives its erasure: see `version_digest`."""
    found = Digests()
    async for chunk in newest(part, vault):
        for place, record in chunk:
            if record["version"] and place in places:
                found.add(version_digest(record["bucket"], record["key"], record["version"]))
    return found


def version_digest(bucket: str, key: str, version: str) -> bytes:
    """Tells a version apart from any other."""
    return digest_of(bucket, key, version)


async def newest(part: Slice, vault: BatchVault) -> AsyncIterator[list[tuple[str, Record]]]:
    """Yields places with records, a key once: what it was just before it was written.

    Args:
        part: The slice.
        vault: The batch; without a back-up in it, nothing is yielded.
    """
    name = name_of(part)
    if await vault.receipt(name) is None:
        return
    seen = Digests()
    chunk: list[tuple[str, Record]] = []
    for recorded in [*reversed(await vault.names(f"{name}/later/")), name]:
        async for place, record in vault.records(recorded):
            key = digest_of(record["bucket"], record["key"])
            if key in seen:
                continue
            if recorded != name:
                seen.add(key)
            chunk.append((place, record))
            if len(chunk) >= RECORDS:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _parts(found: Found) -> tuple[str, ...]:
    return found.bucket, found.key, found.version or found.etag, str(found.modified)
