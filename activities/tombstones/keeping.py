"""Who of a batch was erased, and so has tombstones: neither who was held, nor what somebody who stays has too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from activities import manifest, report
from activities.contract import Contributor
from activities.datamap import DataMap
from activities.holds import Holds
from activities.identities import IdentityKind
from activities.manifest import ManifestSlice
from activities.masking import is_mask
from activities.sharing import Shared
from activities.status import BatchStatus
from activities.tombstones.marks import TombstoneKey
from activities.tombstones.table import Tombstone, Tombstones
from activities.vault import Vault

PAGE = 10_000
"""Tombstones a transaction, about."""


async def keep(vaults: Vault, tombstones: Tombstones, data_map: DataMap, holds: Holds, status: BatchStatus) -> int:
    """Keeps the tombstones of everybody whom a batch erased.

    Args:
        vaults: The vault.
        tombstones: Receive them.
        data_map: The batch's.
        holds: The legal holds.
        status: What is known of the batch, which has ended.

    Returns:
        How many.
    """
    assert status.ended_at is not None, "the erasure has ended"
    vault = await vaults.open(status.batch_id)
    held = await report.holds(await vaults.archive(status.batch_id), vaults, holds, status)
    without = frozenset(each.contributor_id for each in held if each.left_out)
    name = manifest.shared_name(status.attempt)
    shared = Shared() if await vault.receipt(name) is None else await Shared.read(vault, name)
    part = ManifestSlice(vault, None, status.slices, status.attempt, without)
    pages = _pages(tombstones.key, part, shared)
    return await tombstones.keep(status.batch_id, status.ended_at, data_map.policy.reregistered, pages)


async def _pages(key: TombstoneKey, part: ManifestSlice, shared: Shared) -> AsyncIterator[Sequence[Tombstone]]:
    rows: list[Tombstone] = []
    async for page in part.pages():
        for contributor in page:
            rows += of(key, shared.without(contributor))
            if len(rows) >= PAGE:
                yield rows
                rows = []
    if rows:
        yield rows


def of(key: TombstoneKey, contributor: Contributor) -> list[Tombstone]:
    """The tombstones of one contributor; blank values and masks are nobody's identity.

    Args:
        key: Makes the marks.
        contributor: Who was erased.
    """
    person = key.person(contributor.contributor_id)
    rows = {person: IdentityKind.CONTRIBUTOR_ID}
    for kind, values in ((IdentityKind.EMAIL, contributor.emails), (IdentityKind.WORKER_ID, contributor.worker_ids)):
        for value in values:
            if value.strip() and not is_mask(value):
                rows |= dict.fromkeys(key.marks(kind, value), kind)
    return [Tombstone(mark, kind, person) for mark, kind in rows.items()]
