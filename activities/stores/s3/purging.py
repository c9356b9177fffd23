"""The end of the way back: whatever the buckets still keep of the erased objects is deleted for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.contract import Finding, Heartbeat, Purged, Slice
from activities.stores.s3 import answers, listing, locks, uploads
from activities.stores.s3.answers import Reasons
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.deleting import PASSING, delete, refusal
from activities.stores.s3.listing import Version
from activities.stores.s3.paging import CHUNK, DELETES, as_they_come
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


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
