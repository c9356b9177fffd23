"""Gathering: what was found, as the submission of a batch.

Identities of one person come together again by the mark of the contributor's id, which each tombstone has. Where that
id has not come back itself, another word stands for it, which no store holds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from activities import submission
from activities.contract import Contributor
from activities.datamap import DataMap
from activities.identities import IdentityKind, canonical
from activities.sweeping.looking import found_in
from activities.sweeping.messages import Gathered
from activities.tombstones.marks import stand_in
from activities.vault import BatchVault, Vault

AT_ONCE = 200_000
"""People of one batch; they are held in memory."""

KIND = "again"
"""Begins the name of a batch that a sweep makes."""


@dataclass
class _Person:
    contributor_id: str | None = None
    emails: set[str] = field(default_factory=set)
    worker_ids: set[str] = field(default_factory=set)

    def add(self, kind: IdentityKind, value: str) -> None:
        match kind:
            case IdentityKind.CONTRIBUTOR_ID:
                self.contributor_id = value
            case IdentityKind.EMAIL:
                self.emails.add(value)
            case IdentityKind.WORKER_ID:
                self.worker_ids.add(value)

    def contributor(self, mark: bytes) -> Contributor:
        name = stand_in(mark) if self.contributor_id is None else self.contributor_id
        return Contributor(name, tuple(sorted(self.emails)), tuple(sorted(self.worker_ids)))


async def gather(vaults: Vault, vault: BatchVault, data_map: DataMap, at_once: int = AT_ONCE) -> Gathered:
    """Makes a batch of what a sweep found; once, however often it is called.

    Args:
        vaults: The vault.
        vault: The sweep's part of it.
        data_map: The sweep's, and the batch's.
        at_once: People that fit into one batch.

    Returns:
        The batch, to be started; without a name where nothing came back.
    """
    people: dict[bytes, _Person] = {}
    batches: set[str] = set()
    more = False
    async for (kind, value), mark, batch_id in found_in(vault):
        if mark not in people and len(people) >= at_once:
            more = True
            continue
        people.setdefault(mark, _Person()).add(kind, value)
        batches.add(batch_id)
    if not people:
        return Gathered()
    contributors = [people[mark].contributor(mark) for mark in sorted(people)]
    # by the batches that erased them last, so that who comes back once more is in a batch of another name
    digest = hashlib.sha256("\n".join(sorted(batches)).encode())
    for contributor in contributors:
        digest.update(canonical(contributor.contributor_id, contributor.emails, contributor.worker_ids))
    batch_id = await vaults.name_batch(digest.digest(), KIND)
    await submission.write(await vaults.create(batch_id), data_map, contributors)
    return Gathered(batch_id, len(contributors), more)
