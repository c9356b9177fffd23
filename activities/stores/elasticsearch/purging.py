"""Old versions of masked documents: Elasticsearch keeps them in its segments until those are merged."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_transport import ConnectionTimeout
from elasticsearch import AsyncElasticsearch

from activities.contract import Finding, Heartbeat, Purged


async def expunge(client: AsyncElasticsearch, indices: Sequence[str], heartbeat: Heartbeat) -> Purged:
    """Merges the segments of indices in which documents were replaced; counts the old versions that went.

    Only segments with many old versions are merged (``index.merge.policy.expunge_deletes_allowed``, 10 %), so that the
    cost stays in proportion; and none goes that a shard copy's retention lease holds: a live copy's follows within a
    minute or so, that of a lost one or of a follower for ``index.soft_deletes.retention_lease.period``, 12 h. What
    lingers is counted and reported.

    Args:
        client: The client.
        indices: Their names.
        heartbeat: Told of every index.
    """
    places: dict[str, int] = {}
    warnings: list[Finding] = []
    for index in indices:
        before = await _old_versions(client, index)
        if before:
            await client.indices.flush(index=index)  # the transaction log holds old versions as well
            try:
                # a repetition would queue behind the merge that it repeats
                await client.options(max_retries=0).indices.forcemerge(index=index, only_expunge_deletes=True)
            except ConnectionTimeout:
                warnings.append(_warning(index, "its segments are still being merged"))
                continue
        after = await _old_versions(client, index)
        places[index] = max(0, before - after)
        if after:
            warnings.append(_warning(index, f"{after} old versions of documents are still in its segments"))
        heartbeat(index, places[index])
    return Purged(places, warnings)


async def _old_versions(client: AsyncElasticsearch, index: str) -> int:
    await client.indices.refresh(index=index)
    answer = await client.indices.stats(index=index, metric="docs", level="cluster")
    return int(answer["_all"]["total"]["docs"].get("deleted", 0))


def _warning(index: str, what: str) -> Finding:
    return Finding(
        index,
        what,
        "They go as the index merges; to be sure, run POST /<index>/_forcemerge?max_num_segments=1 on it once nothing "
        "writes to it any more, or reindex it. Its snapshots hold what they held.",
    )
