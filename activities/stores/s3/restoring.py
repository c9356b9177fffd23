"""The way back: delete markers taken away, copies put back, masked texts unmasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Finding, Heartbeat, Recovery, Restored, Slice
from activities.masking import IdentityFinder
from activities.stores.s3 import content, copies, listing, pre_images
from activities.stores.s3.answers import ABSENT, Reasons, code_of
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.deleting import delete, refusal
from activities.stores.s3.digests import Digests
from activities.stores.s3.listing import Version
from activities.stores.s3.paging import CHUNK, DELETES, Pages, as_they_come, side_by_side
from activities.stores.s3.pre_images import Record
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LOOKS = 16
"""Keys whose versions are asked for at the same time."""

PUTS = 4
"""Objects that are put back at the same time; each may hold a part of an upload in memory."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of one record.

    Args:
        place: Its place.
        recovery: What it counts as.
        above: What has to be taken away for that.
    """

    place: str
    recovery: Recovery
    above: list[Version] = field(default_factory=list)


INTACT, RESTORED, CONFLICTED = Recovery(1, intact=1), Recovery(1, restored=1), Recovery(1, conflicted=1)


class Restoring:
    """Puts the objects of a slice back as they were just before they were written, a key at a time.

    Args:
        client: The client.
        data_map: Where the slice's objects are.
        vault: The batch.
        heartbeat: Told of every chunk.
    """

    def __init__(self, client: S3Client, data_map: S3Map, vault: BatchVault, heartbeat: Heartbeat) -> None:
        self._client = client
        self._data_map = data_map
        self._vault = vault
        self._heartbeat = heartbeat
        self._places: dict[str, Recovery] = {place: Recovery() for place in data_map.places}

    async def run(self, part: Slice) -> Restored:
        """Restores a slice.

        Args:
            part: The slice.
        """
        hidden = await pre_images.hidden(part, self._vault, self._data_map.objects)
        if hidden:
            stacks = listing.versions(self._client, self._data_map.templates, part)
            await as_they_come(stacks, lambda chunk: self._uncover_all(chunk, hidden), DELETES)
        people = await listing.people_of(part)
        masked = {rule.place: people.finder(rule.holds) for rule in self._data_map.content if rule.then == "mask"}
        async for chunk in pre_images.newest(part, self._vault):
            await self._restore(chunk, hidden, masked)
        remedy = "They were uploaded anew or purged by somebody since; that was kept. Compare them by hand."
        warnings = [
            Finding(place, f"{recovery.conflicted:,} objects could not be put back", remedy)
            for place, recovery in self._places.items()
            if recovery.conflicted
        ]
        return Restored(self._places, warnings)

    async def _uncover_all(self, stacks: Sequence[list[Version]], hidden: Digests) -> None:
        """Uncovers what the listing of a chunk of keys shows, and strikes it off what is hidden."""
        outcomes: list[Outcome] = []
        for stack in stacks:
            for at, each in enumerate(stack):
                digest = pre_images.version_digest(each.bucket, each.key, each.version)
                if not each.is_marker and digest in hidden:
                    hidden.discard(digest)
                    outcomes.append(_uncovered(each.place, stack, at))
        await self._take_away(outcomes)

    async def _restore(
        self, chunk: Sequence[tuple[str, Record]], hidden: Digests, masked: dict[str, IdentityFinder]
    ) -> None:
        """Restores records by their keys: copies, texts, and what no listing showed since the slice is smaller now."""

        async def uncover(pair: tuple[str, Record]) -> Pages[Outcome]:
            place, record = pair
            yield [await self._uncover(place, record, masked.get(place))]

        async def put(pair: tuple[str, Record]) -> Pages[Outcome]:
            place, record = pair
            finder = masked.get(place)
            work = self._put_back(record) if finder is None else self._unmask(record, finder)
            yield [Outcome(place, await work)]

        def is_left(place: str, record: Record) -> bool:
            digest = pre_images.version_digest(record["bucket"], record["key"], record["version"])
            return place not in self._data_map.objects or digest in hidden

        below = [(place, record) for place, record in chunk if record["version"] and is_left(place, record)]
        copied = [(place, record) for place, record in chunk if not record["version"]]
        async for outcomes in side_by_side(below, uncover, LOOKS):
            await self._take_away(outcomes)
        async for outcomes in side_by_side(copied, put, PUTS):
            self._count(outcomes)

    async def _uncover(self, place: str, record: Record, finder: IdentityFinder | None) -> Outcome:
        """A version is current again once what the erasure put on it is gone: markers, or a masked text."""
        stack = await listing.stack(self._client, record["bucket"], record["key"], place)
        at = next((index for index, version in enumerate(stack) if version.version == record["version"]), None)
        if at is None:
            return Outcome(place, CONFLICTED)
        if at == 0 or finder is None:
            return _uncovered(place, stack, at)
        body = await content.original(self._client, record)
        ours = not stack[0].is_marker and at == 1
        ours = ours and await content.is_masked(self._client, record, body, finder, self._vault.masker)
        return Outcome(place, RESTORED, stack[:1]) if ours else Outcome(place, CONFLICTED)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._places[outcome.place] = self._places.get(outcome.place, Recovery()) + outcome.recovery
        self._heartbeat("put back", sum(recovery.found for recovery in self._places.values()))

    async def _take_away(self, outcomes: Sequence[Outcome]) -> None:
        """Takes away what lies above, and counts."""
        refused: Reasons = {}
        above = [version for outcome in outcomes for version in outcome.above]
        for bucket in dict.fromkeys(version.bucket for version in above):
            versions = [version for version in above if version.bucket == bucket]
            for start in range(0, len(versions), CHUNK):
                await delete(self._client, versions[start : start + CHUNK], refused)
        if refused:
            raise refusal(refused, {})
        self._count(outcomes)

    async def _put_back(self, record: Record) -> Recovery:
        if (there := await self._there(record)) is not None:
            return INTACT if await copies.is_same(self._client, record, *there) else CONFLICTED
        if await copies.put_back(self._client, record, self._vault):
            return RESTORED
        if (there := await self._there(record)) is None:
            return await self._put_in_place_of_marker(record)
        # there is one after all: made by somebody in this very moment, or by our own request, repeated by the SDK
        return RESTORED if await copies.is_same(self._client, record, *there) else CONFLICTED

    async def _put_in_place_of_marker(self, record: Record) -> Recovery:
        """To some gateways a delete marker is an object like any other: it goes first, and what it hid is the guard."""
        stack = await listing.stack(self._client, record["bucket"], record["key"], "s3")
        refused: Reasons = {}
        await delete(self._client, [version for version in stack[:1] if version.is_marker], refused)
        if refused:
            raise refusal(refused, {})
        there = await self._there(record)
        over = there[0] if there is not None else None
        return RESTORED if await copies.put_back(self._client, record, self._vault, over=over) else CONFLICTED

    async def _unmask(self, record: Record, finder: IdentityFinder) -> Recovery:
        if (there := await self._there(record)) is None:
            return CONFLICTED  # deleted by somebody since
        if there[0] == record["etag"]:
            return INTACT
        body = b"".join([chunk async for chunk in copies.chunks(record["copy"], self._vault)])
        if not await content.is_masked(self._client, record, body, finder, self._vault.masker):
            return CONFLICTED
        return RESTORED if await copies.put_back(self._client, record, self._vault, over=there[0]) else CONFLICTED

    async def _there(self, record: Record) -> tuple[str, int] | None:
        """Tag and size of the object that is there."""
        try:
            answer = await self._client.head_object(Bucket=record["bucket"], Key=record["key"])
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        return answer["ETag"], answer["ContentLength"]


def _uncovered(place: str, stack: Sequence[Version], at: int) -> Outcome:
    """What becomes of a version that lies so deep: markers above it go, whatever else is there is kept."""
    if at == 0:
        return Outcome(place, INTACT)
    above = list(stack[:at])
    return Outcome(place, RESTORED, above) if all(each.is_marker for each in above) else Outcome(place, CONFLICTED)
