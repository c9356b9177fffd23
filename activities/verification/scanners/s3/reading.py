"""Reads all objects of one place, side by side, and counts the versions behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Finding, Heartbeat
from activities.messages import Depth
from activities.verification.evidence import Evidence, shown
from activities.verification.needles import Needles
from activities.verification.scanners.s3.objects import Objects, Thing
from activities.verification.scanners.s3.places import SMALL, Area, is_canary, listed, refused

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

AT_ONCE = 16
"""Small objects that are read at the same time; long ones are read one after the other."""

FOLDERS = 4
"""Folders of a key that a place shows."""

SHREDDING = "They go with shredding; afterwards, let a lifecycle rule expire them."


class Reader:
    """Reads one place.

    Args:
        client: The client.
        area: What to read.
        depth: How far.
        needles: What to look for.
        heartbeat: Told the objects.
    """

    def __init__(self, client: S3Client, area: Area, depth: Depth, needles: Needles, heartbeat: Heartbeat) -> None:
        self._client = client
        self._area = area
        self._depth = depth
        self._needles = needles
        self._heartbeat = heartbeat
        self._evidence = Evidence(needles)
        self._objects = Objects(client, area.bucket, self._evidence, heartbeat)

    async def read(self) -> Evidence:
        """Reads it."""
        try:
            async for page in listed(self._client, self._area):
                things = [Thing(each["Key"], each["Size"], each.get("StorageClass", "")) for each in page]
                if things and not self._evidence.records:
                    await self._objects.check_tags(things[0], self._area.place)
                await self._all([thing for thing in things if thing.size <= SMALL])
                for thing in things:
                    if thing.size > SMALL:
                        await self._one(thing)
                self._heartbeat(self._area.place, self._evidence.records)
        except ClientError as error:
            self._evidence.leave_out([refused(self._area.place, "could not be listed to its end", error)])
        await self._versions()
        await self._uploads()
        return self._evidence

    async def canary(self, key: str, place: str) -> Evidence:
        """Reads one object that a scan planted.

        Args:
            key: Its key.
            place: Its place.
        """
        inside = await self._objects.read(Thing(key, 0), place, with_body=True)
        if inside is not None:
            self._evidence.add(1, inside.holds)
        return self._evidence

    async def _all(self, things: list[Thing]) -> None:
        waiting = iter(things)

        async def work() -> None:
            for thing in waiting:
                await self._one(thing)

        try:
            async with asyncio.TaskGroup() as hands:
                for _ in range(min(AT_ONCE, len(things))):
                    hands.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _one(self, thing: Thing) -> None:
        place = self._shown(thing.key)
        with_body = thing.size <= SMALL or self._depth == "deep"
        if not with_body:
            what = f"objects over {SMALL // 1024 // 1024} MiB, of which only name, metadata and tags were read"
            self._evidence.miss(place, what, "Verify at depth deep to read them too.")
        inside = await self._objects.read(thing, place, with_body=with_body)
        if inside is not None:
            self._evidence.records += 1
            self._evidence.add(self._evidence.records, inside.holds)

    def _shown(self, key: str) -> str:
        """The folders of a key; a folder that may be a value is shown as ``*``."""
        below = key.removeprefix(self._area.prefix).split("/")[:-1]
        folders = [shown(folder, self._needles) for folder in below[:FOLDERS]]
        return self._area.place + "".join(f"{folder}/" for folder in folders)

    async def _versions(self) -> None:
        """What lies behind newer versions and delete markers: it is there on purpose, until a batch is shredded."""
        place = f"{self._area.place} (versions)"
        count = holding = named = 0
        try:
            async for thing, is_marker in self._behind():
                count += not is_marker
                is_named = any(certain for _, _, certain in self._objects.named(thing.key))
                named += is_named
                if self._depth == "deep" and not is_marker:
                    inside = await self._objects.read(thing, place, with_body=True)
                    holding += inside is not None and any(certain for _, _, certain in inside.holds)
                self._heartbeat(place, count)
        except ClientError as error:
            self._evidence.leave_out([refused(place, "cannot be listed", error)])
        if count:
            what = f"versions behind newer ones or delete markers: {count:,}"
            if self._depth == "deep":
                what += f"; {holding:,} of them hold an identity"
            self._evidence.leave_out([Finding(place, what, SHREDDING)])
        if named:
            what = f"old versions and delete markers whose names hold an identity: {named:,}"
            self._evidence.leave_out([Finding(place, what, SHREDDING)])

    async def _behind(self) -> AsyncIterator[tuple[Thing, bool]]:
        """Yields every version that is not current, and every delete marker; each once."""
        last: set[tuple[str, str]] = set()
        pages = self._client.get_paginator("list_object_versions")
        async for page in pages.paginate(Bucket=self._area.bucket, Prefix=self._area.prefix):
            seen: set[tuple[str, str]] = set()
            for entry in page.get("Versions", []):
                seen.add((entry["Key"], entry["VersionId"]))
                if entry["IsLatest"] or is_canary(entry["Key"]) or (entry["Key"], entry["VersionId"]) in last:
                    continue
                yield Thing(entry["Key"], entry["Size"], entry.get("StorageClass", ""), entry["VersionId"]), False
            for marker in page.get("DeleteMarkers", []):
                seen.add((marker["Key"], marker["VersionId"]))
                if not is_canary(marker["Key"]) and (marker["Key"], marker["VersionId"]) not in last:
                    yield Thing(marker["Key"], 0), True
            last = seen  # some servers repeat rows where a page ends

    async def _uploads(self) -> None:
        place = f"{self._area.place} (unfinished uploads)"
        count = 0
        try:
            pages = self._client.get_paginator("list_multipart_uploads")
            async for page in pages.paginate(Bucket=self._area.bucket, Prefix=self._area.prefix):
                count += len(page.get("Uploads", []))
        except ClientError as error:
            self._evidence.leave_out([refused(place, "cannot be listed", error)])
        if count:
            what = f"parts that nobody can read: {count:,} uploads"
            self._evidence.leave_out([Finding(place, what, "Finish or abort them.")])
