"""What a batch starts from, in the vault: its data map and the contributors of its CSV. Written by the starter."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from activities.contract import Contributor
from activities.datamap import DataMap
from activities.identities import canonical
from activities.vault import BatchVault, VaultTamperedError

CONTRIBUTORS = "csv"


async def write(
    vault: BatchVault, data_map: DataMap, contributors: Iterable[Contributor] | AsyncIterable[Contributor]
) -> None:
    """Puts a batch into the vault, once: a second call with the same batch changes nothing.

    Args:
        vault: The batch.
        data_map: Is kept with the batch, so that every worker uses the same one.
        contributors: The CSV's rows, in order; may be long, is streamed.
    """
    await write_data_map(vault, data_map)
    if await vault.receipt(CONTRIBUTORS) is None:
        async with vault.recording(CONTRIBUTORS) as recording:
            async for contributor in _each(contributors):
                record = {"i": contributor.contributor_id, "e": contributor.emails, "w": contributor.worker_ids}
                await recording.add("rows", record)


async def write_data_map(vault: BatchVault, data_map: DataMap) -> None:
    """Puts a data map into the vault, once."""
    if await vault.receipt(_data_map(data_map.digest)) is None:
        async with vault.recording(_data_map(data_map.digest)) as recording:
            await recording.add("data map", data_map.source)


async def read_data_map(vault: BatchVault, digest: str) -> DataMap:
    """The data map that the batch was submitted with.

    Args:
        vault: The batch.
        digest: The map's, as the workflow knows it.

    Raises:
        ErasureError: It is not in the vault, or is another one.
    """
    async for _, source in vault.records(_data_map(digest)):
        data_map = DataMap.parse(source, f"the data map of batch {vault.batch_id}")
        if data_map.digest == digest:
            return data_map
    raise VaultTamperedError("vault", f"the data map of batch {vault.batch_id} is another one", "Submit the CSV again.")


async def read_contributors(vault: BatchVault) -> AsyncIterator[Contributor]:
    """Yields the CSV's contributors, in order."""
    async for _, record in vault.records(CONTRIBUTORS):
        yield Contributor(record["i"], tuple(record["e"]), tuple(record["w"]))


async def digest(vault: BatchVault) -> bytes:
    """SHA-256 over the CSV's contributors: the same for the same content in another dialect."""
    found = hashlib.sha256()
    async for contributor in read_contributors(vault):
        found.update(canonical(contributor.contributor_id, contributor.emails, contributor.worker_ids))
    return found.digest()


async def _each(contributors: Iterable[Contributor] | AsyncIterable[Contributor]) -> AsyncIterator[Contributor]:
    if isinstance(contributors, AsyncIterable):
        async for contributor in contributors:
            yield contributor
    else:
        for contributor in contributors:
            yield contributor


def _data_map(digest: str) -> str:
    """A batch that was refused may be submitted again with a corrected map: each keeps its own name."""
    return f"data-map/{digest}"
