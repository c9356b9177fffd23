"""What the stores say that they hold, whoever it is: every identity as it is stored, and nothing that is erased."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from redis.asyncio import Redis

from activities.contract import Finding, Heartbeat, Store
from activities.identities import IdentityKind
from activities.masking import CONSTANT, is_mask
from tests.bench import HasEnv
from tests.stores import clickhouse_database
from tests.stores.elasticsearch_cluster import KEYWORD, Cluster
from tests.stores.postgres_schema import Database
from tests.stores.redis_keys import Keys
from tests.stores.s3_bucket import EACH_KIND, Bucket, on

ID, EMAIL, WORKER = IdentityKind
TOKEN = f"{CONSTANT}-{'a' * 26}"


class Seen:
    """What a store holds, by place; masks left out."""

    def __init__(self) -> None:
        self.values: dict[str, set[str]] = defaultdict(set)
        self.kinds: dict[str, tuple[IdentityKind, ...]] = {}
        self.texts: set[str] = set()
        self.findings: list[Finding] = []

    @classmethod
    async def of(cls, store: Store) -> Seen:
        seen = cls()
        async with aclosing(store.identities()) as found:
            async for each in found:
                if isinstance(each, Finding):
                    seen.findings.append(each)
                    continue
                seen.values[each.place] |= {value for value in each.values if not is_mask(value)}
                seen.kinds[each.place] = tuple(each.kinds)
                seen.texts |= {each.place} if each.are_texts else set()
        return seen


async def test_postgres_in_columns_arrays_and_json_and_in_rows_that_are_still_to_be_masked(db: Database) -> None:
    await db.run(f"""
        CREATE TABLE people (id bigint PRIMARY KEY, name text);
        INSERT INTO people VALUES (12, 'Ann'), (123, 'Jo');
        CREATE TABLE teams (n int PRIMARY KEY, workers text[]);
        INSERT INTO teams VALUES (1, ARRAY['w-1', '{TOKEN}', NULL]), (2, ARRAY['w-2', 'w-1']), (3, NULL);
        CREATE TABLE events (n int PRIMARY KEY, details jsonb);
        INSERT INTO events VALUES (1, '{{"by": [{{"mail": "Ann@x.io"}}, {{"mail": ["jo@x.io", 7, true]}}]}}'),
                                  (2, '{{}}');
        CREATE TABLE payments (n int PRIMARY KEY, payee text, name text, iban text);
        INSERT INTO payments VALUES (1, '12', 'Ann', NULL), (2, '13', '{CONSTANT}', NULL),
                                    (3, '14', '{CONSTANT}', 'DE');
        CREATE TABLE notes (n int PRIMARY KEY, who text, texts text[]);
    """)
    store = db.store(
        delete=[{"table": "people", "by": "id"}, {"table": "people", "by": "nowhere"}],
        mask=[
            {"table": "teams", "by": "workers", "holds": "worker_id", "columns": {"workers": "token"}},
            {"table": "events", "by": "details.by.mail", "holds": "email", "columns": {"details.by.mail": "token"}},
            {"table": "payments", "by": "payee", "columns": {"name": "constant", "iban": "null"}},
            {"table": "notes", "by": "who", "columns": {"texts": "token"}},
        ],
    )
    seen = await Seen.of(store)
    assert {place.partition(".")[2]: values for place, values in seen.values.items()} == {
        "people.id": {"12", "123"},
        "teams.workers": {"w-1", "w-2"},
        "events.details.by.mail": {"Ann@x.io", "jo@x.io", "7"},
        "payments.payee": {"12", "14"},
    }
    assert [(each.place.partition(".")[2], each.what) for each in seen.findings] == [
        (
            "notes.who",
            "stays in rows after their erasure, and nobody can tell in which of them something is left to mask",
        ),
        ("people.nowhere", "is not there"),
    ]


async def test_clickhouse_in_columns_of_every_shape(database: clickhouse_database.Database) -> None:
    await database.run(
        "CREATE TABLE metrics (n UInt32, email LowCardinality(Nullable(String)), workers Array(String), number UInt64, "
        "by Map(String, String), doc String, note String, name String) ENGINE = MergeTree ORDER BY n",
        f"INSERT INTO metrics VALUES (1, ' Ann@x.io', ['w-1', '{TOKEN}'], 12, {{'who': 'w-7', 'why': 'x'}}, "
        """'{"user": {"id": 5, "mail": "jo@x.io"}, "n": "w-9"}', 'ask w-1', 'Ann')""",
        "CREATE TABLE metrics_log (n UInt32, email String) ENGINE = Log",
        "INSERT INTO metrics VALUES (2, NULL, [], 0, {}, 'no JSON', '', ''), "
        f"(3, '{CONSTANT}', [], 12, {{}}, '', '', '')",
    )
    store = database.store(
        {
            "metrics*": {
                "email": "email",
                "workers": "worker_id",
                "number": "worker_id",
                "by.who": "worker_id",
                "doc.user.id": "worker_id",
                "doc.user.mail": "email",
                "note": {"holds": ["email", "worker_id"], "mask": "text"},
                "name": {"beside": "email"},
            }
        }
    )
    seen = await Seen.of(store)
    assert [each.what for each in seen.findings] == ["has engine Log, which cannot be mutated"]
    assert seen.values == {
        "metrics.email": {" Ann@x.io"},
        "metrics.workers": {"w-1"},
        "metrics.number": {"12", "0"},
        "metrics.by.who": {"w-7"},
        "metrics.doc": {"5", "jo@x.io"},
        "metrics.note": {"ask w-1"},
    }
    assert (seen.kinds["metrics.note"], seen.texts) == ((EMAIL, WORKER), {"metrics.note"})


async def test_elasticsearch_beside_documents_and_in_them_where_the_mapping_hides_or_changes_something(
    cluster: Cluster,
) -> None:
    low = {"analysis": {"normalizer": {"low": {"type": "custom", "filter": ["lowercase"]}}}}
    told = {"properties": {"worker_id": KEYWORD, "j": {"type": "nested", "properties": {"who": KEYWORD}}}}
    read = {
        "properties": {
            "worker_id": {"type": "keyword", "normalizer": "low"},
            "worker_email": {"type": "keyword", "ignore_above": 12},
            "number": {"type": "long"},
            "raw": {"type": "object", "enabled": False},
            "comment": {"type": "text"},
        }
    }
    rules = {
        "worker_id": "worker_id",
        "worker_email": "email",
        "j.who": "worker_id",
        "number": "worker_id",
        "raw.by.id": "contributor_id",
        "comment": {"holds": ["worker_id"], "mask": "text"},
    }
    one = await cluster.index(
        {
            "1": {"worker_id": ["w-1", "w-2"], "j": [{"who": "w-3"}, {"who": ["w-4", TOKEN]}]},
            "2": {"worker_id": None, "j.who": "w-5"},
        },
        "one",
        told,
    )
    two = await cluster.index(
        {
            "1": {"worker_id": "W-1", "worker_email": "a.very.long.address@x.io", "number": 12},
            "2": {"raw": [{"by.id": "c-1"}, {"by": {"id": ["c-2", 3.0]}}], "comment": ["ask W-9", "no"]},
        },
        "two",
        read,
        low,
    )
    closed = await cluster.index({"1": {"worker_id": "w-9"}}, "closed", told)
    await cluster.client.indices.close(index=closed)
    seen = await Seen.of(cluster.store(rules))
    assert {place: values for place, values in seen.values.items() if values} == {
        f"{one} worker_id": {"w-1", "w-2"},
        f"{one} j.who": {"w-3", "w-4", "w-5"},
        f"{two} worker_id": {"W-1"},
        f"{two} worker_email": {"a.very.long.address@x.io"},
        f"{two} number": {"12"},
        f"{two} raw.by.id": {"c-1", "c-2", "3"},
        f"{two} comment": {"ask W-9", "no"},
    }
    assert seen.texts == {f"{two} comment"}
    assert [(each.place, each.what) for each in seen.findings] == [(closed, "the index is closed")]


async def test_elasticsearch_reads_no_documents_where_values_are_kept_beside_them(cluster: Cluster) -> None:
    documents = {str(number): {"worker_id": f"w-{number}"} for number in range(50)}
    documents["long"] = {"worker_id": "w" * 40}
    mapping = {"properties": {"worker_id": {"type": "keyword", "ignore_above": 30}}}
    index = await cluster.index(documents, mapping=mapping)
    counted: list[int] = []
    store = cluster.store({"worker_id": "worker_id"})
    store._heartbeat = lambda _, seen: counted.append(seen)
    seen = await Seen.of(store)
    assert seen.values == {f"{index} worker_id": {f"w-{number}" for number in range(50)} | {"w" * 40}}
    assert max(counted) == 1, "the one that the mapping ignored"


@on(*EACH_KIND)
async def test_s3_in_keys_of_current_objects_and_in_texts(bucket: Bucket) -> None:
    keys = ["files/12/a", "files/12/b/c", "files/é ?/x", "files/1", "avatars/12.png", "avatars/9.jpg", "logs/a-77-b/x"]
    for key in (*keys, "files/gone/a"):
        await bucket.put(key)
    await bucket.client.delete_object(Bucket=bucket.name, Key="files/gone/a")
    for name, body in {"a.txt": b"ask w-1", "b.txt": b"w-2" * 100, "c.txt": b"\xff\xfe\x00"}.items():
        await bucket.put(f"notes/{name}", body)
    rule = {"objects": "notes/*.txt", "holds": "worker_id", "then": "mask", "max_bytes": 100}
    templates = ("files/{contributor_id}/", "avatars/{contributor_id}.png", "logs/*-{worker_id}-*/")
    seen = await Seen.of(bucket.store(*templates, content=(rule,)))
    place = f"s3://{bucket.name}/"
    assert seen.values == {
        f"{place}files/{{contributor_id}}/": {"12", "é ?"},
        f"{place}avatars/{{contributor_id}}.png": {"12"},
        f"{place}logs/*-{{worker_id}}-*/": {"77"},
        f"{place}notes/*.txt (content)": {"ask w-1"},
    }
    assert seen.texts == {f"{place}notes/*.txt (content)"}
    assert [each.what for each in seen.findings] == ["2 objects were not looked at (1 x not text, 1 x too large)"]


@pytest.fixture
async def keys(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    async with Redis.from_url(stack.env["ERASURE_REDIS__URL"]) as client:
        own = Keys(client, heartbeat, f"test-{secrets.token_hex(4)}:")
        yield own
        async for key in client.scan_iter(match=f"{own.prefix}*"):
            await client.unlink(key)


async def test_redis_in_names_and_in_what_keys_hold(keys: Keys) -> None:
    own = keys.prefix
    for name in ("auth:12", "auth:é*[", "session:12:a:b", "session:13:", "other:14"):
        await keys.client.set(f"{own}{name}", "x")
    await keys.client.sadd(f"{own}online:de", "w-1", TOKEN, *(f"w-{number}" for number in range(2, 1500)))
    await keys.client.hset(f"{own}team", mapping={"lead": "w-9", "mail": "jo@x.io"})
    await keys.client.set(f"{own}note:1", "ask w-8")
    await keys.client.rpush(f"{own}note:2", "w-7")
    store = keys.store(
        auth=["auth:{contributor_id}"],
        session=["session:{contributor_id}:*"],
        online=[{"key": "online:*", "members": "worker_id"}],
        team=[{"key": "team", "values": "worker_id", "only": "lead"}],
        note=[{"key": "note:*", "values": ["email", "worker_id"], "mask": "text"}],
    )
    seen = await Seen.of(store)
    assert {place.partition(": ")[0]: values for place, values in seen.values.items()} == {
        "auth": {"12", "é*["},
        "session": {"12", "12:a", "13"},
        "online": {f"w-{number}" for number in range(1, 1500)},
        "team": {"w-9"},
        "note": {"ask w-8"},
    }
    assert [place.partition(": ")[0] for place in seen.texts] == ["note"]
    assert [each.what for each in seen.findings] == ["1 keys of this form are of type list, and were not looked into"]
