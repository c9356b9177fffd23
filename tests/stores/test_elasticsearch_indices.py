"""Indices of every kind in a real Elasticsearch: streams, routed and related documents, and what no mask reaches."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from activities.contract import Contributor, Recovery, Restored, Slice, Tally
from activities.stores.elasticsearch.pre_images import Fingerprints
from activities.suspicion import Suspicion
from activities.vault import BatchVault
from tests.stores.conftest import People
from tests.stores.elasticsearch_cluster import ANN, KEYWORD, Cluster, erased

STREAM = "test-stream"
"""One for all runs: this server can make a data stream, but has nothing by which one goes; it is left empty."""


async def test_a_data_stream_is_resolved_to_its_indices(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    client, worker = cluster.client, f"w-{secrets.randbelow(10**9)}"
    template = {"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"worker_id": KEYWORD}}}
    await client.indices.put_index_template(name=STREAM, index_patterns=[STREAM], data_stream={}, template=template)
    hers = {"@timestamp": "2024-01-31T00:00:00Z", "worker_id": worker}
    others = {**hers, "worker_id": f"{worker}1"}
    lines = [line for document in (hers, others) for line in ({"create": {"_index": STREAM}}, document)]
    made = [item["create"] for item in (await client.bulk(operations=lines, refresh=True))["items"]]
    index = made[0]["_index"]
    try:
        store = cluster.store({"worker_id": "worker_id"}, STREAM)
        health = await store.probe()
        assert index.startswith(".ds-")
        assert (health.places, health.problems, health.warnings) == ([index], [], [])
        part = slice_of(Contributor("c", worker_ids=(worker,)))
        assert await erased(store, part, vault) == {index: Tally(matched=1, changed=1)}
        sources = await cluster.sources(index)
        assert [sources[each["_id"]] for each in made] == [{**hers, "worker_id": vault.masker.token(worker)}, others]
        assert await store.restore(part, vault) == Restored({index: Recovery(1, 1)})
        assert (await cluster.sources(index))[made[0]["_id"]] == hers
        other = cluster.store({"worker_id": "worker_id"})
        (suspect,) = await other.survey(Suspicion(look=[f"elasticsearch {STREAM}*"]))
        assert (suspect.place, suspect.entry) == (f"{STREAM}: worker_id", {STREAM: {"worker_id": "worker_id"}})
    finally:
        gone = [{"delete": {"_index": each["_index"], "_id": each["_id"]}} for each in made]
        await client.bulk(operations=gone, refresh=True)


async def test_a_document_stays_with_its_parent_and_under_its_routing(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    # as a field of type join has it: the relation is in the document, and the child lies where its parent does
    mapping = {"properties": {"worker_id": KEYWORD, "relation": {"properties": {"name": KEYWORD, "parent": KEYWORD}}}}
    child = {"worker_id": "12", "relation": {"name": "answer", "parent": "q-1"}}
    settings = {"number_of_shards": 3}
    index = await cluster.index({"q-1": {"relation": {"name": "question"}}}, "j", mapping, settings)
    await cluster.index({"a-1": child, "a-2": {**child, "worker_id": "123"}}, "j", routing="q-1")
    before = await cluster.hits(index)
    store = cluster.store({"worker_id": "worker_id"})
    for verb, worker in ((store.erase, vault.masker.token("12")), (store.restore, "12")):
        await store.back_up(ann, vault)
        await verb(ann, vault)
        after = await cluster.hits(index)
        assert len(after) == 3
        assert (after["a-1"]["_routing"], after["a-1"]["_source"]) == ("q-1", {**child, "worker_id": worker})
        assert {key: after[key] for key in ("q-1", "a-2")} == {key: before[key] for key in ("q-1", "a-2")}


async def test_an_identity_by_which_a_document_is_named_or_routed_is_reported_each_time(
    cluster: Cluster, vault: BatchVault, beats: list[tuple[str, int]]
) -> None:
    fine = await cluster.index({"12": {"worker_id": "12"}, "ann@x.io.uk": {}}, "fine")
    named = await cluster.index({"ann@x.io": {"worker_id": "12"}}, "named")
    routed = await cluster.index({"1": {"n": 1}, "2": {"n": 2}}, "routed", routing="w-7")
    store = cluster.store()
    await store.back_up(People([ANN]), vault)
    for _ in range(2):
        result = await store.erase(People([ANN]), vault)
        assert [(warning.place, warning.what[:11]) for warning in result.warnings] == [
            (named, "1 documents"),
            (routed, "2 documents"),
        ]
        assert not any(word in str(result.warnings) for word in ("ann@", "w-7"))
    assert result.total == Tally(already_clean=2)
    assert {place for place, _ in beats} == {fine, named, routed}


async def test_an_index_that_does_not_keep_documents_as_they_were_written_is_a_problem(cluster: Cluster) -> None:
    modes = {"synthetic": "synthetic", "disabled": "no whole _source"}
    expected = {}
    for mode, what in modes.items():
        expected[await cluster.index({}, mode, settings={"index.mapping.source.mode": mode})] = what
    expected[await cluster.index({}, "logs", {}, {"index.mode": "logsdb"})] = "synthetic"
    await cluster.index({}, "stored", {}, {"index.mode": "logsdb", "index.mapping.source.mode": "stored"})
    problems = (await cluster.store({"worker_id": "worker_id"}).probe()).problems
    assert {problem.place for problem in problems} == expected.keys()
    assert all(expected[problem.place] in problem.what for problem in problems)


def test_fingerprints_are_told_apart_wherever_they_meet() -> None:
    marks = Fingerprints()
    known = [bytes(2) + secrets.token_bytes(14) for _ in range(50)]
    for mark in known:
        marks.add(mark)
    joined = b"".join(known)
    assert all(mark in marks for mark in known)
    assert not any(joined[at : at + 16] in marks for at in range(1, len(joined) - 16) if at % 16)
    assert secrets.token_bytes(16) not in marks
