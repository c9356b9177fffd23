"""What a fetch starts from, in the vault: the data map, and whom to leave out. Written by the starter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from activities import submission
from activities.datamap import DataMap
from activities.vault import BatchVault, Vault, VaultMissingError

EXCLUDED = "excluded"
HANDED_OVER = "handed-over"


async def write(vault: BatchVault, data_map: DataMap, excluded: Iterable[str]) -> None:
    """Puts an order into the vault.

    Args:
        vault: The order's part of it.
        data_map: Is kept with the order, so that every worker uses the same one.
        excluded: Ids of people to leave out; may be many, is streamed.
    """
    await submission.write_data_map(vault, data_map)
    async with vault.recording(EXCLUDED) as recording:
        for contributor_id in excluded:
            await recording.add("excluded", {"i": contributor_id})


async def left_out(opened: Vault, vault: BatchVault) -> AsyncIterator[str]:
    """Yields the ids to leave out: those of the exclude file, and of batches that earlier runs of this order made.

    A batch is over once it is shredded: then it is not in the vault any more.

    Args:
        opened: The vault.
        vault: The order's part of it.
    """
    async for _, record in vault.records(EXCLUDED):
        yield record["i"]
    for name in await vault.names(f"{HANDED_OVER}/"):
        try:
            batch = await opened.open(name.removeprefix(f"{HANDED_OVER}/"))
        except VaultMissingError:
            continue
        async for contributor in submission.read_contributors(batch):
            yield contributor.contributor_id


async def hand_over(vault: BatchVault, batch_id: str) -> None:
    """Puts down that a batch was made of a fetch of this order."""
    name = f"{HANDED_OVER}/{batch_id}"
    if await vault.receipt(name) is None:
        async with vault.recording(name):
            pass  # that it exists says all


async def carry_over(earlier: BatchVault, vault: BatchVault) -> None:
    """Puts down the batches of an earlier order, which this one replaces."""
    for name in await earlier.names(f"{HANDED_OVER}/"):
        await hand_over(vault, name.removeprefix(f"{HANDED_OVER}/"))
