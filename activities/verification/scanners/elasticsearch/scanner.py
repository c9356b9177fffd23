"""Reads an index under a point in time: every document, whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from elastic_transport import ConnectionError as UnreachableError
from elasticsearch import AsyncElasticsearch, AuthenticationException, AuthorizationException

from activities.contract import Finding, Heartbeat
from activities.errors import CriticalError, translated, unknown
from activities.stores.elasticsearch.connection import PLACE, translate
from activities.verification.canary import Canary
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.needles import Needles
from activities.verification.scanners.elasticsearch import indices
from activities.verification.scanners.elasticsearch.documents import Documents
from activities.verification.scanners.elasticsearch.fields import Unshown, unshown

PAGE = 2_000
"""Documents a page, at most."""

PAGE_BYTES = 4 * 1024 * 1024
"""Characters of a page that are aimed at."""

PACKED = 10
"""How much larger documents are than on the disk, at most."""

KEEP_ALIVE = "5m"

CANARY_MAPPING: dict[str, Any] = {"dynamic": False}
"""The canary's field is not mapped: only who reads whole documents finds it."""


class ElasticsearchScanner:
    """Scans Elasticsearch.

    Args:
        client: The client.
    """

    def __init__(self, client: AsyncElasticsearch) -> None:
        self._client = client
        self._planted: str | None = None

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists the indices within the scope."""
        with translated(PLACE, translate):
            return await indices.catalogue(self._client, scope, self._planted)

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:  # noqa: ARG002 - the same everywhere
        """Reads one index."""
        documents = Documents(place.name, needles)
        with translated(PLACE, translate):
            try:
                await self._read(place, documents, heartbeat)
            except (UnreachableError, AuthenticationException):
                raise
            except Exception as error:
                known = translate(error) or unknown(place.name, error)
                documents.tally.leave_out([Finding(place.name, f"could not be read: {known.what}", known.remedy)])
        return documents.tally.reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Plants the canary in an index of its own."""
        canary = Canary(value)
        with translated(PLACE, translate):
            await self._remove_left_over(canary)
            try:
                await self._plant(canary)
                self._planted = canary.name
                yield canary.name
            finally:
                self._planted = None
                await self._client.options(ignore_status=404).indices.delete(index=canary.name)

    async def _plant(self, canary: Canary) -> None:
        settings = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True}
        document = {"note": {"text": f"sings for {canary.value}"}}
        try:
            await self._client.indices.create(index=canary.name, mappings=CANARY_MAPPING, settings=settings)
            await self._client.index(index=canary.name, document=document, refresh=True)
        except AuthorizationException:
            what, remedy = "the scan may not plant its canary", "Give its user all privileges on that pattern."
            raise CriticalError(f"{canary.prefix}*", what, remedy) from None

    async def _remove_left_over(self, canary: Canary) -> None:
        found = await self._client.indices.get(
            index=f"{canary.prefix}*", expand_wildcards="all", features=["settings"], allow_no_indices=True
        )
        for name in filter(canary.is_left_over, found.body):
            await self._client.options(ignore_status=404).indices.delete(index=name)

    async def _read(self, place: Place, documents: Documents, heartbeat: Heartbeat) -> None:
        index = place.name
        (said,) = (await self._client.indices.get(index=index)).body.values()
        settings = said["settings"]["index"]
        fields = unshown(index, settings, said["mappings"])
        documents.binary = fields.binary
        tally = documents.tally
        tally.leave_out(fields.not_proven)
        documents.look_at_settings({part: said.get(part, {}) for part in ("aliases", "mappings", "settings")})
        await self._client.indices.refresh(index=index)  # what was just written has to be found
        sizes = _Sizes(min(PAGE, int(settings.get("max_result_window", PAGE))), place)
        async with aclosing(self._pages(index, fields, sizes)) as pages:
            expected = await anext(pages)
            async for hits in pages:
                await asyncio.to_thread(documents.look, hits)
                heartbeat(index, tally.records)
        if tally.records != expected:
            what = f"{tally.records:,} documents were read, and there are {expected:,}"
            tally.leave_out([Finding(index, what, "Verify again.")])

    async def _pages(self, index: str, fields: Unshown, sizes: _Sizes) -> AsyncGenerator[Any]:
        """Yields how many documents there are, then all of them; the next page is on its way while one is looked at."""
        point: str = (await self._client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE))["id"]
        following: asyncio.Task[Any] | None = None
        try:
            counted = await self._search(point, {"size": 0, "track_total_hits": True})
            yield counted["hits"]["total"]["value"]
            body: dict[str, Any] = {"size": sizes.first, "sort": ["_shard_doc"], "source": True, **_also(fields)}
            following = asyncio.create_task(self._search(point, body))
            while following is not None:
                answer = await following
                point, following = answer["pit_id"], None
                if hits := answer["hits"]["hits"]:
                    body = {**body, "size": sizes.following(hits), "search_after": hits[-1]["sort"]}
                    following = asyncio.create_task(self._search(point, body))
                    yield hits
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            await self._client.options(ignore_status=404).close_point_in_time(id=point)  # 404: expired

    async def _search(self, point: str, body: Mapping[str, Any]) -> Any:
        return await self._client.search(
            **{"track_total_hits": False, **body},
            pit={"id": point, "keep_alive": KEEP_ALIVE},
            allow_partial_search_results=False,
        )


def _also(fields: Unshown) -> dict[str, Any]:
    """What is asked for besides ``_source``."""
    also: dict[str, Any] = {}
    if fields.doc_values:
        also["docvalue_fields"] = fields.doc_values
    if fields.stored:
        also["stored_fields"] = fields.stored
    return also


class _Sizes:
    """How many documents a page may have.

    Args:
        most: What the index allows.
        place: The index: compressed, it has this size on the disk.
    """

    def __init__(self, most: int, place: Place) -> None:
        self._most = most
        self.first = self._for(PACKED * place.bytes // max(1, place.records))

    def following(self, hits: list[Any]) -> int:
        """How many the page after this one may have, judged by a sample of this one."""
        sample = hits[:: max(1, len(hits) // 20)]
        return self._for(sum(len(str(hit.get("_source"))) for hit in sample) // len(sample))

    def _for(self, average: int) -> int:
        return max(1, min(self._most, PAGE_BYTES // (average + 1)))
