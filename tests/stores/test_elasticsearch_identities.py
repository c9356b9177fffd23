"""Identities that look like patterns, numbers or parts of others, in a real Elasticsearch: each of them is data."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from activities.contract import Contributor, Recovery, Restored, Slice, Tally
from activities.errors import CriticalError
from activities.masking import Strategy
from activities.rules import FieldRule
from activities.stores.elasticsearch.catalogue import Index
from activities.stores.elasticsearch.documents import text_of
from activities.stores.elasticsearch.search import How, approaches
from activities.vault import BatchVault
from tests.stores.elasticsearch_cluster import KEYWORD, Cluster, erased

LOWERED = {"type": "keyword", "normalizer": "lowercase"}
MAPPING: dict[str, Any] = {
    "properties": {
        "plain": KEYWORD,
        "lowered": LOWERED,
        "text": {"type": "text"},
        "both": {"type": "text", "fields": {"raw": KEYWORD}},
        "both_lowered": {"type": "text", "fields": {"raw": LOWERED}},
        "objects": {"properties": {"of": KEYWORD}},
        "nested": {"type": "nested", "properties": {"of": KEYWORD}},
        "prose": {"type": "text"},
    }
}
HOLDS = ["email", "worker_id"]
RULES: dict[str, Any] = {
    **{path: {"holds": HOLDS} for path in ("plain", "lowered", "text", "both", "both_lowered")},
    "objects.of": {"holds": HOLDS},
    "nested.of": {"holds": HOLDS},
    "prose": {"holds": HOLDS, "mask": "text"},
}
EMAILS = ("bob@x.io", "a+b@x.io", "Änn.Ø@x.io", "o'neil@x.io")
WORKERS = (
    "12",
    "w*1",
    "w?2",
    "w%3",
    "w_4",
    "w[5]",
    "w\\6",
    'w"7',
    "w\n8",
    "ünï9",
    "W-A",
    "{w}",
    "a:b",
    "(1|2)",
    "漢字",
)
SPELLED = ("bob@x.io", "BOB@x.IO", "  Bob@X.io\t", "A+B@X.IO", "ÄNN.ø@x.io", "änn.Ø@X.io ", "O'Neil@x.io", *WORKERS)
NEAR = (
    *("bob@x.io.uk", "notbob@x.io", "bob@x-io", "bob@xxio", "aab@x.io", "ab@x.io", "ann.o@x.io", "neil@x.io"),
    *("123", "112", "1.12", "012", "12a", "wxx1", "w**1", "wx2", "w2", "wx3", "w%%3", "wx4", "w4", "w5", "w[[5]"),
    *("w6", "w\\\\6", "w7", 'w""7', "w 8", "w8", "uni9", "w-a", "w", "b", "(1)", "漢"),
)


def in_every_field(value: str) -> dict[str, dict[str, Any]]:
    """One document for each field: a document with two of them would be found by either."""
    documents = {path: {path: value} for path in ("plain", "lowered", "text", "both", "both_lowered")}
    return {
        **documents,
        "array": {"plain": ["x", value]},
        "objects": {"objects": [{"of": "x"}, {"of": value}]},
        "nested": {"nested": [{"of": "x"}, {"of": value, "n": 1}]},
        "prose": {"prose": f"seen by {value} today"},
    }


async def test_an_identity_is_data_in_every_field_and_never_found_in_a_longer_one(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    hers = {f"{value} {path}": each for value in SPELLED for path, each in in_every_field(value).items()}
    others = {f"{value} {path}": each for value in NEAR for path, each in in_every_field(value).items()}
    del others["w-a prose"]  # within a text, no identity has a case
    index = await cluster.index({**hers, **others}, mapping=MAPPING)
    before = await cluster.hits(index)
    part = slice_of(Contributor("c", emails=EMAILS, worker_ids=WORKERS))
    store = cluster.store(RULES)

    assert await erased(store, part, vault) == {index: Tally(matched=len(hers), changed=len(hers))}

    after = await cluster.hits(index)
    assert {key: after[key] for key in others} == {key: before[key] for key in others}
    token = vault.masker.token
    for value in SPELLED:
        inside = value.strip(" \t") if "@" in value else value
        prose = f"seen by {value} today".replace(inside, token(inside))
        masked = {**in_every_field(token(value)), "prose": {"prose": prose}}
        assert {path: after[f"{value} {path}"]["_source"] for path in masked} == masked, value

    assert (await store.erase(part, vault)).places == {index: Tally(already_clean=len(hers))}
    assert await cluster.hits(index) == after
    assert await store.restore(part, vault) == Restored({index: Recovery(len(hers), len(hers))})
    assert await cluster.sources(index) == {**hers, **others}


async def test_a_number_becomes_a_number_and_comes_back(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    bits = {"long": 64, "integer": 32, "short": 16}
    documents: dict[str, dict[str, Any]] = {
        "array": {"n": [13, 12, 12, 123], "beside": 4711},
        "text": {"n": "12"},
        "fraction": {"n": Decimal("12.0")},
        "newer": {"n": [12, 13], "beside": 5},
        "other": {"n": [123, 112, -12], "beside": 12},
    }
    properties = {kind: {"properties": {"n": {"type": kind}, "beside": {"type": kind}}} for kind in bits}
    names = {kind: await cluster.index({}, kind, properties[kind]) for kind in bits}
    for name in names.values():
        lines: list[Any] = []
        for key, document in documents.items():
            lines += [{"index": {"_index": name, "_id": key}}, text_of(document)]
        assert not (await cluster.client.bulk(operations=lines, refresh=True))["errors"]
    before = {kind: await cluster.hits(name) for kind, name in names.items()}
    part = slice_of(Contributor("c", worker_ids=("12",)))
    store = cluster.store({"n": "worker_id", "beside": {"beside": "n"}})
    assert (await store.probe()).problems == []

    assert await erased(store, part, vault) == {name: Tally(matched=4, changed=4) for name in names.values()}

    for kind, name in names.items():
        masks = [vault.masker.number(value, bits[kind], signed=True) for value in (12, 4711, 5)]
        after = await cluster.hits(name)
        assert after["other"] == before[kind]["other"]
        assert after["array"]["_source"] == {"n": [13, masks[0], masks[0], 123], "beside": masks[1]}
        assert after["text"]["_source"] == after["fraction"]["_source"] == {"n": masks[0]}
        found = await cluster.client.count(index=name, query={"term": {"n": masks[0]}})
        assert found["count"] == 4
        newer = {"n": [14, *after["newer"]["_source"]["n"]], "beside": masks[2], "added": True}
        await cluster.client.index(index=name, id="newer", document=newer, refresh=True)
    assert (await store.erase(part, vault)).places == {name: Tally(already_clean=4) for name in names.values()}
    assert await store.restore(part, vault) == Restored({name: Recovery(4, 4) for name in names.values()})
    expected = {**documents, "newer": {"n": [14, 12, 13], "beside": 5, "added": True}}
    for name in names.values():
        assert {key: text_of(source) for key, source in (await cluster.sources(name)).items()} == {
            key: text_of(source) for key, source in expected.items()
        }


async def test_a_number_that_no_mask_can_stand_for_is_told_before_anything_is_written(
    cluster: Cluster, vault: BatchVault, slice_of: Callable[..., Slice]
) -> None:
    index = await cluster.index({"1": {"n": 12}, "2": {"n": 20_000}}, mapping={"properties": {"n": {"type": "short"}}})
    before = await cluster.hits(index)
    with pytest.raises(CriticalError, match=f"{index} n: a number is too large") as caught:
        await cluster.store({"n": "worker_id"}).back_up(slice_of(Contributor("c", worker_ids=("12", "20000"))), vault)
    assert "20000" not in str(caught.value)
    assert await cluster.hits(index) == before


async def test_an_object_that_is_named_as_a_whole_is_searched_in_all_its_depth(
    cluster: Cluster, vault: BatchVault, ann: Slice
) -> None:
    held = {"f": {"a": "ANN@x.io", "b": {"c": ["x", "ann@x.io"]}}, "o": {"p": [{"q": "Ann@x.io"}]}}
    other = {"f": {"a": "ann@x.io.uk"}, "o": {"p": [{"q": "notann@x.io"}]}}
    mapping = {"properties": {"f": {"type": "flattened"}}}
    index = await cluster.index({"1": held, "2": other}, mapping=mapping)
    before = await cluster.hits(index)
    store = cluster.store({"f": "email", "o": "email"})
    health = await store.probe()
    assert (health.problems, health.warnings) == ([], [])
    assert await erased(store, ann, vault) == {index: Tally(matched=1, changed=1)}
    after = await cluster.hits(index)
    token = vault.masker.token
    assert after["1"]["_source"] == {
        "f": {"a": token("ANN@x.io"), "b": {"c": ["x", token("ann@x.io")]}},
        "o": {"p": [{"q": token("Ann@x.io")}]},
    }
    assert after["2"] == before["2"]
    await store.restore(ann, vault)
    assert await cluster.sources(index) == {"1": held, "2": other}


@pytest.mark.parametrize(
    ("normalizer", "how"),
    [
        ({"type": "custom", "filter": "lowercase"}, How.TERMS),
        ({"type": "custom", "filter": ["trim", "lowercase"]}, How.TERMS),
        ({"type": "custom", "filter": ["lowercase", "asciifolding"]}, How.EXISTS),
        ({"type": "custom", "filter": ["lowercase"], "char_filter": ["quotes"]}, How.EXISTS),
    ],
)
def test_a_normalizer_that_changes_letters_tells_no_spellings(normalizer: dict[str, Any], how: How) -> None:
    mapping = {"properties": {"p": {"type": "keyword", "normalizer": "own"}}}
    rules = {"p": FieldRule(holds=("email",), mask=Strategy.TOKEN)}
    settings = {"analysis": {"normalizer": {"own": normalizer}}}
    assert [each.how for each in approaches(Index("i", "open", "green", settings, mapping, rules))] == [how]
