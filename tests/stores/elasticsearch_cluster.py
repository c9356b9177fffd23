"""The real Elasticsearch as its tests see it: index names of one test's own, people, and the fields that hold them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.masking import CONSTANT
from activities.stores.elasticsearch.documents import ElasticsearchMap
from activities.stores.elasticsearch.store import ElasticsearchStore
from activities.vault import BatchVault

ANN = Contributor("c-1", emails=("ann@x.io",), worker_ids=("12", "w-7"))
BOB = Contributor("c-2", emails=("bob.o'neil+x@x.io",), worker_ids=("w*1",))

KEYWORD = {"type": "keyword"}
RULES: dict[str, Any] = {
    "worker_email": "email",
    "worker_id": "worker_id",
    "worker_name": {"beside": "worker_id", "mask": "constant"},
    "judgments.worker_id": "worker_id",
    "judgments.worker_email": "email",
    "judgments.worker_name": {"beside": "judgments.worker_id", "mask": "constant"},
    "comment": {"holds": ["email", "worker_id"], "mask": "text"},
}
PERSON = {"worker_id": KEYWORD, "worker_email": KEYWORD, "worker_name": KEYWORD}
MAPPING: dict[str, Any] = {
    "properties": {
        **PERSON,
        "judgments": {"type": "nested", "properties": {**PERSON, "score": {"type": "float"}}},
        "comment": {"type": "text"},
    }
}
NEIGHBOURS: dict[str, dict[str, Any]] = {
    "longer-id": {"worker_id": "123", "worker_name": "Ann", "worker_email": "notann@x.io"},
    "other-domain": {"worker_id": "w-77", "worker_email": "ann@x.io.uk", "judgments": [{"worker_id": "W-7"}]},
    "text": {"comment": "123 and w-77 wrote to ann@x.io.uk, notann@x.io; don't touch 1.12"},
    "pattern": {"worker_id": "wxyz1", "comment": "w**1 and ann@x-io"},
    "empty": {"worker_id": None, "judgments": [], "comment": [None]},
}


@dataclass
class Cluster:
    """The real cluster, and index names of one test's own."""

    client: AsyncElasticsearch
    heartbeat: Heartbeat
    prefix: str = field(default_factory=lambda: f"test-{secrets.token_hex(5)}-")

    @property
    def pattern(self) -> str:
        return f"{self.prefix}*"

    def store(self, rules: dict[str, Any] | None = None, pattern: str | None = None) -> ElasticsearchStore:
        data_map = ElasticsearchMap.model_validate({pattern or self.pattern: rules or RULES})
        return ElasticsearchStore(self.client, data_map, self.heartbeat)

    async def index(
        self,
        documents: dict[str, dict[str, Any]],
        name: str = "a",
        mapping: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        routing: str | None = None,
    ) -> str:
        """Makes an index with these documents; answers its name."""
        index = self.prefix + name
        if not await self.client.indices.exists(index=index):
            await self.client.indices.create(
                index=index,
                mappings=MAPPING if mapping is None else mapping,
                settings={"number_of_replicas": 0, **(settings or {})},
            )
        operations: list[Any] = []
        for key, document in documents.items():
            action = {"_index": index, "_id": key, **({"routing": routing} if routing else {})}
            operations += [{"index": action}, document]
        if operations:
            answer = await self.client.bulk(operations=operations, refresh=True)
            assert not answer["errors"], answer
        return index

    async def hits(self, index: str) -> dict[str, dict[str, Any]]:
        """Every document of an index, whole."""
        answer = await self.client.search(
            index=index,
            size=10_000,
            version=True,
            seq_no_primary_term=True,
            source={"exclude_vectors": False},
        )
        return {hit["_id"]: hit for hit in answer["hits"]["hits"]}

    async def sources(self, index: str) -> dict[str, Any]:
        return {key: hit["_source"] for key, hit in (await self.hits(index)).items()}

    async def masked(self, index: str) -> int:
        await self.client.indices.refresh(index=index)
        return int((await self.client.count(index=index, query={"prefix": {"worker_id": CONSTANT}}))["count"])

    async def drop(self) -> None:
        found = await self.client.indices.get(index=self.pattern, expand_wildcards="all", ignore_unavailable=True)
        for name in found.body:
            await self.client.indices.put_settings(index=name, settings={"index.blocks.read_only": None})
            await self.client.indices.delete(index=name)


async def pre_images(vault: BatchVault, name: str = "pre-image/elasticsearch/") -> list[dict[str, Any]]:
    return [record for found in await vault.names(name) async for _, record in vault.records(found)]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - watches what the store itself reports
            await asyncio.sleep(0)


async def erased(store: ElasticsearchStore, part: Slice, vault: BatchVault) -> dict[str, Tally]:
    await store.back_up(part, vault)
    return (await store.erase(part, vault)).places
