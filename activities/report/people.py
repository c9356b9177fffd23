"""The people whom a report names, since they stay: under a legal hold, or with an identity of somebody of the batch."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from activities import manifest
from activities.holds import Holds
from activities.report.archive import read
from activities.report.contents import Held
from activities.sharing import Shared, Stayer
from activities.status import ERASED, BatchStatus
from activities.vault import BatchVault, Vault, VaultMissingError


async def leave_out(vault: BatchVault, store: str, slice_name: str, contributor_ids: Collection[str]) -> None:
    """Puts down for the report who was left out of a slice's erasure.

    Args:
        vault: The batch.
        store: The store.
        slice_name: The slice.
        contributor_ids: Who.
    """
    async with vault.recording(f"held/{store}/{slice_name}-{secrets.token_hex(4)}") as recording:
        for contributor_id in sorted(contributor_ids):
            await recording.add("held", {"i": contributor_id})


async def holds(archive: BatchVault, vaults: Vault, current: Holds, status: BatchStatus) -> list[Held]:
    """Everybody of a batch who is under a legal hold, or was when the batch met them.

    Args:
        archive: The batch's archive; tells it where the batch key is destroyed already.
        vaults: The vault.
        current: The legal holds of now.
        status: What is known of the batch.
    """
    try:
        vault = await vaults.open(status.batch_id)
    except VaultMissingError:
        return [Held(**each) for each in (await read(archive))["json"]["holds"]] if status.shredded else []
    stores = [phase.store for phase in status.phases]
    left_out: dict[str, set[str]] = {}
    from_the_start = manifest.held_name(status.attempt)
    if await vault.receipt(from_the_start) is not None:
        left_out = {record["i"]: set(stores) async for _, record in vault.records(from_the_start)}
    for name in await vault.names("held/"):
        async for _, record in vault.records(name):
            left_out.setdefault(record["i"], set()).add(name.split("/")[1])
    async for page in manifest.ManifestSlice(vault, None, status.slices, status.attempt).pages():
        for contributor_id in await current.among([contributor.contributor_id for contributor in page]):
            left_out.setdefault(contributor_id, set())
    erased = [phase.store for phase in status.phases if phase.state in ERASED]
    return [
        Held(
            contributor_id,
            [store for store in stores if store in out],
            [store for store in erased if store not in out],
        )
        for contributor_id, out in sorted(left_out.items())
    ]


async def stayers(archive: BatchVault, vaults: Vault, status: BatchStatus) -> list[Stayer]:
    """People who stay and have an identity of somebody of the batch, as the manifest's attempt found them.

    Args:
        archive: The batch's archive; tells it where the batch key is destroyed already.
        vaults: The vault.
        status: What is known of the batch.
    """
    try:
        vault = await vaults.open(status.batch_id)
    except VaultMissingError:
        return [Stayer(**each) for each in (await read(archive))["json"]["stayers"]] if status.shredded else []
    name = manifest.shared_name(status.attempt)
    return [] if await vault.receipt(name) is None else (await Shared.read(vault, name)).stayers
