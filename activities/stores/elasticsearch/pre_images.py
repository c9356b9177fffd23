"""What the vault holds of a slice's documents, and how what it lacks gets there."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from activities.contract import Slice
from activities.errors import CriticalError
from activities.stores.elasticsearch.connection import PLACE
from activities.stores.elasticsearch.writing import Match, fingerprint
from activities.vault import BatchVault


def pre_image_name(part: Slice) -> str:
    """The name of a slice's back-up in the vault."""
    return f"pre-image/{PLACE}/{part.name}"


async def later_names(vault: BatchVault, name: str) -> list[str]:
    """The names of what was added to a back-up while its slice was erased."""
    return await vault.names(f"{name}/later/")


class Fingerprints:
    """A set of fingerprints that takes little more memory than they have bytes, for there is one a document."""

    _SIZE = 16
    _BUCKETS = 4_096

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}

    def add(self, mark: bytes) -> None:
        """Adds one; it must not be in it yet, or it takes its bytes again."""
        self._buckets.setdefault(self._bucket(mark), bytearray()).extend(mark)

    def __contains__(self, mark: bytes) -> bool:
        bucket = self._buckets.get(self._bucket(mark), b"")
        at = bucket.find(mark)
        while at % self._SIZE and at >= 0:  # across two others
            at = bucket.find(mark, at + 1)
        return at >= 0

    def _bucket(self, mark: bytes) -> int:
        return int.from_bytes(mark[:2], "big") % self._BUCKETS


@dataclass
class PreImages:
    """What the vault holds of a slice, and what it lacks.

    Args:
        vault: The batch's vault.
        name: The name of the slice's back-up.
        places: Documents of the back-up by index.
        kept: Every pre-image in the vault.
    """

    vault: BatchVault
    name: str
    places: dict[str, int]
    kept: Fingerprints = field(default_factory=Fingerprints)

    @classmethod
    async def open(cls, vault: BatchVault, name: str) -> PreImages:
        """Reads what the vault holds.

        Raises:
            CriticalError: There is no back-up.
        """
        receipt = await vault.receipt(name)
        if receipt is None:
            raise CriticalError(PLACE, f"the vault has no {name}", "Run the back-up step first; nothing was written.")
        pre_images = cls(vault, name, receipt.places)
        for kept in (name, *await later_names(vault, name)):
            async for _, record in vault.records(kept):
                pre_images.kept.add(fingerprint(record))
        return pre_images

    async def keep(self, page: Sequence[Match]) -> None:
        """Puts into the vault which of these documents it lacks, exactly as they are now."""
        pre_images = {fingerprint(pre_image): pre_image for pre_image in (match.pre_image for match in page)}
        lacking = [mark for mark in pre_images if mark not in self.kept]
        if not lacking:
            return
        async with self.vault.recording(f"{self.name}/later/{secrets.token_hex(8)}") as recording:
            for mark in lacking:
                await recording.add(pre_images[mark]["index"], pre_images[mark])
        for mark in lacking:
            self.kept.add(mark)
