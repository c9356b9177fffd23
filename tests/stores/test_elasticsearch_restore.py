"""Rolling an erasure back in a real Elasticsearch: what its indices hold before and after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from activities.contract import Contributor, Recovery, Restored, Slice
from activities.errors import CriticalError
from activities.masking import CONSTANT
from activities.stores.elasticsearch.documents import text_of
from activities.stores.elasticsearch.restoring import ROUNDS
from activities.vault import BatchVault
from tests.stores.conftest import People
from tests.stores.elasticsearch_cluster import ANN, BOB, NEIGHBOURS, RULES, Cluster, erased, until

EMPTYING: dict[str, Any] = {
    **RULES,
    "gone": {"holds": "worker_id", "mask": "remove"},
    "void": {"holds": "worker_id", "mask": "null"},
    "names": {"beside": "worker_id", "mask": "constant"},
    "phone": {"beside": "worker_id", "mask": "remove"},
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "plain": {"worker_id": "12", "worker_email": " Ann@X.io", "worker_name": "Änn Ω 🙂", "price": 19.90, "n": 1},
    "number": {"worker_id": 12, "worker_name": 4711, "flags": [True, None, 0, 1, 1.0]},
    "mixed": {"worker_id": [12, "12", "99"], "names": ["Ann", "Annie", "Zoë"]},
    "nested": {
        "judgments": [
            {"worker_id": "w-7", "worker_name": "Ann", "worker_email": "ANN@x.io", "score": 0.5},
            {"worker_id": "w-7", "worker_name": "A. Nonym", "score": 1},
            {"worker_id": "123", "worker_name": "Bob"},
        ]
    },
    "dotted": {"judgments.worker_id": ["w-7"], "judgments.worker_name": "Ann", "z": {"a.b": [[1], []]}},
    "arrays": {"worker_id": [["w-7", "w-8"], [["12"]]], "comment": ["by 12", ["or w-7"]]},
    "free-text": {"comment": "Ann@x.io wrote: «12», and 12 again; not 123 ✓"},
    "emptied": {"gone": "12", "void": ["12", None, 5], "z": None, "worker_name": "stays"},
    "removed": {"a": 1, "gone": ["x", "12", "y", 12], "phone": {"home": None}, "worker_id": "w-7", "b": 2},
}
ALL = {**DOCUMENTS, **NEIGHBOURS}
INTACT = "intact"


def states(hits: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What each document says, digit by digit and in its order."""
    return {key: text_of([hit.get("_routing"), hit["_source"]]) for key, hit in hits.items()}


async def rolled_back(cluster: Cluster, part: Slice, vault: BatchVault) -> Restored:
    return await cluster.store(EMPTYING).restore(part, vault)


async def put(cluster: Cluster, index: str, key: str, source: dict[str, Any]) -> None:
    operations: list[Any] = [{"index": {"_index": index, "_id": key}}, text_of(source)]
    answer = await cluster.client.bulk(operations=operations, refresh=True)
    assert not answer["errors"]


async def masked_one(cluster: Cluster, part: Slice, vault: BatchVault, source: dict[str, Any]) -> tuple[str, Any]:
    """An index with one document, erased; answers its name and the masked document."""
    index = await cluster.index({"1": source}, mapping={"dynamic": False})
    await erased(cluster.store(EMPTYING), part, vault)
    masked = (await cluster.sources(index))["1"]
    assert masked != source
    return index, masked


# what comes back


async def test_every_document_is_as_it_was_and_its_neighbours_were_never_written(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    indices = [
        await cluster.index(ALL, name="mapped-not", mapping={"dynamic": False}),
        await cluster.index(
            ALL, name="routed", mapping={"dynamic": False}, routing="r", settings={"number_of_shards": 3}
        ),
        await cluster.index({key: ALL[key] for key in ("plain", "nested", "free-text", *NEIGHBOURS)}, name="mapped"),
    ]
    before = {index: await cluster.hits(index) for index in indices}
    tallies = await erased(cluster.store(EMPTYING), ann, vault)
    assert {index: tally.changed for index, tally in tallies.items()} == dict(zip(indices, (9, 9, 3), strict=True))

    restored = await rolled_back(cluster, ann, vault)

    assert restored.warnings == []
    assert restored.places == {index: Recovery(tally.changed, tally.changed) for index, tally in tallies.items()}
    for index in indices:
        after = await cluster.hits(index)
        assert states(after) == states(before[index])
        assert {key: after[key] for key in NEIGHBOURS} == {key: before[index][key] for key in NEIGHBOURS}


async def test_a_second_rollback_writes_nothing(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index(ALL, mapping={"dynamic": False})
    await erased(cluster.store(EMPTYING), ann, vault)
    await rolled_back(cluster, ann, vault)
    once = await cluster.hits(index)
    assert await rolled_back(cluster, ann, vault) == Restored({index: Recovery(9, intact=9)})
    assert await cluster.hits(index) == once


async def test_vectors_and_digits_survive(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    mapping = {"dynamic": False, "properties": {"vector": {"type": "dense_vector", "dims": 2}}}
    vectors = await cluster.index({"1": {"worker_id": "12", "vector": [0.25, 3.0]}}, name="v", mapping=mapping)
    digits = await cluster.index({}, name="d", mapping={"dynamic": False})
    body = '{"worker_id":"12","exact":0.12345678901234567890123,"price":1.10,"big":12345678901234567890}'
    operations: list[Any] = [{"index": {"_index": digits, "_id": "1"}}, body]
    await cluster.client.bulk(operations=operations, refresh=True)
    before = states(await cluster.hits(vectors))
    await erased(cluster.store(EMPTYING), ann, vault)
    await rolled_back(cluster, ann, vault)
    assert states(await cluster.hits(vectors)) == before
    assert text_of((await cluster.sources(digits))["1"]) == body


async def test_without_a_back_up_there_is_nothing_to_do(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index(ALL, mapping={"dynamic": False})
    before = await cluster.hits(index)
    assert await rolled_back(cluster, ann, vault) == Restored()
    assert await cluster.hits(index) == before


async def test_an_erasure_that_never_began_leaves_everything_intact(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index(ALL, mapping={"dynamic": False})
    await cluster.store(EMPTYING).back_up(ann, vault)
    await put(cluster, index, "plain", {"worker_id": "99"})
    before = await cluster.hits(index)
    assert await rolled_back(cluster, ann, vault) == Restored({index: Recovery(9, intact=9)})
    assert await cluster.hits(index) == before


async def test_an_erasure_and_a_rollback_that_were_cut_are_undone(
    cluster: Cluster, vault: BatchVault, ann: Slice, beats: list[tuple[str, int]]
) -> None:
    documents = {str(n): {"worker_id": "12", "worker_name": f"Ann {n}"} for n in range(3_000)}
    index = await cluster.index(documents)
    store = cluster.store()
    await store.back_up(ann, vault)
    for verb in (store.erase, store.restore):
        beats.clear()
        running = asyncio.create_task(verb(ann, vault))
        await until(lambda: any(count for _, count in beats))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.5)  # the request that was cut off may still arrive
        assert 0 < await cluster.masked(index) < 3_000 or verb == store.restore

    masked = await cluster.masked(index)
    restored = await store.restore(ann, vault)

    assert restored == Restored({index: Recovery(3_000, masked, 3_000 - masked)})
    assert await cluster.sources(index) == documents


async def test_thousands_of_documents_take_a_few_requests(
    cluster: Cluster, vault: BatchVault, ann: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = {str(n): {"worker_id": "12", "n": n} for n in range(5_000)}
    index = await cluster.index(documents)
    await erased(cluster.store(), ann, vault)
    requests: list[str] = []
    transport = cluster.client.transport
    perform = transport.perform_request

    def counted(method: str, target: str, **rest: Any) -> Any:
        requests.append(target)
        return perform(method, target, **rest)

    # nothing is imitated: every request goes to the server, and is counted on its way
    monkeypatch.setattr(transport, "perform_request", counted)
    restored = await cluster.store().restore(ann, vault)
    monkeypatch.undo()

    assert restored == Restored({index: Recovery(5_000, 5_000)})
    assert len(requests) <= 16
    assert await cluster.sources(index) == documents


# what somebody else wrote since

HERS = DOCUMENTS["nested"]["judgments"]
OTHERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any], dict[str, Any], str]] = {
    "another field": (
        {**DOCUMENTS["plain"], "gone": "12", "void": "12"},
        lambda now: {**now, "price": 5, "new": True},
        {**DOCUMENTS["plain"], "gone": "12", "void": "12", "price": 5, "new": True},
        "restored",
    ),
    "a text around the mask": (
        {"comment": "12 said"},
        lambda now: {"comment": "PS: " + now["comment"]},
        {"comment": "PS: 12 said"},
        "restored",
    ),
    "a token copied elsewhere": (
        {"worker_email": "ann@x.io"},
        lambda now: {**now, "contact": {"to": [now["worker_email"]]}},
        {"worker_email": "ann@x.io", "contact": {"to": ["ann@x.io"]}},
        "restored",
    ),
    "an array reordered and extended": (
        {"judgments": HERS},
        lambda now: {"judgments": [{"worker_id": "new"}, *reversed(now["judgments"])]},
        {"judgments": [{"worker_id": "new"}, *reversed(HERS)]},
        "restored",
    ),
    "an element of a reordered array": (
        {"judgments": [HERS[0], HERS[2]]},
        lambda now: {"judgments": [now["judgments"][1], {**now["judgments"][0], "score": 9}]},
        {"judgments": [HERS[2], {**HERS[0], "score": 9}]},
        "restored",
    ),
    "arrays side by side": (
        {"worker_id": ["12", "w-7", "99"], "names": ["Ann", "Annie", "Zoë"]},
        lambda now: {"worker_id": now["worker_id"][::-1], "names": now["names"][::-1], "n": 1},
        {"worker_id": ["99", "w-7", "12"], "names": ["Zoë", "Annie", "Ann"], "n": 1},
        "restored",
    ),
    "a removed element's array": (
        {"gone": ["x", "12", "y"], "worker_id": "12"},
        lambda now: {**now, "gone": [*now["gone"], "z"]},
        {"gone": ["x", "12", "y", "z"], "worker_id": "12"},
        "restored",
    ),
    "a masked field": (
        {"worker_id": "12", "worker_email": "ann@x.io", "worker_name": "Ann"},
        lambda now: {**now, "worker_email": "newer@x.io"},
        {"worker_id": "12", "worker_email": "newer@x.io", "worker_name": "Ann"},
        "conflicted",
    ),
    "an element is gone": (
        {"judgments": [HERS[0], HERS[1]]},
        lambda now: {"judgments": now["judgments"][1:]},
        {"judgments": [HERS[1]]},
        "conflicted",
    ),
    "constants that nothing tells apart": (
        {"worker_id": "12", "names": ["Ann", "Annie"]},
        lambda now: {**now, "names": [*now["names"], "x"]},
        {"worker_id": "12", "names": [CONSTANT, CONSTANT, "x"]},
        "conflicted",
    ),
    "a text and a number of one token": (
        {"worker_id": [12, "12"]},
        lambda now: {"worker_id": ["x", *now["worker_id"]]},
        {"worker_id": ["x", None, None]},
        "conflicted",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_what_somebody_else_changed_is_kept_and_only_masks_go(
    cluster: Cluster, vault: BatchVault, ann: Slice, what: str
) -> None:
    source, change, expected, outcome = OTHERS[what]
    index, masked = await masked_one(cluster, ann, vault, source)
    await put(cluster, index, "1", change(masked))
    if what.startswith("a text and a number"):
        expected = change(masked)

    restored = await rolled_back(cluster, ann, vault)

    assert json.loads(text_of((await cluster.sources(index))["1"])) == json.loads(text_of(expected))
    assert restored.places == {index: Recovery(1, **{outcome: 1})}
    assert [warning.place for warning in restored.warnings] == ([index] if outcome == "conflicted" else [])
    once = await cluster.hits(index)
    again = await rolled_back(cluster, ann, vault)
    assert again.places == {index: Recovery(1, **{INTACT if outcome == "restored" else outcome: 1})}
    assert await cluster.hits(index) == once


@pytest.mark.parametrize("anew", [None, {"worker_id": "99", "gone": "x"}, {"n": 1}])
async def test_a_document_deleted_since_stays_deleted_and_one_made_anew_is_kept(
    cluster: Cluster, vault: BatchVault, ann: Slice, anew: dict[str, Any] | None
) -> None:
    index, _ = await masked_one(cluster, ann, vault, {"worker_id": "12", "gone": "12", "worker_name": "Ann"})
    await cluster.client.delete(index=index, id="1", refresh=True)
    if anew is not None:
        await put(cluster, index, "1", anew)
    restored = await rolled_back(cluster, ann, vault)
    assert restored.places == {index: Recovery(1, conflicted=1)}
    assert "1 documents" in restored.warnings[0].what
    assert await cluster.sources(index) == ({} if anew is None else {"1": anew})


async def test_an_index_that_is_gone_is_reported(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index, _ = await masked_one(cluster, ann, vault, {"worker_id": "12"})
    await cluster.client.indices.delete(index=index)
    restored = await rolled_back(cluster, ann, vault)
    assert restored.places == {index: Recovery(1, conflicted=1)}
    assert "gone" in restored.warnings[0].what


# several pre-images of one document


SHARED: dict[str, dict[str, Any]] = {
    "objects": {"judgments": [{"worker_id": "12", "worker_name": "Ann"}, {"worker_id": "w*1", "worker_name": "Bob"}]},
    "side-by-side": {"worker_id": ["12", "w*1"], "names": ["Ann", "Bob"], "worker_name": "Team"},
    "text": {"comment": "12 and w*1 and bob.o'neil+x@x.io"},
    "removed": {"a": 1, "gone": ["12", "x", "w*1"], "void": ["12", "x", "w*1"], "b": 2},
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("at_once", [False, True])
async def test_two_slices_that_meet_in_a_document_are_rolled_back_in_any_order(
    cluster: Cluster, vault: BatchVault, order: tuple[int, int], at_once: bool
) -> None:
    index = await cluster.index(SHARED, mapping={"dynamic": False})
    parts = [People([ANN], name="000000"), People([BOB], name="000001")]
    store = cluster.store(EMPTYING)
    before = states(await cluster.hits(index))
    for part in parts:
        await store.back_up(part, vault)
    if at_once:
        await asyncio.gather(*(store.erase(part, vault) for part in parts))
    else:
        for part in parts:
            await store.erase(part, vault)

    results = [await store.restore(parts[number], vault) for number in order]

    assert states(await cluster.hits(index)) == before
    assert results == [Restored({index: Recovery(4, 4)})] * 2
    assert [await store.restore(part, vault) for part in parts] == [Restored({index: Recovery(4, intact=4)})] * 2


async def test_what_was_masked_after_the_back_up_comes_back_as_it_then_was(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({"same": {"worker_id": "12"}, "changed": {"worker_id": "12", "v": 1}})
    store = cluster.store(EMPTYING)
    await store.back_up(ann, vault)
    await cluster.index({"changed": {"worker_id": "w-7", "v": 2}, "new": {"worker_id": "w-7", "worker_name": "Ann"}})
    rolled = await cluster.index({"new": {"worker_id": "12"}}, name="b")
    before = [await cluster.sources(index), await cluster.sources(rolled)]
    await store.erase(ann, vault)
    assert await store.restore(ann, vault) == Restored({index: Recovery(3, 3), rolled: Recovery(1, 1)})
    assert [await cluster.sources(index), await cluster.sources(rolled)] == before


async def test_a_document_masked_twice_gets_the_values_of_both_times_back(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    source = {"worker_id": "12", "worker_name": "Ann", "worker_email": "ann@x.io"}
    index, masked = await masked_one(cluster, ann, vault, source)
    await put(cluster, index, "1", {**masked, "worker_id": "w-7"})
    await cluster.store(EMPTYING).erase(ann, vault)
    assert await rolled_back(cluster, ann, vault) == Restored({index: Recovery(1, 1)})
    assert await cluster.sources(index) == {"1": {**source, "worker_id": "w-7"}}
    assert await rolled_back(cluster, ann, vault) == Restored({index: Recovery(1, intact=1)})


# others who write meanwhile


@pytest.fixture
async def contested(
    cluster: Cluster, vault: BatchVault, ann: Slice, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[int]]:
    """An index with an erased document, and how often somebody else still writes it just before a bulk request."""
    index, masked = await masked_one(cluster, ann, vault, {"worker_id": "12"})
    times = [0]
    client = cluster.client
    bulk = AsyncElasticsearch.bulk

    async def overtaken(self: AsyncElasticsearch, **rest: Any) -> Any:
        if times[0] > 0:
            times[0] -= 1
            await client.index(index=index, id="1", document={**masked, "v": times[0]})
        return await bulk(self, **rest)

    # nothing is imitated: a real write is put just before the real bulk request, a moment that no test can hit by time
    monkeypatch.setattr(AsyncElasticsearch, "bulk", overtaken)
    return index, times


async def test_a_document_written_meanwhile_is_read_again(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: tuple[str, list[int]]
) -> None:
    index, times = contested
    times[0] = 2
    assert await rolled_back(cluster, ann, vault) == Restored({index: Recovery(1, 1)})
    assert await cluster.sources(index) == {"1": {"worker_id": "12", "v": 0}}


async def test_a_document_that_never_rests_is_reported_and_not_overwritten(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: tuple[str, list[int]]
) -> None:
    index, times = contested
    times[0] = ROUNDS + 1
    restored = await rolled_back(cluster, ann, vault)
    assert restored.places == {index: Recovery(1, conflicted=1)}
    assert times == [0]
    await cluster.client.indices.refresh(index=index)
    assert (await cluster.sources(index))["1"]["v"] == 0


@pytest.mark.parametrize("block", ["write", "read_only", "close"])
async def test_an_index_that_cannot_be_written_is_named_before_anything_is_touched(
    cluster: Cluster, vault: BatchVault, ann: Slice, block: str
) -> None:
    fine = await cluster.index({"1": {"worker_id": "12"}}, name="a")
    other = await cluster.index({"1": {"worker_id": "12"}}, name="b")
    await erased(cluster.store(), ann, vault)
    masked = await cluster.sources(fine)
    if block == "close":
        await cluster.client.indices.close(index=other)
    else:
        await cluster.client.indices.put_settings(index=other, settings={f"index.blocks.{block}": True})
    for verb in (cluster.store().restore, cluster.store().purge):
        with pytest.raises(CriticalError) as caught:
            await verb(ann, vault)
        assert caught.value.place == other
    assert await cluster.sources(fine) == masked


async def test_an_alias_is_rolled_back_in_the_indices_behind_it(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    first = await cluster.index({"1": {"worker_id": "12"}}, name="000001")
    second = await cluster.index({"1": {"worker_id": "w-7"}}, name="000002")
    alias = f"alias-{cluster.prefix}x"
    actions = [{"add": {"index": name, "alias": alias, "is_write_index": name == second}} for name in (first, second)]
    await cluster.client.indices.update_aliases(actions=actions)
    store = cluster.store(pattern=alias)
    await erased(store, ann, vault)
    assert await store.restore(ann, vault) == Restored({first: Recovery(1, 1), second: Recovery(1, 1)})
    assert await cluster.sources(first) == {"1": {"worker_id": "12"}}
    assert await cluster.sources(second) == {"1": {"worker_id": "w-7"}}


async def test_neither_findings_nor_heartbeats_name_a_person(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice], beats: list[tuple[str, int]]
) -> None:
    part = slice_of(Contributor("c", emails=("secret@x.io",)))
    index = await cluster.index({"secret@x.io": {"worker_email": "secret@x.io"}})
    await erased(cluster.store(), part, vault)
    await cluster.client.delete(index=index, id="secret@x.io")
    beats.clear()
    restored = await cluster.store().restore(part, vault)
    assert "secret" not in str(restored)
    assert beats == [(index, 1)]


# purge


async def test_a_purge_merges_old_versions_away_or_says_how_many_linger(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({str(n): {"worker_id": "12"} for n in range(50)})
    untouched = await cluster.index({"1": {"worker_id": "99"}}, name="b")
    await erased(cluster.store(), ann, vault)
    before = await cluster.sources(index)

    purged = await cluster.store().purge(ann, vault)

    stats = (await cluster.client.indices.stats(index=index, metric="docs"))["_all"]["total"]["docs"]
    assert untouched not in purged.places
    assert purged.places[index] + stats["deleted"] == 50
    assert [warning.place for warning in purged.warnings] == ([index] if stats["deleted"] else [])
    assert await cluster.sources(index) == before


async def test_a_slice_without_a_back_up_has_nothing_to_purge(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    assert (await cluster.store().purge(ann, vault)).places == {}
