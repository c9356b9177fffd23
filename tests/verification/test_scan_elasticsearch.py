"""The scan of Elasticsearch, on the real server: identities in places that no data map names."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.contract import Contributor
from activities.errors import CriticalError, TransientError
from activities.stores import elasticsearch
from activities.stores.elasticsearch.connection import ElasticsearchSettings
from activities.verification import scanning
from activities.verification.contract import Scope
from activities.verification.scanners import kinds
from activities.verification.scanners.elasticsearch.scanner import ElasticsearchScanner
from tests.bench import HasEnv
from tests.stores.elasticsearch_cluster import KEYWORD, Cluster, until
from tests.stores.test_elasticsearch_indices import STREAM
from tests.verification.residuals import ANN, NEIGHBOURS, People, found, scanned, uncertain, unproven

CANARIES = "elasticsearch erasure-canary-*"
MAPPING: dict[str, Any] = {
    "properties": {
        "worker_id": KEYWORD,
        "nested": {"type": "nested", "properties": {"who": KEYWORD}},
        "closed": {"dynamic": False, "properties": {"known": KEYWORD}},
        "off": {"type": "object", "enabled": False},
        "blob": {"type": "binary"},
        "size": {"type": "long"},
    }
}
PLANTED: dict[str, dict[str, Any]] = {
    "1": {"worker_id": "w-7"},
    "2": {"nested": [{"who": "x"}, {"who": "ANN@x.io"}], "closed": {"unknown": {"deep": ["bob.o'neil+x@x.io"]}}},
    "3": {"off": {"any": {"thing": "ann@x.io"}}, "payload": json.dumps({"by": json.dumps({"mail": "ann\u0040x.io"})})},
    "4": {"votes": {"w-7": 1, "other": 2}, "blob": base64.b64encode(b"\x00mail: ann@x.io").decode()},
    "5": {"notes": "see https://x.example/?u=Ann%40X.io, or &lt;ann@x.io&gt;", "owner": 4711},
    "w-7": {"size": 4711},
    "7": {"worker_id": "w-7", "list": [["w-7"], ["w-7"]], "members": [{"a": "w-7"}]},
}
PLACES = {
    "a: worker_id worker_id": 2,
    "a: nested.who email": 1,
    "a: closed.unknown.deep email": 1,
    "a: off.any.thing email": 1,
    "a: payload email": 1,
    "a: votes (names of fields) worker_id": 1,
    "a: blob email": 1,
    "a: notes email": 1,
    "a: owner worker_id": 1,
    "a: _id worker_id": 1,
    "a: list worker_id": 1,
    "a: members.a worker_id": 1,
    "a: its mappings worker_id": 1,
}


@pytest.fixture
async def cluster(stack: HasEnv) -> AsyncIterator[Cluster]:
    settings = ElasticsearchSettings(url=stack.env["ERASURE_ELASTICSEARCH__URL"])
    async with elasticsearch.connection.connect(settings) as client:
        cluster = Cluster(client, lambda *_: None)
        yield cluster
        await cluster.drop()


def scope(cluster: Cluster, depth: Any = "catalogue", *mapped: str) -> Scope:
    return Scope(depth, mapped, (f"elasticsearch {cluster.pattern}", CANARIES))


async def canaries(cluster: Cluster) -> set[str]:
    return {*(await cluster.client.indices.get(index="erasure-canary-*", expand_wildcards="all")).body}


async def test_identities_are_found_wherever_a_document_holds_them(cluster: Cluster) -> None:
    neighbours = {str(number): {"worker_id": value, "note": f"({value})"} for number, value in enumerate(NEIGHBOURS)}
    masked = {f"m{number}": {"worker_id": f"DELETED_USER-{'a' * 26}", "email": "DELETED_USER"} for number in range(3)}
    await cluster.index(PLANTED, mapping=MAPPING)
    await cluster.index({**neighbours, **masked, "none": {}}, "clean")
    scanner = ElasticsearchScanner(cluster.client)
    async with ElasticsearchScanner(cluster.client).planted("somebody else's"):
        scan = await scanned("elasticsearch", scanner, scope(cluster))
    assert found(scan, cluster.prefix) == PLACES
    assert scan.proven == [f"{cluster.prefix}clean"]
    assert scan.masked == {f"{cluster.prefix}clean": 6}
    assert scan.records == len(PLANTED) + len(neighbours) + 3 + 1
    assert uncertain(scan, cluster.prefix) == {"a: size": 1}
    assert scan.version[0].isdecimal()
    assert scan.bytes > 0
    in_passes = await scanned("elasticsearch", scanner, scope(cluster), at_once=1)
    assert (in_passes.passes, in_passes.records) == (2, scan.records)
    assert found(in_passes, cluster.prefix) == PLACES


async def test_what_documents_do_not_show_is_read_otherwise_or_not_proven(cluster: Cluster) -> None:
    fields = {
        "who": KEYWORD,
        "number": {"type": "long"},
        "kept": {"type": "text", "store": True},
        "gone": {"type": "text"},
        "both": {"type": "text", "fields": {"raw": KEYWORD}},
        "lower": {"type": "keyword", "normalizer": "lowercase"},
        "inside": {"type": "nested", "properties": {"who": KEYWORD}},
        "nowhere": {"type": "keyword", "index": False, "doc_values": False},
        "score": {"type": "float"},
        "shown": KEYWORD,
    }
    values = {
        "who": "w-7",
        "number": 4711,
        "kept": "to ann@x.io",
        "gone": "to ann@x.io",
        "both": "ann@x.io",
        "lower": "ann@x.io",
        "inside": [{"who": "w-7"}],
        "nowhere": "w-7",
        "score": 1.5,
        "shown": "w-7",
    }
    excluded = [name for name in fields if name != "shown"]
    await cluster.index({"1": values}, "part", {"_source": {"excludes": excluded}, "properties": fields})
    await cluster.index({"1": values}, "none", {"_source": {"enabled": False}, "properties": fields})
    scan = await scanned("elasticsearch", ElasticsearchScanner(cluster.client), scope(cluster))
    hidden = {"who worker_id": 1, "kept email": 1, "both.raw email": 1, "lower email": 1}
    part = {f"part: {place}": count for place, count in {**hidden, "shown worker_id": 1}.items()}
    none = {f"none: {place}": count for place, count in {**hidden, "shown worker_id": 1}.items()}
    assert found(scan, cluster.prefix) == {**part, **none}
    unread = {place.split(": the field")[0] for place in unproven(scan, cluster.prefix) if "not in _source" in place}
    assert unread == {f"{index}: {field}" for index in ("part", "none") for field in ("gone", "inside.who", "lower")}
    assert scan.proven == []


async def test_hidden_indices_are_read_and_closed_ones_are_not_proven(cluster: Cluster) -> None:
    await cluster.index({"1": {"a": "w-7"}}, "closed")
    await cluster.client.indices.close(index=f"{cluster.prefix}closed")
    await cluster.index({"1": {"a": "w-7"}}, "hidden", settings={"hidden": True})
    await cluster.index({"1": {"a": "x"}}, "open", routing="w-7")
    await cluster.client.indices.put_alias(
        index=f"{cluster.prefix}open", name=f"{cluster.prefix}alias", filter={"term": {"who": "ann@x.io"}}
    )
    scan = await scanned("elasticsearch", ElasticsearchScanner(cluster.client), scope(cluster))
    assert found(scan, cluster.prefix) == {
        "hidden: a worker_id": 1,
        "open: _routing worker_id": 1,
        "open: its aliases email": 1,
    }
    closed = "closed: the index is closed, so that nobody can read it"
    assert unproven(scan, cluster.prefix) == [closed]
    assert scan.proven == []
    await cluster.index({"1": {"a": "x"}}, "hidden")
    deep = await scanned("elasticsearch", ElasticsearchScanner(cluster.client), scope(cluster, "deep"))
    earlier = "hidden (earlier versions and deleted documents): there are 1 on the disk, and no search shows them"
    assert unproven(deep, cluster.prefix) == [closed, earlier]
    assert deep.proven == [f"{cluster.prefix}hidden"]


async def test_the_indices_of_a_data_stream_are_read(cluster: Cluster) -> None:
    client, worker = cluster.client, f"w-{secrets.token_hex(6)}"
    template = {"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"worker_id": KEYWORD}}}
    await client.indices.put_index_template(name=STREAM, index_patterns=[STREAM], data_stream={}, template=template)
    made = await client.index(
        index=STREAM, op_type="create", document={"@timestamp": "2024-01-31T00:00:00Z", "a": worker}, refresh=True
    )
    try:
        reached = Scope("mapped", (STREAM,), ("elasticsearch .ds-test-stream-*", CANARIES))
        scan = await scanned(
            "elasticsearch", ElasticsearchScanner(client), reached, Contributor("c-1-x", (), (worker,))
        )
        assert found(scan) == {f"{made['_index']}: a worker_id": 1}
    finally:
        await client.delete(index=made["_index"], id=made["_id"], refresh=True)


async def test_the_mapped_depth_says_what_it_leaves_out(cluster: Cluster) -> None:
    await cluster.index({"1": {"a": "w-7"}}, "mapped-1")
    await cluster.index({"1": {"a": "w-7"}}, "other")
    scanner = ElasticsearchScanner(cluster.client)
    scan = await scanned("elasticsearch", scanner, scope(cluster, "mapped", f"{cluster.prefix}mapped-*"))
    assert found(scan, cluster.prefix) == {"mapped-1: a worker_id": 1}
    (left_out,) = [each.what for each in scan.not_proven if "not named in the data map" in each.what]
    assert left_out.endswith(f"this depth leaves them out: {cluster.prefix}other")
    estimate = await scanning.estimate(scanner, scope(cluster), lambda *_: None)
    assert (estimate.places, estimate.records) == (2, 2)
    assert estimate.bytes > 0
    assert estimate.seconds > 0


async def test_a_scan_that_proves_nothing_is_an_error(cluster: Cluster) -> None:
    scanner = ElasticsearchScanner(cluster.client)
    with pytest.raises(CriticalError, match="has no place within the scope"):
        await scanned("elasticsearch", scanner, scope(cluster))
    await cluster.index({"1": {"a": "x"}})
    blind = Scope("catalogue", reach=(f"elasticsearch {cluster.pattern}",))
    with pytest.raises(CriticalError, match="did not find the canary"):
        await scanned("elasticsearch", scanner, blind)
    async with elasticsearch.connection.connect(ElasticsearchSettings(url="http://127.0.0.1:1")) as client:
        with pytest.raises(TransientError, match="cannot be reached"):
            await scanned("elasticsearch", ElasticsearchScanner(client), scope(cluster))


async def test_no_canary_stays(cluster: Cluster) -> None:
    await cluster.index({str(number): {"a": "x"} for number in range(300)})
    scanner = ElasticsearchScanner(cluster.client)
    before = await canaries(cluster)
    beats: list[str] = []

    def heartbeat(place: str, _: int) -> None:
        beats.append(place)
        time.sleep(0.05)

    run = asyncio.create_task(
        scanning.scan("elasticsearch", scanner, scope(cluster), People([ANN]), heartbeat, canary="canary-cut-1")
    )
    await until(lambda: bool(beats))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await canaries(cluster) <= before
    # a process that was killed leaves its canary: whoever scans again for it removes it, and so does a later day
    killed = scanner.planted("canary-cut-2")
    left = {await killed.__aenter__(), f"erasure-canary-{'0' * 16}-1000"}
    await cluster.client.indices.create(index=f"erasure-canary-{'0' * 16}-1000")
    await asyncio.sleep(1)
    async with scanner.planted("canary-cut-2") as name:
        assert not left & await canaries(cluster)
        assert name in await canaries(cluster)
    assert name not in await canaries(cluster)
    await killed.__aexit__(None, None, None)


def test_the_places_of_the_data_map_are_index_patterns() -> None:
    data_map = elasticsearch.documents.ElasticsearchMap.model_validate({"project-*": {"a": "email"}})
    assert kinds()["elasticsearch"].mapped(data_map) == ["project-*"]
