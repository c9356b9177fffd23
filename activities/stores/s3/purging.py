"""The end of the way back: whatever the buckets still keep of the erased objects is deleted for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.contract import Finding, Heartbeat, Purged, Slice
from activities.stores.s3 import answers, listing, locks, pre_images, uploads
from activities.stores.s3.answers import Reasons
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.deleting import PASSING, delete, refusal
from activities.stores.s3.listing import Version
from activities.stores.s3.paging import CHUNK, DELETES, Pages, as_they_come, side_by_side
from activities.stores.s3.pre_images import Record
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LOOKS = 16
"""Keys whose versions are asked for at the same time."""


class Purging:
    """Purges a slice.

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
        self._deleted: Counter[str] = Counter()
        self._passing: Reasons = {}
        self._kept: Reasons = {}
        self._alive: Counter[str] = Counter()

    async def run(self, part: Slice) -> Purged:
        """Deletes every version of the slice's files but those that were uploaded since, and the markers above them.

        Args:
            part: The slice.
        """
        stacks = listing.versions(self._client, self._data_map.templates, part)
        await as_they_come(stacks, self._purge_stacks, DELETES)
        if self._data_map.content:
            await self._purge_content(part)
        aborted, findings = await uploads.abort(self._client, part, self._vault)
        if self._passing:
            raise refusal(self._passing, self._deleted)
        remedy = "Object locks and legal holds have to end before they can go: delete them by hand then."
        findings += answers.findings(self._kept, "versions cannot be deleted", remedy)
        findings += [
            Finding(
                place, f"{count:,} files were uploaded since the erasure and were kept", "Submit these people again."
            )
            for place, count in self._alive.items()
            if count
        ]
        return Purged({**self._deleted, **aborted}, findings)

    async def _purge_stacks(self, stacks: Sequence[list[Version]]) -> None:
        doomed: list[Version] = []
        for stack in stacks:
            alive = not stack[0].is_marker
            self._alive[stack[0].place] += alive
            doomed += stack[1:] if alive else stack
        await self._delete(doomed)

    async def _purge_content(self, part: Slice) -> None:
        """Keys that were found by their content are known from their records only."""
        places = {rule.place for rule in self._data_map.content}

        async def doomed(pair: tuple[str, Record]) -> Pages[Version]:
            place, record = pair
            stack = await listing.stack(self._client, record["bucket"], record["key"], place)
            if not stack or stack[0].is_marker:
                yield stack
                return
            ids = [version.version for version in stack]
            at = ids.index(record["version"]) if record["version"] in ids else 0
            yield stack[max(at, 1) :]  # what was written since, on a masked text, is kept

        async for chunk in pre_images.newest(part, self._vault):
            wanted = [(place, record) for place, record in chunk if place in places]
            async for versions in side_by_side(wanted, doomed, LOOKS):
                await self._delete(versions)

    async def _delete(self, versions: Sequence[Version]) -> None:
        for bucket in dict.fromkeys(version.bucket for version in versions):
            own = [version for version in versions if version.bucket == bucket]
            for start in range(0, len(own), CHUNK):
                refused: Reasons = {}
                deleted, failed = await delete(self._client, own[start : start + CHUNK], refused)
                self._deleted.update(+deleted)
                for place in deleted:
                    self._heartbeat(place, self._deleted[place])
                for place, counts in refused.items():
                    passing = Counter({code: count for code, count in counts.items() if code in PASSING})
                    if passing:
                        self._passing.setdefault(place, Counter()).update(passing)
                held = [(each, code) for each, code in failed if isinstance(each, Version) and code not in PASSING]
                await locks.why(self._client, held, self._kept)
