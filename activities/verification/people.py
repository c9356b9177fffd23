"""Whom a verification looks for: everybody of a batch's manifest, but for those who were left out of the erasure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from activities import manifest
from activities.contract import Contributor
from activities.holds import Holds
from activities.manifest import ManifestSlice
from activities.vault import BatchVault
from activities.verification.messages import Target


class People:
    """A batch's people who must be gone.

    Args:
        part: Their pages.
        left_out: How many people of the batch are under a legal hold, or were when it met them.
    """

    def __init__(self, part: ManifestSlice, left_out: int) -> None:
        self._part = part
        self.left_out = left_out

    @classmethod
    async def of(cls, vault: BatchVault, holds: Holds, target: Target) -> People:
        """Reads who was left out.

        Args:
            vault: The batch.
            holds: The legal holds of now.
            target: Names the batch's manifest.

        Raises:
            ErasureError: The vault cannot be read, or its key is destroyed.
        """
        names = await vault.names("held/")
        if await vault.receipt(from_the_start := manifest.held_name(target.attempt)) is not None:
            names.append(from_the_start)
        left_out = {record["i"] for name in names async for _, record in vault.records(name)}
        everybody = ManifestSlice(vault, None, target.slices, target.attempt)
        async for page in everybody.pages():
            left_out |= await holds.among([person.contributor_id for person in page])
        return cls(replace(everybody, without=frozenset(left_out)), len(left_out))

    def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields them in pages of bounded size; as often as it is called."""
        return self._part.pages()
