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


@dataclass
class PreImages:
    """What the vault holds of a slice, and what it lacks.

    Args:
        vault: The batch's vault.
        name: The name of the slice's back-up.
        places: Documents of the back-up by index.
        kept: Fingerprints of every pre-image in the vault: 16 bytes each.
    """

    vault: BatchVault
    name: str
    places: dict[str, int]
    kept: set[bytes] = field(default_factory=set)

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
        lacking = pre_images.keys() - self.kept
        if not lacking:
            return
        async with self.vault.recording(f"{self.name}/later/{secrets.token_hex(8)}") as recording:
            for mark in lacking:
                await recording.add(pre_images[mark]["index"], pre_images[mark])
        self.kept |= lacking
