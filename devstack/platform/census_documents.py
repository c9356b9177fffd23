"""The census of Elasticsearch: every document is read, and every string in it is looked at, whatever the field.

A document names several people. Its share in the fingerprint is what is left once the batch's values, or their masks,
are blanked out: so it shows as well that an erasure left everybody else's part of a shared document alone.
"""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import Any

from elasticsearch import AsyncElasticsearch

from devstack.platform.plan import Names
from devstack.platform.tally import MASK, Batch, Count, Tally

PAGE = 2_000
"""Documents a request."""

KEEP_ALIVE = "1m"

IDENTITY, MASKED = "\ue000", "\ue001"
"""Stand where an identity or a mask was blanked out: characters that no text has."""

PUNCTUATION = ".,;:!?()<>[]\"'"
"""May stand right beside an identity in prose."""

REMEMBERED = 50_000
"""Strings."""

_WANTED = "_scroll_id,hits.hits._id,hits.hits._routing,hits.hits._source"


async def count(client: AsyncElasticsearch, names: Names, batch: Batch) -> list[Count]:
    """Counts the documents of each index.

    Args:
        client: Connected to the platform's cluster.
        names: Holds the prefix of the indices.
        batch: Whom to look for.
    """
    await client.indices.refresh(index=list(names.indices))
    return list(await asyncio.gather(*(_count(client, index, batch) for index in names.indices)))


async def _count(client: AsyncElasticsearch, index: str, batch: Batch) -> Count:
    tally, look = Tally(), Look(batch)
    encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
    answer = await client.search(index=index, scroll=KEEP_ALIVE, size=PAGE, sort="_doc", filter_path=_WANTED)
    while hits := answer.get("hits", {}).get("hits", []):
        for hit in hits:
            text = encode([hit["_id"], hit.get("_routing"), look.at(hit["_source"])])
            others = text.replace(MASKED, IDENTITY).encode()
            tally.add(batch=IDENTITY in text, deleted=MASKED in text, others=others)
        answer = await client.scroll(scroll_id=answer["_scroll_id"], scroll=KEEP_ALIVE, filter_path=_WANTED)
    await client.clear_scroll(scroll_id=answer["_scroll_id"])
    return tally.count("elasticsearch", index)


class Look:
    """Looks at every string of documents.

    Args:
        batch: Whom to look for.
    """

    def __init__(self, batch: Batch) -> None:
        self._sought = batch
        # The same names, sentences and answers come up again and again.
        self._string = lru_cache(REMEMBERED)(self._blanked)

    def at(self, value: Any) -> Any:
        """A value with the batch's identities, and masks, blanked out, and the name beside each."""
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, list):
            return [self.at(item) for item in value]
        if isinstance(value, dict):
            string = self._string
            looked = {key: string(item) if item.__class__ is str else self.at(item) for key, item in value.items()}
            if "worker_name" in looked and (blank := looked.get("worker_id")) in (IDENTITY, MASKED):
                looked["worker_name"] = blank
            return looked
        return value

    def _blanked(self, value: str) -> str:
        words = value.split(" ")
        for place, word in enumerate(words):
            inner = word.strip(PUNCTUATION)
            if inner.startswith(MASK):
                words[place] = word.replace(inner, MASKED)
            elif inner and self._sought.has(inner):
                words[place] = word.replace(inner, IDENTITY)
        return " ".join(words)
