"""The identities that the data map's fields hold, whoever's they are.

A field that keeps its values beside the documents, exactly as they are, is asked for its distinct ones. Every other
field is read in the documents themselves; so are documents of which the mapping ignored something.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Finding, Heartbeat, Sighting
from activities.masking import Strategy
from activities.rules import FieldRule
from activities.stores.elasticsearch.catalogue import Index
from activities.stores.elasticsearch.documents import plain
from activities.stores.elasticsearch.reading import pages
from activities.stores.elasticsearch.search import EVERYTHING, Approach, How, Query, approaches, distinct


async def identities(
    client: AsyncElasticsearch, index: Index, heartbeat: Heartbeat
) -> AsyncGenerator[Sighting | Finding]:
    """Yields what the fields of an index hold.

    Args:
        client: The client.
        index: The index.
        heartbeat: Told of every page.
    """
    if problem := next(index.problems(), None):  # no batch could erase there
        yield problem
        return
    await client.indices.refresh(index=index.name)  # what was just written has to be found
    found = approaches(index)
    told = [approach for approach in found if _tells_all(approach)]
    for approach in told:
        async with aclosing(distinct(client, index.name, approach)) as values:
            async for page in values:
                heartbeat(index.name, 0)
                yield Sighting(f"{index.name} {approach.path}", approach.rule.holds, page)
    query: Query = EVERYTHING
    if len(told) == len(found):
        query = {"terms": {"_ignored": sorted({name for each in told for name in (each.path, each.field)})}}
    fields = {approach.path: approach.rule for approach in found}
    seen = 0
    async with aclosing(pages(client, index.name, query, sorted(fields))) as documents:
        async for hits in documents:
            seen += len(hits)
            heartbeat(index.name, seen)
            held: dict[str, list[str]] = {}
            for hit in hits:
                for path, value in values_of(hit["_source"], fields):
                    held.setdefault(path, []).append(value)
            for path, values_held in held.items():
                rule = fields[path]
                texts = rule.mask is Strategy.TEXT
                yield Sighting(f"{index.name} {path}", rule.holds, values_held, are_texts=texts)


def values_of(source: Mapping[str, Any], fields: Mapping[str, FieldRule]) -> Iterator[tuple[str, str]]:
    """Yields what a document holds in some fields, each value with its field.

    Args:
        source: The document; objects, arrays and dotted keys are looked through.
        fields: The fields, by dotted path.
    """
    objects = {path[:at] for path in fields for at, letter in enumerate(path) if letter == "."}

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, list):
            for element in node:
                yield from walk(element, prefix)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                path = prefix + key
                if path in fields:
                    yield from ((path, text) for text in _leaves(value))
                if path in objects:
                    yield from walk(value, f"{path}.")

    yield from walk(source, "")


def _leaves(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for member in value.values():
                yield from _leaves(member)
        case list():
            for element in value:
                yield from _leaves(element)
        case bool():
            return
        case str() | int() | Decimal():
            yield plain(value)


def _tells_all(approach: Approach) -> bool:
    """Whether a field's distinct values are exactly what its documents hold: nothing lowered, nothing left out."""
    mapped = approach.mapped
    if approach.how is not How.TERMS or mapped is None:
        return False
    spec: Mapping[str, Any] = mapped.spec
    if approach.field != approach.path:
        spec = spec["fields"][approach.field.removeprefix(f"{approach.path}.")]
    return spec.get("doc_values", True) is not False and spec.get("normalizer") is None and spec["type"] != "wildcard"
