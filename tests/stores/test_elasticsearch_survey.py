"""Elasticsearch's drift gate: fields that look as if they held identities, in real indices."""

from __future__ import annotations

import asyncio
from typing import Any

from activities import drift
from activities.identities import IdentityKind
from activities.stores.elasticsearch import KIND
from activities.stores.elasticsearch.documents import ElasticsearchMap
from activities.suspicion import Suspicion
from tests.stores.elasticsearch_cluster import KEYWORD, Cluster

SHAPE = {IdentityKind.WORKER_ID: r"w-\d{1,9}"}
TEXT = {"mask": "text"}


def suspicion(cluster: Cluster, *ignore: str) -> Suspicion:
    return Suspicion(SHAPE, (f"elasticsearch {cluster.prefix}*",), [f"elasticsearch {glob}" for glob in ignore])


async def test_what_the_data_map_does_not_name_is_suspected_by_name_and_by_content(cluster: Cluster) -> None:
    mapping: dict[str, Any] = {
        "properties": {
            "worker_email": KEYWORD,
            "payee_email": KEYWORD,
            "email_verified": {"type": "boolean"},
            "emails_sent": {"type": "integer"},
            "worker": {"properties": {"id": {"type": "long"}, "name": KEYWORD}},
            "found_by": KEYWORD,
            "everything": {"type": "text"},
            "rare": KEYWORD,
            "crew": {"type": "nested", "properties": {"lead": {"type": "text"}}},
            "labels": {"type": "flattened"},
            "raw": {"dynamic": False, "properties": {}},
            "title": {"type": "text", "copy_to": "everything"},
        }
    }
    full = {
        "worker_email": "ann@x.io",
        "worker": {"id": 12, "name": "Ann"},
        "found_by": "w-7",
        "title": "A title",
        "labels": {"owner": "ann@x.io", "colour": "red"},
        "raw": {"notes": ["call ann@x.io, then w-7"], "n": 1},
        "votes": {"ann@x.io": 1},
    }
    common = {str(number): {"title": "nothing", "found_by": f"w-{number}"} for number in range(450)}
    rare = {f"rare-{number}": {"rare": "ann@x.io", "crew": [{"lead": "by bob@x.io"}]} for number in range(3)}
    await cluster.index(dict(list(common.items())[:220]) | rare | common | {"full": full}, "a-1", mapping)
    await cluster.index({"1": {"found_by": "w-1", "rare": "x"}}, "a-2", mapping)
    empty = await cluster.index({}, "a-3", {"properties": {}})
    bare = await cluster.index({"1": {"city": "Ghent"}}, "a-4", {"properties": {"city": KEYWORD}})
    before = await cluster.hits(bare)
    pattern = f"{cluster.prefix}a-*"
    store = cluster.store({"worker_email": "email", "other": "worker_id"}, pattern)

    suspects = await store.survey(suspicion(cluster))

    one, all_ = f"{cluster.prefix}a-1", pattern
    assert {suspect.place: (suspect.why, suspect.entry.get(pattern)) for suspect in suspects} == {
        f"{all_}: payee_email": ("it is named after email", {"payee_email": "email"}),
        f"{all_}: worker.id": ("it is named after worker_id", {"worker.id": "worker_id"}),
        f"{all_}: found_by": ("its values look like worker_id", {"found_by": "worker_id"}),
        f"{all_}: rare": ("its values look like email", {"rare": "email"}),
        f"{all_}: crew.lead": ("its texts hold email", {"crew.lead": {"holds": "email", **TEXT}}),
        f"{one}: labels.owner": ("its values look like email", {"labels.owner": "email"}),
        f"{one}: raw.notes": ("its texts hold email", {"raw.notes": {"holds": "email", **TEXT}}),
        f"{one}: votes.*": ("fields are named by email there, which no erasure can mask", None),
        f"{one}: *": ("fields are named by email there, which no erasure can mask", None),
        bare: (f"it has none of the fields that are named for {pattern}", None),
    }
    assert not any(name in repr(suspects) for name in ("ann", "bob@", "w-7", empty))
    ignoring = [f"{all_.replace('*', '[*]')}: [!*]*", f"{cluster.prefix}a-1: [!*]*", bare]
    assert [each.place for each in await store.survey(suspicion(cluster, *ignoring))] == [f"{one}: *"]
    assert await cluster.hits(bare) == before
    named = {path: rule for suspect in suspects for path, rule in suspect.entry.get(pattern, {}).items()}
    again = await cluster.store({"worker_email": "email", "city": {"beside": "worker_email"}, **named}, pattern).survey(
        suspicion(cluster)
    )
    assert [each.place for each in again] == [f"{one}: *", f"{one}: votes.*", bare]


async def test_indices_that_no_pattern_names_are_looked_at_unless_they_are_hidden_or_closed(cluster: Cluster) -> None:
    held: dict[str, dict[str, Any]] = {"1": {"mail": "ann@x.io"}, "2": {"n": 2}}
    _, closed, *_ = await asyncio.gather(
        cluster.index(held, "hidden", {}, settings={"hidden": True}),
        cluster.index({}, "closed", {"properties": {"worker_id": KEYWORD, "note": KEYWORD}}),
        *(cluster.index(held, name, {}) for name in ("logs-2024.01.30", "logs-2024.01.31", "job-a", "job-b", "job-c")),
    )
    await cluster.client.indices.close(index=closed)
    nothing = drift.nothing(KIND)
    assert isinstance(nothing, ElasticsearchMap)
    store = KIND.open(cluster.client, nothing, cluster.heartbeat)

    suspects = await store.survey(suspicion(cluster))

    jobs, logs = (f"{cluster.prefix}{name}" for name in ("job-*", "logs-*"))
    assert [(suspect.place, suspect.entry) for suspect in suspects] == [
        (f"{closed}: worker_id", {closed: {"worker_id": "worker_id"}}),
        (f"{jobs}: mail", {jobs: {"mail": "email"}}),
        (f"{logs}: mail", {logs: {"mail": "email"}}),
    ]
    assert await store.survey(suspicion(cluster, f"{cluster.prefix}*")) == []
