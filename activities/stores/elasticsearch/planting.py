"""Planting: one document of the canary in every index, with each field of the data map that the index knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.canary.person import NAME, Canary, own_name
from activities.contract import Finding, Planted, Seed, Seeds
from activities.errors import TransientError, translated
from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.rules import FieldRule
from activities.stores.elasticsearch.catalogue import TEXT_TYPES, Index, merge, resolve
from activities.stores.elasticsearch.connection import PLACE, error_type, translate
from activities.stores.elasticsearch.documents import ElasticsearchMap
from activities.stores.elasticsearch.writing import BULK_BYTES

TIMESTAMP = "@timestamp"
"""What every document of a data stream has."""

_ANY = tuple(IdentityKind)


class ElasticsearchPlanter:
    """Plants in Elasticsearch; see `activities.contract.Planter` for the verbs.

    Args:
        client: The client, shared.
        data_map: Index patterns and their fields.
    """

    def __init__(self, client: AsyncElasticsearch, data_map: ElasticsearchMap) -> None:
        self._client = client
        self._data_map = data_map

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles one document an index; of a data stream only the index that takes new ones has one."""
        found = Seeds()
        with translated(PLACE, translate):
            streams = await self._streams()
            for index in merge(await resolve(self._client, self._data_map)):
                stream, writable = streams.get(index.name, (None, True))
                problem = next(index.problems(), None)
                if not writable:
                    problem = Finding(index.name, "takes no new documents", "Its data stream has a newer index.")
                values = dict(_values(index, canary))
                if problem is None and not values:
                    problem = Finding(index.name, "has no field that the canary has a value for", "See [canary].")
                if problem is not None:
                    found.missed.append(problem)
                    continue
                document = _document(index, {path: value for path, (value, _) in values.items()})
                if stream is not None:
                    document[TIMESTAMP] = datetime.now(UTC).isoformat()
                key = own_name()
                routed = index.mapping.get("_routing", {}).get("required") is True
                record = {
                    "target": stream or index.name,
                    "operation": "index" if stream is None else "create",
                    "id": key,
                    "routing": key if routed else None,
                    "document": document,
                    "own": {path: own for path, (_, own) in values.items()},
                }
                found.seeds.append(Seed(index.name, record))
        return found

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Writes the documents, and has them searchable at once."""
        planted = Planted()
        with translated(PLACE, translate):
            for chunk in _chunks(seeds):
                operations = [part for seed in chunk for part in _operation(seed.record)]
                answer = await self._client.bulk(operations=operations, pipeline="_none", refresh=True)
                for seed, item in zip(chunk, answer["items"], strict=True):
                    (outcome,) = item.values()
                    if outcome["status"] == 429 or outcome["status"] >= 500:
                        raise TransientError(seed.place, f"answered {outcome['status']}", "Wait; it is tried again.")
                    if outcome["status"] < 300 or outcome["status"] == 409:  # it was created by an earlier attempt
                        planted.places[outcome.get("_index", seed.place)] = 1
                        continue
                    what = f"refuses the canary's document ({error_type(outcome.get('error'))})"
                    planted.missed.append(Finding(seed.place, what, "Compare the data map with its mapping."))
        return planted

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Deletes the documents, each guarded by what was read of it."""
        stays: list[Finding] = []
        with translated(PLACE, translate):
            for seed in seeds:
                for hit in await self._there(seed.record):
                    if not _is_own(hit["_source"], seed.record["own"]):
                        what = "the canary's document holds something else now, and was kept"
                        stays.append(Finding(seed.place, what, "Look at it, and delete it by hand."))
                    elif (why := await self._delete(hit)) is not None:
                        what = f"the canary's document cannot be deleted ({why})"
                        stays.append(Finding(seed.place, what, "Lift what forbids it, then delete it by hand."))
        return stays

    async def _streams(self) -> dict[str, tuple[str, bool]]:
        """Of each index of a data stream: the stream, and whether the index takes its new documents."""
        answer = await self._client.indices.resolve_index(name="*", expand_wildcards="all")
        found: dict[str, tuple[str, bool]] = {}
        for stream in answer["data_streams"]:
            names = stream["backing_indices"]
            indices = [names] if isinstance(names, str) else names
            found |= {name: (stream["name"], name == indices[-1]) for name in indices}
        return found

    async def _there(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        target = record["target"]
        await self._client.indices.refresh(index=target, ignore_unavailable=True)
        answer = await self._client.search(
            index=target,
            query={"ids": {"values": [record["id"]]}},
            seq_no_primary_term=True,
            ignore_unavailable=True,
            allow_partial_search_results=False,
        )
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    async def _delete(self, hit: Mapping[str, Any]) -> str | None:
        """Why it cannot be deleted; None where it is gone."""
        action = {
            "_index": hit["_index"],
            "_id": hit["_id"],
            "if_seq_no": hit["_seq_no"],
            "if_primary_term": hit["_primary_term"],
        }
        if (routing := hit.get("_routing")) is not None:
            action["routing"] = routing
        answer = await self._client.bulk(operations=[{"delete": action}], refresh=True)
        outcome = answer["items"][0]["delete"]
        return None if outcome["status"] in (200, 404) else error_type(outcome.get("error"))


def _values(index: Index, canary: Canary) -> Iterator[tuple[str, tuple[Any, list[str]]]]:
    """Of each field a value, and all that it may read later; fields that the index does not know would change it."""
    for path, rule in index.rules.items():
        mapped = index.fields.get(path)
        if path in index.fields.objects or (mapped is None and not index.fields.may_hide(path)):
            continue
        if (number := index.numbers.get(path)) is not None and rule.mask is not Strategy.TEXT:
            value = canary.identity(rule.holds or (IdentityKind.WORKER_ID, IdentityKind.CONTRIBUTOR_ID))
            own = canary.own_number(value, number.bits, signed=number.signed) if value is not None else None
            if value is not None and own is not None:
                yield path, (int(value), own)
        elif mapped is None or mapped.type in TEXT_TYPES:
            text = _text(rule, canary)
            if text is not None:
                held = {NAME: text} if mapped is not None and mapped.type == "flattened" else text
                yield path, (held, canary.own(text, rule.holds or _ANY))


def _text(rule: FieldRule, canary: Canary) -> str | None:
    if rule.beside is not None:
        return NAME
    return canary.text(rule.holds) if rule.mask is Strategy.TEXT else canary.identity(rule.holds)


def _document(index: Index, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values at their paths; what is nested is an array of one object."""
    nested = {mapped.nested for mapped in index.fields.fields.values()}
    document: dict[str, Any] = {}
    for path, value in values.items():
        node = document
        *parents, name = path.split(".")
        for depth, parent in enumerate(parents, 1):
            held = node.setdefault(parent, [{}] if ".".join(parents[:depth]) in nested else {})
            node = held[0] if isinstance(held, list) else held
        node[name] = value
    return document


def _is_own(source: Mapping[str, Any], own: Mapping[str, list[str]]) -> bool:
    """Whether every field that was planted holds a value of the canary, a mask of one, or nothing."""
    return all(str(value) in allowed for path, allowed in own.items() for value in _held(source, path.split(".")))


def _held(node: Any, parts: Sequence[str]) -> Iterator[Any]:
    if isinstance(node, list):
        for element in node:
            yield from _held(element, parts)
    elif parts:
        if isinstance(node, dict) and parts[0] in node:
            yield from _held(node[parts[0]], parts[1:])
    elif isinstance(node, dict):
        for member in node.values():
            yield from _held(member, ())
    elif node is not None:
        yield node


def _operation(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    action = {"_index": record["target"], "_id": record["id"]}
    if record["routing"] is not None:
        action["routing"] = record["routing"]
    return {record["operation"]: action}, record["document"]


def _chunks(seeds: Sequence[Seed]) -> Iterator[list[Seed]]:
    """The documents in requests of at most `BULK_BYTES` (or of one document)."""
    chunk: list[Seed] = []
    size = 0
    for seed in seeds:
        length = len(json.dumps(seed.record))
        if chunk and size + length > BULK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(seed)
        size += length
    if chunk:
        yield chunk
