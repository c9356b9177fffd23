"""The way back, and its end: delete markers taken away, copies put back, versions purged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activities.contract import Finding, Heartbeat, Purged, Recovery, Restored, Slice
from activities.stores.s3 import copies, listing
from activities.stores.s3.data_map import ObjectTemplate
from activities.stores.s3.deleting import PASSING, codes, delete, refusal
from activities.stores.s3.listing import CHUNK, Found, Version
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

PUTS = 4
"""Objects that are put back at the same time; each may hold a part of an upload in memory."""

Key = tuple[str, str]
"""Bucket and key."""


async def restore(
    client: S3Client, templates: Sequence[ObjectTemplate], part: Slice, vault: BatchVault, heartbeat: Heartbeat
) -> Restored:
    """Puts the objects of a slice back as they were just before they were deleted.

    Args:
        client: The client.
        templates: Where the slice's objects are.
        part: The slice.
        vault: The batch.
        heartbeat: Told of every chunk.
    """
    wanted = await _pre_images(part, vault)
    places: dict[str, Recovery] = {template.text: Recovery() for template in templates}
    for place, _ in wanted.values():
        places[place] += Recovery(found=1)
    below = {key: (place, records) for key, (place, records) in wanted.items() if records[-1]["version"]}
    async for stacks in listing.versions(client, templates, part):
        await _uncover(client, stacks, below, places)
        heartbeat("versions", len(stacks))
    for place, _ in below.values():
        places[place] += Recovery(conflicted=1)  # not listed any more: somebody purged it
    copied = {key: (place, records[-1]) for key, (place, records) in wanted.items() if records[-1]["copy"]}
    there: dict[Key, Found] = {}
    if copied:
        async for chunk in listing.objects(client, templates, part):
            there |= {(found.template.bucket, found.key): found for found in chunk}
    room = asyncio.Semaphore(PUTS)

    async def put(key: Key, place: str, record: dict[str, Any]) -> None:
        async with room:
            recovery = await _put_back(client, record, there.get(key), vault)
            places[place] += recovery  # not in one line with the await: others add meanwhile
            heartbeat(place, places[place].restored)

    await asyncio.gather(*(put(key, place, record) for key, (place, record) in copied.items()))
    remedy = "They were uploaded anew or purged by somebody since; that was kept. Compare them by hand."
    warnings = [
        Finding(place, f"{recovery.conflicted:,} objects could not be put back", remedy)
        for place, recovery in places.items()
        if recovery.conflicted
    ]
    return Restored(places, warnings)


async def purge(client: S3Client, templates: Sequence[ObjectTemplate], part: Slice, heartbeat: Heartbeat) -> Purged:
    """Deletes every version of the slice's files but those that were uploaded since, and the markers above them.

    Args:
        client: The client.
        templates: Where the slice's objects are.
        part: The slice.
        heartbeat: Told of every chunk.
    """
    places: dict[str, int] = {}
    refused: dict[str, int] = {}
    alive = 0
    async for stacks in listing.versions(client, templates, part):
        doomed: list[Version] = []
        for stack in stacks:
            alive += (uploaded_since := not stack[0].is_marker)
            doomed += stack[1:] if uploaded_since else stack
        for bucket, versions in _by_bucket(doomed):
            for start in range(0, len(versions), CHUNK):
                chunk = versions[start : start + CHUNK]
                place = chunk[0].template.text
                places[place] = places.get(place, 0) + await delete(client, bucket, _named(chunk), refused)
                heartbeat(place, places[place])
    if refused and set(refused) <= PASSING:
        raise refusal(refused)
    warnings = []
    if refused:
        remedy = "Object locks and legal holds have to end before they can go."
        warnings.append(Finding("s3", f"some versions cannot be deleted ({codes(refused)})", remedy))
    if alive:
        remedy = "Submit these people as a new batch."
        warnings.append(Finding("s3", f"{alive:,} files were uploaded since the erasure and were kept", remedy))
    return Purged(places, warnings)


async def _pre_images(part: Slice, vault: BatchVault) -> dict[Key, tuple[str, list[dict[str, Any]]]]:
    """Place and records of each object, the oldest first: the last one is what was deleted."""
    name = f"pre-image/s3/{part.name}"
    if await vault.receipt(name) is None:
        return {}
    wanted: dict[Key, tuple[str, list[dict[str, Any]]]] = {}
    for recorded in [name, *await vault.names(f"{name}/later/")]:
        async for place, record in vault.records(recorded):
            wanted.setdefault((record["bucket"], record["key"]), (place, []))[1].append(record)
    for _, records in wanted.values():
        records.sort(key=lambda record: record["at"])
    return wanted


async def _uncover(
    client: S3Client,
    stacks: Sequence[Sequence[Version]],
    below: dict[Key, tuple[str, list[dict[str, Any]]]],
    places: dict[str, Recovery],
) -> None:
    """Takes away the markers above the versions that were deleted; what it dealt with leaves ``below``."""
    markers: list[Version] = []
    covered: list[str] = []
    for stack in stacks:
        place, records = below.pop((stack[0].template.bucket, stack[0].key), ("", []))
        if not records:
            continue
        top = next((index for index, version in enumerate(stack) if not version.is_marker), None)
        if top is None or stack[top].version not in {record["version"] for record in records}:
            places[place] += Recovery(conflicted=1)
        elif top == 0:
            places[place] += Recovery(intact=1)
        else:
            markers += stack[:top]
            covered.append(place)
    refused: dict[str, int] = {}
    for bucket, versions in _by_bucket(markers):
        for start in range(0, len(versions), CHUNK):
            await delete(client, bucket, _named(versions[start : start + CHUNK]), refused)
    if refused:
        raise refusal(refused)
    for place in covered:
        places[place] += Recovery(restored=1)


async def _put_back(client: S3Client, record: dict[str, Any], there: Found | None, vault: BatchVault) -> Recovery:
    if there is not None:
        same = await copies.is_same(client, record, there.etag, there.size)
        return Recovery(intact=1) if same else Recovery(conflicted=1)
    if await copies.put_back(client, record, vault):
        return Recovery(restored=1)
    # there is one after all: made by somebody in this very moment, or by our own request, repeated by the SDK
    made = await client.head_object(Bucket=record["bucket"], Key=record["key"])
    same = await copies.is_same(client, record, made["ETag"], made["ContentLength"])
    return Recovery(restored=1) if same else Recovery(conflicted=1)


def _by_bucket(versions: Sequence[Version]) -> list[tuple[str, list[Version]]]:
    buckets: dict[str, list[Version]] = {}
    for version in versions:
        buckets.setdefault(version.template.bucket, []).append(version)
    return list(buckets.items())


def _named(versions: Sequence[Version]) -> list[ObjectIdentifierTypeDef]:
    return [{"Key": version.key, "VersionId": version.version} for version in versions]
