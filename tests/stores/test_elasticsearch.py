"""Erasing in a real Elasticsearch: what its indices hold before and after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError
from pydantic import SecretStr, ValidationError

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.errors import CriticalError, ErasureError, TransientError
from activities.masking import CONSTANT, TOKEN_LENGTH
from activities.stores.elasticsearch import KIND
from activities.stores.elasticsearch.connection import ElasticsearchSettings, connect, translate
from activities.stores.elasticsearch.documents import ElasticsearchMap, text_of
from activities.stores.elasticsearch.store import ElasticsearchStore
from activities.vault import BatchVault, Receipt
from tests.bench import HasEnv
from tests.stores.conftest import People
from tests.stores.elasticsearch_cluster import (
    ANN,
    BOB,
    KEYWORD,
    NEIGHBOURS,
    PERSON,
    RULES,
    Cluster,
    erased,
    pre_images,
    until,
)

# what is masked


async def test_every_field_of_the_data_map_is_masked_and_nothing_else(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    token = vault.masker.token
    hers = {
        "worker_email": "Ann@X.io",
        "worker_id": 12,
        "worker_name": "Ann",
        "price": 19.90,
        "judgments": [
            {"worker_id": "w-7", "worker_name": "Ann", "worker_email": "ANN@x.io", "score": 0.5},
            {"worker_id": "123", "worker_name": "Bob", "worker_email": "ann@x.io.uk", "score": 1},
        ],
        "comment": "mail Ann@x.io, 12 says w-7; not 123",
    }
    his = {"judgments.worker_id": ["w*1"], "comment": "bob.o'neil+x@x.io"}
    index = await cluster.index({"hers": hers, "his": his, **NEIGHBOURS})
    before = await cluster.hits(index)

    places = await erased(cluster.store(), slice_of(ANN, BOB), vault)

    after = await cluster.hits(index)
    assert places == {index: Tally(matched=2, changed=2)}
    assert {key: after[key] for key in NEIGHBOURS} == {key: before[key] for key in NEIGHBOURS}
    assert after["his"]["_source"] == {"judgments.worker_id": [token("w*1")], "comment": token("bob.o'neil+x@x.io")}
    assert json.loads(json.dumps(after["hers"]["_source"], default=float)) == {
        "worker_email": token("Ann@X.io"),
        "worker_id": token("12"),
        "worker_name": CONSTANT,
        "price": 19.90,
        "judgments": [
            {"worker_id": token("w-7"), "worker_name": CONSTANT, "worker_email": token("ANN@x.io"), "score": 0.5},
            {"worker_id": "123", "worker_name": "Bob", "worker_email": "ann@x.io.uk", "score": 1},
        ],
        "comment": f"mail {token('Ann@x.io')}, {token('12')} says {token('w-7')}; not 123",
    }


async def test_an_address_is_found_in_any_case_and_with_blanks_around_it(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    spellings = ["ann@x.io", "ANN@X.IO", "aNn@x.Io", " ann@x.io", "Ann@x.io\t"]
    flat = {str(n): {"worker_email": value} for n, value in enumerate(spellings)}
    nested = {f"n{n}": {"judgments": [{"worker_email": value}]} for n, value in enumerate(spellings)}
    index = await cluster.index({**flat, **nested})
    places = await erased(cluster.store(), ann, vault)
    assert places == {index: Tally(matched=10, changed=10)}


GROWN_TOGETHER = [
    "mail:ann@x.io",
    "ann@x.io's",
    "d’ann@x.io",
    "l’ann@x.io’s",
    "<ann@x.io>",
    '"ann@x.io"',
    "ann@x.io:bob",
    "(12)",
    "11,12,13",
    "id:w-7",
    "w-7,8",
    "d’w-7",
    "#12.",
    "12;13",
    "w-7:",
    "ann@x.io\u00ad",
    "12\u203f13",
    "12/13+w-7",
    "~w-7~",
    "\n12\n",
]


async def test_an_identity_in_free_text_is_found_whatever_it_has_grown_together_with(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({text: {"comment": f"see {text} there"} for text in GROWN_TOGETHER} | NEIGHBOURS)
    before = await cluster.hits(index)
    places = await erased(cluster.store(), ann, vault)
    after = await cluster.hits(index)
    assert [text for text in GROWN_TOGETHER if after[text] == before[text]] == []
    assert places[index].changed == len(GROWN_TOGETHER)
    assert {key: after[key] for key in NEIGHBOURS} == {key: before[key] for key in NEIGHBOURS}


async def test_an_id_of_letters_only_is_found_behind_an_apostrophe(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    index = await cluster.index({"1": {"comment": "annika's work"}, "2": {"comment": "don't"}})
    assert await erased(cluster.store(), slice_of(Contributor("c", worker_ids=("annika",))), vault) == {
        index: Tally(matched=1, changed=1)
    }


async def test_an_id_without_a_word_in_it_is_found_in_free_text(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    index = await cluster.index({"1": {"comment": "by !?! yesterday"}, "2": {"comment": "no"}})
    places = await erased(cluster.store(), slice_of(Contributor("c", worker_ids=("!?!",))), vault)
    assert places == {index: Tally(matched=1, changed=1)}


MAPPINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"properties": {"p": {"type": "text"}}}, {}),
    "other-analyzer": ({"properties": {"p": {"type": "text", "analyzer": "whitespace"}}}, {}),
    "other-default-analyzer": (
        {"properties": {"p": {"type": "text"}}},
        {"analysis": {"analyzer": {"default": {"type": "standard", "max_token_length": 3}}}},
    ),
    "text-not-indexed": ({"properties": {"p": {"type": "text", "index": False}}}, {}),
    "flavour-that-ignored-it": (
        {"properties": {"p": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 3}}}}},
        {},
    ),
    "keyword-that-ignored-it": ({"properties": {"p": {"type": "keyword", "ignore_above": 3}}}, {}),
    "doc-values-only": ({"properties": {"p": {"type": "keyword", "index": False}}}, {}),
    "index-only": ({"properties": {"p": {"type": "keyword", "doc_values": False}}}, {}),
    "stored-only": ({"properties": {"p": {"type": "keyword", "doc_values": False, "index": False}}}, {}),
    "lowercase-normalizer": ({"properties": {"p": {"type": "keyword", "normalizer": "lowercase"}}}, {}),
    "flattened": ({"properties": {"q": {"type": "flattened"}}}, {}),
    "not-mapped": ({"dynamic": False}, {}),
    "mapping-disabled": ({"enabled": False}, {}),
    "runtime-field": ({"dynamic": "runtime"}, {}),
    "own-normalizer": (
        {"properties": {"p": {"type": "keyword", "normalizer": "own"}}},
        {"analysis": {"normalizer": {"own": {"type": "custom", "filter": ["lowercase"]}}}},
    ),
    "hidden-by-a-runtime-field": ({"runtime": {"p": KEYWORD}, "properties": {"p": KEYWORD}}, {}),
    "completion": ({"properties": {"p": {"type": "completion"}}}, {}),
    "mapped-by-itself": ({}, {}),
    "beyond-the-limit-of-fields": (
        {},
        {"index.mapping.total_fields.limit": 1, "index.mapping.total_fields.ignore_dynamic_beyond_limit": True},
    ),
}


async def test_an_identity_is_found_however_its_field_is_mapped(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    documents: dict[str, dict[str, Any]] = {
        "1": {"p": "Ann@x.io", "q": {"p": "Ann@x.io"}},
        "2": {"p": "bob@x.io", "q": {"p": "bob@x.io"}},
        "3": {},
    }
    for name, (mapping, settings) in MAPPINGS.items():
        await cluster.index(documents, name=name, mapping=mapping, settings=settings)
    store = cluster.store({"p": "email", "q.p": "email"})
    assert (await store.probe()).problems == []

    places = await erased(store, ann, vault)

    assert places == {cluster.prefix + name: Tally(matched=1, changed=1) for name in MAPPINGS}
    token = vault.masker.token("Ann@x.io")
    for name in MAPPINGS:
        expected = {**documents, "1": {"p": token, "q": {"p": token}}}
        assert await cluster.sources(cluster.prefix + name) == expected, name


async def test_a_number_is_found_and_emptied(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    kinds = ["byte", "integer", "long", "double", "keyword"]
    for kind in kinds:
        await cluster.index(
            {"1": {"n": [12, 13]}, "2": {"n": 123}}, name=kind, mapping={"properties": {"n": {"type": kind}}}
        )
    people = slice_of(Contributor("c", worker_ids=("12", "99999999999999999999", "w", "-", "1²", "300")))
    await erased(cluster.store({"n": {"holds": "worker_id", "mask": "null"}}), people, vault)
    for kind in kinds:
        assert await cluster.sources(cluster.prefix + kind) == {"1": {"n": [None, 13]}, "2": {"n": 123}}


async def test_free_text_in_a_keyword_field_is_found(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index(
        {"1": {"note": "by ann@x.io today"}, "2": {"note": "nobody"}}, mapping={"properties": {"note": KEYWORD}}
    )
    await erased(cluster.store({"note": {"holds": "email", "mask": "text"}}), ann, vault)
    assert (await cluster.sources(index))["1"] == {"note": f"by {vault.masker.token('ann@x.io')} today"}


async def test_nested_objects_in_nested_objects_are_searched(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    mapping = {
        "properties": {
            "a": {"type": "nested", "properties": {"b": {"type": "nested", "properties": {"email": KEYWORD}}}}
        }
    }
    index = await cluster.index({"1": {"a": [{"b": [{"email": "ANN@x.io"}]}]}}, mapping=mapping)
    assert await erased(cluster.store({"a.b.email": "email"}), ann, vault) == {index: Tally(matched=1, changed=1)}


async def test_routing_vectors_and_digits_survive(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    digits = '"exact":0.12345678901234567890123,"price":1.10,"big":12345678901234567890'
    names = {"plain": KEYWORD, "vector": {"type": "dense_vector", "dims": 2}}
    bodies = {
        "plain": f'{{"worker_id":"12",{digits}}}',
        "vector": '{"worker_id":"12","vector":[0.25,3.0]}',  # Elasticsearch answers without, unless asked
    }
    for name, spec in names.items():
        mapping = {"dynamic": False, "properties": {**PERSON, name: spec}}
        index = await cluster.index({}, name=name, mapping=mapping, settings={"number_of_shards": 3})
        action: list[Any] = [{"index": {"_index": index, "_id": "1", "routing": "r1"}}, bodies[name]]
        assert not (await cluster.client.bulk(operations=action, refresh=True))["errors"]

    await erased(cluster.store(), ann, vault)

    for name, body in bodies.items():
        hit = (await cluster.hits(cluster.prefix + name))["1"]
        assert hit["_routing"] == "r1"
        assert text_of(hit["_source"]) == body.replace('"12"', f'"{vault.masker.token("12")}"')


async def test_the_same_id_under_two_routings_is_two_documents(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    settings = {"number_of_shards": 5}
    for routing in "abcdef":
        index = await cluster.index({"1": {"worker_id": "12"}}, settings=settings, routing=routing)
    held = (await cluster.client.count(index=index))["count"]
    assert held > 1
    assert await erased(cluster.store(), ann, vault) == {index: Tally(matched=held, changed=held)}


async def test_aliases_and_hidden_indices_are_resolved_and_others_left_alone(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    behind = await cluster.index({"1": {"worker_id": "12"}}, name="behind")
    other = await cluster.index({"1": {"worker_id": "12"}}, name="other")
    hidden = await cluster.index({"1": {"worker_id": "12"}}, name="hid", settings={"hidden": True})
    alias = f"alias-{cluster.prefix}x"
    await cluster.client.indices.put_alias(index=behind, name=alias)
    assert await erased(cluster.store(pattern=alias), ann, vault) == {behind: Tally(matched=1, changed=1)}
    assert await cluster.sources(other) == {"1": {"worker_id": "12"}}
    assert (await cluster.store(pattern=f"{cluster.prefix}h*").preview(ann)).places == {hidden: 1}


async def test_the_rules_of_two_patterns_add_up(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index({"1": {"worker_id": "12", "worker_email": "ann@x.io"}})
    data_map = ElasticsearchMap.model_validate(
        {cluster.pattern: {"worker_id": "worker_id"}, index: {"worker_email": "email"}}
    )
    await erased(ElasticsearchStore(cluster.client, data_map, cluster.heartbeat), ann, vault)
    token = vault.masker.token
    assert await cluster.sources(index) == {"1": {"worker_id": token("12"), "worker_email": token("ann@x.io")}}


async def test_a_document_just_written_is_found_without_a_refresh(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({}, settings={"refresh_interval": -1})
    await cluster.client.index(index=index, id="1", document={"worker_email": "ANN@x.io"})
    assert await erased(cluster.store(), ann, vault) == {index: Tally(matched=1, changed=1)}
    assert await cluster.sources(index) == {"1": {"worker_email": vault.masker.token("ANN@x.io")}}


# running again, and others who write


async def test_a_preview_counts_and_changes_nothing(cluster: Cluster, ann: Slice) -> None:
    index = await cluster.index({"1": {"worker_id": "12"}, "2": {"comment": "w-7 was here"}, **NEIGHBOURS})
    before = await cluster.hits(index)
    impact = await cluster.store().preview(ann)
    assert impact.places == {index: 2}
    assert await cluster.hits(index) == before


async def test_a_second_run_changes_nothing(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index({"1": {"worker_id": "12"}, "2": {"worker_email": "ANN@x.io"}})
    await erased(cluster.store(), ann, vault)
    once, kept = await cluster.hits(index), await pre_images(vault)
    assert await erased(cluster.store(), ann, vault) == {index: Tally(already_clean=2)}
    assert await cluster.hits(index) == once
    assert await pre_images(vault) == kept


async def test_a_back_up_holds_all_that_a_restore_needs_and_is_made_once(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    source = {"worker_id": "12", "price": 1.5}
    index = await cluster.index({"1": source, "2": {"worker_id": "13"}}, routing="r")
    hit = (await cluster.hits(index))["1"]
    back_up = await cluster.store().back_up(ann, vault)
    assert back_up.places == {index: 1}
    assert back_up.bytes > 0
    await cluster.index({"3": source})
    assert await cluster.store().back_up(ann, vault) == back_up
    assert await pre_images(vault) == [
        {
            "index": index,
            "id": "1",
            "routing": "r",
            "seq_no": hit["_seq_no"],
            "primary_term": hit["_primary_term"],
            "version": hit["_version"],
            "source": '{"worker_id":"12","price":1.5}',
        }
    ]


async def test_nothing_is_written_without_a_back_up(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    index = await cluster.index({"1": {"worker_id": "12"}})
    before = await cluster.hits(index)
    with pytest.raises(CriticalError, match="Run the back-up step first"):
        await cluster.store().erase(ann, vault)
    assert await cluster.hits(index) == before


async def test_what_appears_or_changes_after_the_back_up_gets_a_pre_image_of_its_own(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({"same": {"worker_id": "12"}, "changed": {"worker_id": "12", "v": 1}})
    await cluster.store().back_up(ann, vault)
    await cluster.index({"changed": {"worker_id": "12", "v": 2}, "new": {"worker_id": "w-7"}})
    rolled = await cluster.index({"new": {"worker_id": "12"}}, name="b")

    places = (await cluster.store().erase(ann, vault)).places

    assert places == {index: Tally(matched=3, changed=3), rolled: Tally(matched=1, changed=1)}
    later = await pre_images(vault, "pre-image/elasticsearch/000000/later/")
    assert sorted((record["index"], record["id"], record["source"]) for record in later) == [
        (index, "changed", '{"worker_id":"12","v":2}'),
        (index, "new", '{"worker_id":"w-7"}'),
        (rolled, "new", '{"worker_id":"12"}'),
    ]


async def test_an_index_made_anew_with_the_same_sequence_numbers_is_backed_up_again(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = await cluster.index({"1": {"worker_id": "12", "v": 1}})
    await cluster.store().back_up(ann, vault)
    await cluster.client.indices.delete(index=index)
    await cluster.index({"1": {"worker_id": "12", "v": 2}})
    await cluster.store().erase(ann, vault)
    assert [record["source"] for record in await pre_images(vault)] == [
        '{"worker_id":"12","v":1}',
        '{"worker_id":"12","v":2}',
    ]


async def test_an_erasure_cut_off_in_the_middle_is_completed_by_the_next(
    cluster: Cluster, vault: BatchVault, ann: Slice, beats: list[tuple[str, int]]
) -> None:
    documents = {str(n): {"worker_id": "12", "n": n} for n in range(1_500)}
    index = await cluster.index(documents)
    await cluster.store().back_up(ann, vault)
    await cluster.index({"new": {"worker_id": "12"}})
    beats.clear()
    first = asyncio.create_task(cluster.store().erase(ann, vault))
    await until(lambda: any(count for _, count in beats))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    masked, before = await cluster.masked(index), -1
    while masked != before:  # the request that was cut off may still be at work
        await asyncio.sleep(1)
        masked, before = await cluster.masked(index), masked
    assert 0 < masked < 1_501

    tally = (await cluster.store().erase(ann, vault)).places[index]

    assert tally == Tally(matched=1_501 - masked, changed=1_501 - masked, already_clean=masked - 1)
    token = vault.masker.token("12")
    assert {source["worker_id"] for source in (await cluster.sources(index)).values()} == {token}
    assert len({record["id"] for record in await pre_images(vault)}) == 1_501


class Interrupted(BatchVault):
    """The vault, with somebody else who writes while a later pre-image is put: between the search and its write."""

    def __init__(self, vault: BatchVault, times: int, act: Callable[[], Awaitable[None]]) -> None:
        self.__dict__.update(vault.__dict__)
        self._times, self._act = times, act

    async def put_index(self, name: str, receipt: Receipt) -> Receipt:
        if "/later/" in name and self._times > 0:
            self._times -= 1
            await self._act()
        return await super().put_index(name, receipt)


@pytest.fixture
async def contested(cluster: Cluster, vault: BatchVault, ann: Slice) -> str:
    """An index with a document that is not in the back-up, so that a pre-image is taken between search and write."""
    index = await cluster.index({"calm": {"worker_id": "12"}})
    await cluster.store().back_up(ann, vault)
    await cluster.index({"hot": {"worker_id": "12", "v": 0}})
    return index


async def test_a_document_that_somebody_else_writes_meanwhile_is_masked_as_it_then_is(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: str
) -> None:
    async def write() -> None:
        await cluster.client.index(index=contested, id="hot", document={"worker_id": "12", "v": 1})

    result = await cluster.store().erase(ann, Interrupted(vault, 1, write))

    assert result.places == {contested: Tally(matched=2, changed=2)}
    assert result.warnings == []
    assert (await cluster.sources(contested))["hot"] == {"worker_id": vault.masker.token("12"), "v": 1}
    assert {r["source"] for r in await pre_images(vault) if r["id"] == "hot"} == {
        '{"worker_id":"12","v":0}',
        '{"worker_id":"12","v":1}',
    }


@pytest.mark.parametrize("gone", [True, False])
async def test_a_document_that_somebody_else_deletes_or_cleans_meanwhile_counts_as_clean(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: str, gone: bool
) -> None:
    async def clean() -> None:
        if gone:
            await cluster.client.delete(index=contested, id="hot")
        else:
            await cluster.client.index(index=contested, id="hot", document={"v": 1})

    result = await cluster.store().erase(ann, Interrupted(vault, 1, clean))

    assert result.places == {contested: Tally(matched=2, changed=1, already_clean=1)}
    assert (await cluster.sources(contested)).get("hot") == (None if gone else {"v": 1})


async def test_a_document_that_never_rests_is_reported_and_never_overwritten(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: str
) -> None:
    version = iter(range(1, 100))

    async def write() -> None:
        await cluster.client.index(index=contested, id="hot", document={"worker_id": "12", "v": next(version)})

    result = await cluster.store().erase(ann, Interrupted(vault, 100, write))

    assert result.places == {contested: Tally(matched=2, changed=1, conflicted=1)}
    assert [warning.place for warning in result.warnings] == [contested]
    assert (await cluster.sources(contested))["hot"]["worker_id"] == "12"


async def test_two_slices_that_meet_in_the_same_documents_mask_both_people(cluster: Cluster, vault: BatchVault) -> None:
    documents = {str(n): {"judgments": [{"worker_id": "12"}, {"worker_id": "w*1"}], "n": n} for n in range(600)}
    index = await cluster.index(documents)
    parts = [People([ANN], name="000000"), People([BOB], name="000001")]
    for part in parts:
        await cluster.store().back_up(part, vault)

    results = await asyncio.gather(*(cluster.store().erase(part, vault) for part in parts))

    assert [result.places for result in results] == [{index: Tally(matched=600, changed=600)}] * 2
    both = [{"worker_id": vault.masker.token("12")}, {"worker_id": vault.masker.token("w*1")}]
    assert await cluster.sources(index) == {key: {**source, "judgments": both} for key, source in documents.items()}


async def test_writes_that_a_busy_cluster_rejects_are_sent_again(
    cluster: Cluster, vault: BatchVault, ann: Slice, beats: list[tuple[str, int]]
) -> None:
    index = await cluster.index({str(n): {"worker_id": "12", "pad": "x" * 4_000} for n in range(50)})
    await cluster.store().back_up(ann, vault)
    beats.clear()
    limit = "network.breaker.inflight_requests.limit"
    await cluster.client.cluster.put_settings(persistent={limit: "50kb"})
    try:
        running = asyncio.create_task(cluster.store().erase(ann, vault))
        await until(lambda: (index, 0) in beats[1:] or running.done())
        assert not running.done(), "the breaker has to reject the write"
    finally:
        await cluster.client.cluster.put_settings(persistent={limit: None})
    assert (await running).places == {index: Tally(matched=50, changed=50)}


# what a probe says


async def test_a_probe_of_a_healthy_cluster_finds_its_indices_and_writes_nothing(cluster: Cluster) -> None:
    index = await cluster.index({"1": {"worker_id": "12"}})
    before = await cluster.hits(index)
    health = await cluster.store().probe()
    assert health.version.startswith("9.")
    assert (health.places, health.problems, health.warnings) == ([index], [], [])
    await cluster.client.indices.refresh(index=index)
    assert await cluster.hits(index) == before


BLOCKS = ("write", "read_only_allow_delete", "read_only")


async def test_an_index_that_cannot_be_written_is_named_before_anything_is_touched(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    fine = await cluster.index({"1": {"worker_id": "12"}})
    await cluster.store().back_up(ann, vault)
    closed = await cluster.index({"1": {"worker_id": "12"}}, name="closed")
    await cluster.client.indices.close(index=closed)
    expected = {closed: "the index is closed"}
    for block in BLOCKS:
        index = await cluster.index({"1": {"worker_id": "12"}}, name=block)
        await cluster.client.indices.put_settings(index=index, settings={f"index.blocks.{block}": True})
        expected[index] = f"the index is blocked by index.blocks.{block}"

    health = await cluster.store().probe()

    assert {problem.place: problem.what for problem in health.problems} == expected
    with pytest.raises(CriticalError, match=closed):
        await cluster.store().erase(ann, vault)
    assert await cluster.sources(fine) == {"1": {"worker_id": "12"}}


async def test_a_block_set_in_the_middle_of_an_erasure_is_critical_and_names_the_index(
    cluster: Cluster, vault: BatchVault, ann: Slice, contested: str
) -> None:
    async def block() -> None:
        await cluster.client.indices.put_settings(index=contested, settings={"index.blocks.write": True})

    with pytest.raises(CriticalError, match=contested):
        await cluster.store().erase(ann, Interrupted(vault, 1, block))


async def test_an_index_without_its_shards_is_a_problem_and_waited_for(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    index = f"{cluster.prefix}red"
    settings = {"number_of_replicas": 0, "routing.allocation.require._name": "nowhere"}
    await cluster.client.indices.create(index=index, settings=settings, wait_for_active_shards=0)
    problems = (await cluster.store().probe()).problems
    assert [(problem.place, "red" in problem.what) for problem in problems] == [(index, True)]
    with pytest.raises(TransientError, match=index):
        await cluster.store().back_up(ann, vault)


UNFIT: list[tuple[dict[str, Any], Any, str]] = [
    ({"properties": {"f": {"type": "byte"}}}, "worker_id", "type byte"),
    ({"properties": {"f": {"type": "long"}}}, {"holds": "worker_id", "mask": "constant"}, "type long"),
    ({"properties": {"f": {"type": "date"}}}, {"holds": "email", "mask": "constant"}, "type date"),
    ({"properties": {"g": KEYWORD, "f": {"type": "alias", "path": "g"}}}, "email", "alias of g"),
    ({"_source": {"excludes": ["x"]}, "properties": {"f": KEYWORD}}, "email", "no whole _source"),
    ({"_source": {"enabled": False}, "properties": {"f": KEYWORD}}, "email", "no whole _source"),
]


async def test_a_mapping_that_cannot_be_erased_in_is_a_problem(cluster: Cluster, vault: BatchVault, ann: Slice) -> None:
    for number, (mapping, rule, what) in enumerate(UNFIT):
        index = await cluster.index({}, name=str(number), mapping=mapping)
        store = cluster.store({"f": rule}, pattern=index)
        problems = (await store.probe()).problems
        assert [problem.place.split()[0] for problem in problems] == [index]
        assert what in problems[0].what
        with pytest.raises(CriticalError, match=index):
            await store.back_up(ann, vault)


async def test_what_may_stay_behind_is_a_warning_and_what_costs_time_a_note(cluster: Cluster) -> None:
    mapping = {
        "properties": {
            "short": {"type": "keyword", "ignore_above": TOKEN_LENGTH - 1},
            "note": KEYWORD,
            "odd": {"type": "text", "analyzer": "whitespace"},
        }
    }
    index = await cluster.index({}, mapping=mapping)
    rules = {
        "short": "email",
        "note": {"holds": "email", "mask": "text"},
        "odd": {"holds": "email", "mask": "text"},
        "mistyped": "email",
    }
    health = await cluster.store(rules).probe()
    assert health.problems == []
    assert sorted(warning.place for warning in health.warnings) == [f"{cluster.pattern} mistyped", f"{index} short"]
    assert sorted(note.place for note in health.notes) == [f"{index} note", f"{index} odd"]


async def test_a_pattern_that_names_nothing_is_a_warning_and_no_work(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    for pattern in (cluster.pattern, f"{cluster.prefix}none"):
        store = cluster.store(pattern=pattern)
        health = await store.probe()
        assert (health.places, health.problems) == ([], [])
        assert [warning.place for warning in health.warnings] == [pattern]
        assert await erased(store, ann, vault) == {}


# errors


async def test_a_cluster_that_is_down_is_transient(ann: Slice, heartbeat: Heartbeat) -> None:
    async with connect(ElasticsearchSettings(url="http://127.0.0.1:9")) as client:
        store = ElasticsearchStore(client, ElasticsearchMap.model_validate({"p-*": RULES}), heartbeat)
        with pytest.raises(TransientError, match="ERASURE_ELASTICSEARCH__URL"):
            await store.probe()
        with pytest.raises(TransientError):
            await store.preview(ann)


async def test_a_server_that_is_not_elasticsearch_is_critical(stack: HasEnv, heartbeat: Heartbeat) -> None:
    async with connect(ElasticsearchSettings(url=stack.env["ERASURE_S3__ENDPOINT_URL"])) as client:
        store = ElasticsearchStore(client, ElasticsearchMap.model_validate({"p-*": RULES}), heartbeat)
        with pytest.raises(CriticalError, match="elasticsearch"):
            await store.probe()


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "query_shard_exception", CriticalError),
        (401, "security_exception", CriticalError),
        (403, "security_exception", CriticalError),
        (403, "cluster_block_exception", CriticalError),
        (404, "index_not_found_exception", TransientError),
        (404, "search_context_missing_exception", TransientError),
        (429, "es_rejected_execution_exception", TransientError),
        (500, "node_closed_exception", TransientError),
        (503, "search_phase_execution_exception", TransientError),
    ],
)
def test_an_error_names_index_and_type_and_never_the_reason(
    status: int, kind: str, expected: type[ErasureError]
) -> None:
    cause = {"type": kind, "reason": "value [ann@x.io]", "index": "project-1"}
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "es", 9200))
    error = translate(ApiError("ann@x.io", meta, {"error": {**cause, "root_cause": [cause]}, "status": status}))
    assert type(error) is expected
    assert "ann@x.io" not in str(error)
    assert status == 401 or error.place == "project-1"


async def test_a_document_that_the_mapping_refuses_is_critical_and_quotes_nobody(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    mapping = {
        "dynamic": "strict",
        "properties": {"worker_id": KEYWORD, "person": {"properties": {"n": {"type": "long"}}}},
    }
    index = await cluster.index(
        {"1": {"worker_id": "12", "person": {"n": 4711}}, "2": {"worker_id": "13"}}, mapping=mapping
    )
    rules = {"worker_id": "worker_id", "person": {"beside": "worker_id", "mask": "constant"}}
    before = await cluster.sources(index)
    with pytest.raises(CriticalError, match="document_parsing_exception") as caught:
        await erased(cluster.store(rules), ann, vault)
    assert caught.value.place == index
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert await cluster.sources(index) == before


async def test_progress_is_reported_by_index_and_never_by_person(
    cluster: Cluster, vault: BatchVault, ann: Slice, beats: list[tuple[str, int]]
) -> None:
    index = await cluster.index({"1": {"worker_id": "12"}})
    await erased(cluster.store(), ann, vault)
    assert {place for place, _ in beats} == {index}
    assert (index, 1) in beats


def test_settings_that_contradict_each_other_are_refused() -> None:
    secret = SecretStr("s3cret")
    for wrong in (
        {"url": "localhost:9200"},
        {"url": "https://elastic:s3cret@host:9200"},
        {"username": "elastic"},
        {"api_key": secret, "username": "u", "password": secret},
    ):
        with pytest.raises(ValidationError) as caught:
            ElasticsearchSettings.model_validate(wrong)
        assert "s3cret" not in str([fault["msg"] for fault in caught.value.errors(include_input=False)])


def test_the_store_is_one_of_the_kinds() -> None:
    assert (KIND.name, KIND.unit) == ("elasticsearch", "slice")
