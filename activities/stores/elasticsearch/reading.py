"""Pages of documents under a point in time: what is written meanwhile neither hides a document nor shows it twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Heartbeat
from activities.errors import CriticalError
from activities.identities import IdentitySet
from activities.masking import Masker
from activities.stores.elasticsearch.catalogue import Index
from activities.stores.elasticsearch.documents import DocumentMask, OutOfRangeError, text_of
from activities.stores.elasticsearch.search import Query, Search
from activities.stores.elasticsearch.writing import Match

FIRST_PAGE = 200
PAGE = 1_000
"""Documents a page, at most."""
PAGE_BYTES = 16 * 1024 * 1024
"""The size of a page that is aimed at: large documents come in smaller pages."""
KEEP_ALIVE = "5m"

Hit = dict[str, Any]


class Reader:
    """Reads the documents that hold an identity of a slice.

    Args:
        client: The client.
        people: The identities.
        masker: Computes the masks.
        heartbeat: Told of every page: the index, and how many of its documents were looked at.
        version: The server's version.
    """

    def __init__(
        self, client: AsyncElasticsearch, people: IdentitySet, masker: Masker, heartbeat: Heartbeat, version: str
    ) -> None:
        self._client = client
        self._people = people
        self._masker = masker
        self._heartbeat = heartbeat
        self._search = Search(client, people, heartbeat)
        self._source: Any = {"exclude_vectors": False} if leaves_vectors_out(version) else True

    async def matches(self, index: Index, ids: Collection[str] = ()) -> AsyncGenerator[list[Match]]:
        """Yields pages of the documents that have to change, each page as it was at one point in time.

        Args:
            index: The index.
            ids: Looks at these documents only.
        """
        await self._client.indices.refresh(index=index.name)  # what was just written has to be found
        query = {"ids": {"values": sorted(ids)}} if ids else await self._search.query(index)
        if query is None:
            return
        mask = DocumentMask(index.rules, self._people, self._masker, index.numbers)
        seen = 0
        async with aclosing(pages(self._client, index.name, query, self._source)) as found:
            async for hits in found:
                seen += len(hits)
                page = _matches(index, mask, hits)
                if page:
                    yield page
                self._heartbeat(index.name, seen)


async def pages(client: AsyncElasticsearch, index: str, query: Query, source: Any) -> AsyncGenerator[list[Hit]]:
    """Yields every document that a query finds; the next page is on its way while one is dealt with.

    Args:
        client: The client.
        index: The index.
        query: The query.
        source: What of a document's ``_source`` is wanted.
    """

    async def page(point: str, size: int, after: list[Any] | None) -> Any:
        return await client.search(
            pit={"id": point, "keep_alive": KEEP_ALIVE},
            query=query,
            sort=[{"_shard_doc": "asc"}],
            search_after=after,
            size=size,
            source=source,
            seq_no_primary_term=True,
            version=True,
            track_total_hits=False,
            allow_partial_search_results=False,
        )

    opened = await client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE)
    point: str = opened["id"]
    size = FIRST_PAGE
    following: asyncio.Task[Any] | None = asyncio.create_task(page(point, size, None))
    try:
        while following is not None:
            answer = await following
            point, following = answer["pit_id"], None
            hits: list[Hit] = answer["hits"]["hits"]
            if len(hits) == size:
                size = _next_size(hits)
                following = asyncio.create_task(page(point, size, hits[-1]["sort"]))
            if hits:
                yield hits
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await client.options(ignore_status=404).close_point_in_time(id=point)  # 404: expired


def _matches(index: Index, mask: DocumentMask, hits: Sequence[Hit]) -> list[Match]:
    try:
        return [Match(hit, new) for hit in hits if (new := mask(hit["_source"])) is not hit["_source"]]
    except OutOfRangeError as error:
        raise CriticalError(
            f"{index.name} {error.path}",
            "a number is too large, or negative, and no number of this type can stand for it",
            'Use mask = "null" or "remove" there.',
        ) from None


def leaves_vectors_out(version: str) -> bool:
    """Whether vectors are left out of ``_source`` unless asked for: written back without, they would be lost."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return (major, minor) >= (9, 2)


def _next_size(hits: Sequence[Hit]) -> int:
    """How many documents the next page may have, judged by a sample of this one."""
    sample = hits[:: max(1, len(hits) // 20)]
    average = sum(len(text_of(hit["_source"])) for hit in sample) // len(sample)
    return max(10, min(PAGE, PAGE_BYTES // (average + 1)))
