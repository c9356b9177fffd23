"""The canary in each real store: planted, found and erased as any contributor, and taken away without a trace."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis

from activities.canary.book import Book
from activities.canary.person import Alone, Canary
from activities.contract import Contributor, Finding, Heartbeat, Planted, Planter, Seed, Seeds, Store
from activities.identities import IdentityKind
from activities.stores.clickhouse.planting import ClickHousePlanter
from activities.stores.elasticsearch.planting import ElasticsearchPlanter
from activities.stores.postgres.planting import PostgresPlanter
from activities.stores.redis.planting import RedisPlanter
from activities.stores.s3.planting import S3Planter
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores import clickhouse_database, postgres_schema
from tests.stores.elasticsearch_cluster import KEYWORD, NEIGHBOURS, Cluster
from tests.stores.redis_keys import Keys
from tests.stores.s3_bucket import EACH_KIND, Bucket, on
from tests.stores.test_elasticsearch_indices import STREAM

CANARY = Contributor("canary-7", ("Canary-7@x.invalid",), ("w-canary-7",))

NUMBERED = Contributor("700700", ("canary@x.invalid",), ("700701",))
"""A canary whose ids are numbers."""


@dataclass(frozen=True)
class Nest:
    """A canary, and where it is planted.

    Args:
        planter: Plants it.
        store: Erases it.
        canary: Who.
        vault: Of the batch that erases it.
        contents: Reads all that the store holds.
    """

    planter: Planter
    store: Store
    canary: Canary
    vault: BatchVault
    contents: Callable[[], Awaitable[Any]]

    async def comes_and_goes(self) -> tuple[Planted, Seeds]:
        """Plants it, erases it, and takes it away; compares what is there with what was there before."""
        part, before = Alone(self.canary.person, self.vault.batch_id), await self.contents()
        seeds = await self.planter.seeds(self.canary)
        assert await self.contents() == before, "to settle what is planted writes nothing"
        planted = await self.planter.plant(seeds.seeds)
        again = await self.planter.plant(seeds.seeds)
        assert (again.places, await self.counted(part)) == (planted.places, planted.places)
        await self.store.back_up(part, self.vault)
        erased = await self.store.erase(part, self.vault)
        assert {place for place, tally in erased.places.items() if tally.changed} == planted.places.keys()
        assert await self.counted(part) == {}
        await self.store.purge(part, self.vault)
        assert await self.planter.uproot(seeds.seeds) == []
        assert await self.contents() == before
        return planted, seeds

    async def leaves_unmasked(self) -> None:
        """Plants it, and takes it away before anybody has erased it."""
        before = await self.contents()
        seeds = (await self.planter.seeds(self.canary)).seeds
        assert (await self.planter.plant(seeds)).places
        assert await self.planter.uproot(seeds) == []
        assert await self.planter.uproot(seeds) == [], "what is gone already is gone"
        assert await self.contents() == before

    async def counted(self, part: Alone) -> dict[str, int]:
        """Where the eraser's own search finds it."""
        return {place: count for place, count in (await self.store.preview(part)).places.items() if count}


def missed(found: Sequence[Finding]) -> dict[str, str]:
    return {each.place: each.what for each in found}


ELSEWHERE: dict[str, Any] = {
    "dynamic": False,
    "properties": {"worker_id": {"type": "long"}, "judgments": {"properties": {"worker_id": {"type": "integer"}}}},
}


async def test_a_document_comes_and_goes_in_every_index_and_teaches_no_index_a_field(
    cluster: Cluster, vault: BatchVault
) -> None:
    plain, numbers = await cluster.index(NEIGHBOURS), await cluster.index({}, "numbers", ELSEWHERE)
    other = await cluster.index({}, "other", {"properties": {"title": KEYWORD}})
    shut = await cluster.index({}, "shut", settings={"blocks.write": True})

    async def contents() -> Any:
        await cluster.client.indices.refresh(index=cluster.pattern)
        mappings = (await cluster.client.indices.get_mapping(index=cluster.pattern)).body
        return mappings, {index: await cluster.sources(index) for index in (plain, numbers)}

    store = cluster.store()
    planter = ElasticsearchPlanter(cluster.client, store._data_map)
    seeds = await planter.seeds(Canary(NUMBERED, vault.masker))
    assert {seed.place for seed in seeds.seeds} == {plain, numbers}
    found = missed(seeds.missed)
    assert found.keys() == {other, shut}
    assert "blocked" in found[shut]
    await cluster.client.indices.delete(index=shut)
    nest = Nest(planter, store, Canary(NUMBERED, vault.masker), vault, contents)
    planted, settled = await nest.comes_and_goes()
    assert planted.places == {plain: 1, numbers: 1}
    (document,) = [seed.record["document"] for seed in settled.seeds if seed.place == plain]
    assert document["judgments"][0]["worker_email"] == NUMBERED.emails[0], "what is nested is an array"
    assert document["comment"] == f"Canary {NUMBERED.emails[0]} {NUMBERED.worker_ids[0]}"
    await nest.leaves_unmasked()


async def test_in_a_data_stream_a_document_comes_with_its_time_and_goes(cluster: Cluster, vault: BatchVault) -> None:
    client, properties = cluster.client, {"worker_id": KEYWORD}
    template = {"settings": {"number_of_replicas": 0}, "mappings": {"properties": properties}}
    await client.indices.put_index_template(name=STREAM, index_patterns=[STREAM], data_stream={}, template=template)
    first = (await client.index(index=STREAM, document={"@timestamp": 0}, op_type="create")).body  # makes the stream
    await client.delete(index=first["_index"], id=first["_id"])
    store = cluster.store({"worker_id": "worker_id"}, STREAM)
    canary = Canary(Contributor("canary", worker_ids=(f"w-{secrets.randbelow(10**9)}",)), vault.masker)

    async def contents() -> Any:
        await client.indices.refresh(index=STREAM)
        own = canary.own(canary.person.worker_ids[0], tuple(IdentityKind))
        return (await client.count(index=STREAM, query={"terms": {"worker_id": own}}))["count"]

    planted, _ = await Nest(
        ElasticsearchPlanter(client, store._data_map), store, canary, vault, contents
    ).comes_and_goes()
    assert [(place.startswith(".ds-"), count) for place, count in planted.places.items()] == [(True, 1)]


async def test_a_document_that_somebody_filled_with_something_else_stays(cluster: Cluster, vault: BatchVault) -> None:
    index = await cluster.index({})
    planter = ElasticsearchPlanter(cluster.client, cluster.store()._data_map)
    seeds = (await planter.seeds(Canary(CANARY, vault.masker))).seeds
    await planter.plant(seeds)
    (key,) = await cluster.hits(index)
    await cluster.client.update(index=index, id=key, doc={"judgments": [{"worker_id": "w-7"}]}, refresh=True)
    (stays,) = await planter.uproot(seeds)
    assert stays.place == index
    assert (await cluster.sources(index)).keys() == {key}


TABLES = """
    CREATE TYPE mood AS ENUM ('calm', 'loud');
    CREATE TABLE teams (id int PRIMARY KEY);
    CREATE TABLE people (
        id bigint PRIMARY KEY, mail text NOT NULL UNIQUE, worker varchar(12) UNIQUE, name text NOT NULL,
        team int NOT NULL REFERENCES teams, state text NOT NULL CHECK (state IN ('on', 'off')), mood mood NOT NULL,
        born date NOT NULL, seen timestamptz NOT NULL, ip inet NOT NULL, tags text[] NOT NULL, more jsonb NOT NULL,
        code uuid NOT NULL, rate numeric(4, 2) NOT NULL, short char(3) NOT NULL,
        shout text GENERATED ALWAYS AS (upper(name)) STORED, joined timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE visits (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), person bigint NOT NULL REFERENCES people);
    CREATE TABLE bills (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person bigint, mail text, note text);
    CREATE TABLE pay (person text, month int, mail text, PRIMARY KEY (person, month));
    CREATE TABLE letters (id serial PRIMARY KEY, who jsonb NOT NULL, readers text[] NOT NULL);
    CREATE TABLE logs (worker text, ip inet);
    CREATE TABLE counts (worker int);
    CREATE TABLE notes (who jsonb);
    CREATE TABLE strict (id int PRIMARY KEY, mail text, amount int NOT NULL CHECK (amount > 0));
    CREATE INDEX ON visits (person);
    INSERT INTO teams VALUES (1);
    INSERT INTO people VALUES (1, 'ann@x.io', 'w-1', 'Ann', 1, 'on', 'loud', '1990-01-01', now(), '10.0.0.1',
                               '{}', '{}', gen_random_uuid(), 1, 'abc');
    INSERT INTO pay VALUES ('1', 1, NULL), ('DELETED_USER', 0, 'DELETED_USER');
    INSERT INTO logs VALUES ('w-1', NULL), (NULL, NULL), ('DELETED_USER', NULL);
    INSERT INTO counts VALUES (1), (NULL);
"""

DELETED: list[dict[str, Any]] = [
    {"table": "visits", "by": "person"},
    {"table": "people", "by": "id"},
    {"table": "logs", "by": "worker", "holds": "worker_id"},
    {"table": "counts", "by": "worker", "holds": "worker_id"},
    {"table": "notes", "by": "who.mail", "holds": "email"},
]
MASKED: list[dict[str, Any]] = [
    {"table": "bills", "by": "person", "columns": {"person": "token", "mail": "token", "note": "null"}},
    {"table": "pay", "by": "person", "columns": {"person": "token", "mail": "constant"}},
    {"table": "letters", "by": "who.mail", "holds": "email", "columns": {"who.mail": "token"}},
    {"table": "strict", "by": "mail", "holds": "email", "columns": {"mail": "token"}},
]
PLANTED = ("people", "visits", "bills", "pay", "letters", "logs", "counts")


async def rows_of(db: postgres_schema.Database) -> dict[str, list[str]]:
    """Every row of every table, as text; without what a sequence has come to."""
    found: dict[str, list[str]] = {}
    for table in (*PLANTED, "teams", "notes", "strict"):
        rows = await db.pool.fetch(f"SELECT t::text AS row FROM {db.place(table)} AS t ORDER BY 1")
        found[table] = [row["row"] for row in rows]
    return found


@pytest.fixture
async def town(db: postgres_schema.Database, vault: BatchVault) -> Nest:
    """Tables that want a lot of a row, and a canary whose ids are numbers."""
    await db.run(TABLES)
    store = db.store(delete=DELETED, mask=MASKED)
    columns = {"id": NUMBERED.contributor_id, "mail": NUMBERED.emails[0], "worker": NUMBERED.worker_ids[0]}
    canary = Canary(NUMBERED, vault.masker, db.place("people"), columns)
    return Nest(PostgresPlanter(db.pool, store._map), store, canary, vault, lambda: rows_of(db))


async def test_a_row_comes_and_goes_in_every_table_whatever_the_table_wants(
    db: postgres_schema.Database, town: Nest
) -> None:
    planted, seeds = await town.comes_and_goes()
    assert planted.places == {db.place(table): 1 for table in PLANTED}
    found = missed([*seeds.missed, *planted.missed])
    assert found.keys() == {db.place("notes"), db.place("strict")}
    assert "no key" in found[db.place("notes")]
    assert "strict_amount_check" in found[db.place("strict")], "a check that no made-up value passes"
    values = {seed.place: seed.record["values"] for seed in seeds.seeds}[db.place("people")]
    assert (values["mail"], values["state"], values["mood"]) == (NUMBERED.emails[0], "on", "calm")
    assert values["name"] == "Canary", "nobody else's name is taken"
    await town.leaves_unmasked()


async def test_rows_that_somebody_changed_or_refers_to_stay(db: postgres_schema.Database, town: Nest) -> None:
    seeds = (await town.planter.seeds(town.canary)).seeds
    await town.planter.plant(seeds)
    await db.run("UPDATE bills SET mail = 'ann@x.io'; INSERT INTO visits (person) SELECT id FROM people")
    found = missed(await town.planter.uproot(seeds))
    assert found.keys() == {db.place("bills"), db.place("people")}
    assert "visits_person_fkey" in found[db.place("people")]
    assert len((await rows_of(db))["people"]) == 2


async def test_a_value_that_fits_no_column_or_that_somebody_has_is_missed_and_nothing_else_is_lost(
    db: postgres_schema.Database, town: Nest, vault: BatchVault
) -> None:
    columns = {"id": CANARY.contributor_id, "mail": CANARY.emails[0], "worker": CANARY.worker_ids[0]}
    canary = Canary(CANARY, vault.masker, db.place("people"), columns)
    seeds = await town.planter.seeds(canary)
    assert {"people", "visits", "bills", "counts", "notes"} == {place.split(".")[1] for place in missed(seeds.missed)}
    taken = Canary(NUMBERED, vault.masker, db.place("people"), {**town.canary.columns, "mail": "ann@x.io"})
    before = await rows_of(db)
    made = await town.planter.seeds(taken)
    planted = await town.planter.plant(made.seeds)
    assert {db.place("people"), db.place("visits")} <= missed(planted.missed).keys()
    assert planted.places.keys() == {db.place(table) for table in PLANTED[2:]}
    assert await town.planter.uproot(made.seeds) == []
    assert await rows_of(db) == before


METRICS: Mapping[str, str] = {
    "m_plain": "day Date, email String, worker_id LowCardinality(Nullable(String)), name String, n UInt8 DEFAULT 1",
    "m_deep": "who Tuple(email String, age UInt8), tags Array(String), "
    "judged Nested(worker_id String, n UInt8), doc String",
    "m_wide": "worker_no Int64, at DateTime64(3), note String",
    "m_small": "worker_no UInt32",
}
FIELDS: dict[str, Any] = {
    "email": "email",
    "worker_id": "worker_id",
    "name": {"beside": "worker_id"},
    "who.email": "email",
    "tags": "worker_id",
    "judged.worker_id": "worker_id",
    "doc.user.mail": "email",
    "worker_no": "worker_id",
    "note": {"holds": ["email", "worker_id"], "mask": "text"},
}


async def test_a_row_comes_and_goes_in_every_table_also_behind_views(
    database: clickhouse_database.Database, vault: BatchVault
) -> None:
    for name, columns in METRICS.items():
        keys = "PARTITION BY toYYYYMM(day) ORDER BY (day, email) TTL day + INTERVAL 9 DAY" if name == "m_plain" else ""
        await database.run(f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree {keys or 'ORDER BY tuple()'}")
    await database.run(
        "CREATE TABLE m_view (email String, n UInt64) ENGINE = SummingMergeTree ORDER BY email",
        "CREATE MATERIALIZED VIEW m_mv TO m_view AS SELECT email, n FROM m_plain",
        "CREATE TABLE m_newest (unit String, email String) ENGINE = ReplacingMergeTree ORDER BY unit",
        "CREATE TABLE m_source (email String) ENGINE = MergeTree ORDER BY tuple()",
        "CREATE TABLE totals (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple()",
        "CREATE MATERIALIZED VIEW totals_mv TO totals AS SELECT count() AS n FROM m_source",
        "INSERT INTO m_newest VALUES ('', 'ann@x.io')",
        "INSERT INTO m_plain VALUES (today(), 'ann@x.io', 'w-1', 'Ann', 1), (today(), 'DELETED_USER', NULL, '', 2)",
    )
    tables = [*METRICS, "m_view", "m_newest", "m_source", "totals"]

    async def contents() -> Any:
        rows = {table: sorted(await database.texts(f"SELECT * FROM {table} FINAL")) for table in ("m_view", "m_newest")}
        rows |= {table: sorted(await database.texts(f"SELECT * FROM {table}")) for table in tables if table not in rows}
        return rows | {"tables": await database.tables()}

    store = database.store({"m_*": FIELDS})
    nest = Nest(
        ClickHousePlanter(database.client, store._data_map), store, Canary(NUMBERED, vault.masker), vault, contents
    )
    planted, seeds = await nest.comes_and_goes()
    assert planted.missed == []
    assert planted.places == dict.fromkeys(("m_plain", "m_deep", "m_wide", "m_view"), 1)
    found = missed(seeds.missed)
    assert found.keys() == {"m_small", "m_newest", "m_source"}
    assert "merges rows" in found["m_newest"]
    assert "totals" in found["m_source"]
    await nest.leaves_unmasked()
    mutations = await database.mutations()
    assert all(row["is_done"] for row in mutations)
    assert not any(value in str(mutations) for value in (*NUMBERED.emails, *NUMBERED.worker_ids))


@on(*EACH_KIND)
async def test_an_object_comes_and_goes_for_every_template_and_text(bucket: Bucket, vault: BatchVault) -> None:
    await bucket.fill()
    content = (
        {"objects": "notes/*/*.txt", "holds": ["email", "worker_id"], "then": "mask"},
        {"objects": "gone/", "holds": "email", "then": "delete"},
    )
    templates = ("files/{contributor_id}/", "by/{email}/*", "*/x-{worker_id}.png", "no/{worker_id}")
    store = bucket.store(*templates, content=content)

    async def contents() -> Any:
        return await bucket.there(), await bucket.versions()

    person = Contributor(CANARY.contributor_id, CANARY.emails, ("w-canary-7",))
    nest = Nest(S3Planter(bucket.client, store._data_map), store, Canary(person, vault.masker), vault, contents)
    planted, _ = await nest.comes_and_goes()
    assert (len(planted.places), planted.missed) == (6, [])
    await nest.leaves_unmasked()
    crooked = Contributor("a/b", CANARY.emails)
    seeds = await nest.planter.seeds(Canary(crooked, vault.masker))
    assert len(seeds.seeds) == 3, "a slash makes no folder's name, and there is no worker id"
    assert len(seeds.missed) == 3


@pytest.fixture
async def keys(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Keys]:
    """Keys of the test's own on the stack's server."""
    client = Redis.from_url(stack.env["ERASURE_REDIS__URL"])
    own = Keys(client, heartbeat, f"t{secrets.token_hex(5)}:")
    yield own
    if left := [key async for key in client.scan_iter(match=f"{own.prefix}*", count=1_000)]:
        await client.unlink(*left)
    await client.aclose()


async def test_a_key_comes_and_goes_for_every_template_and_rule(keys: Keys, vault: BatchVault) -> None:
    client, prefix = keys.client, keys.prefix
    await client.sadd(f"{prefix}everybody", "w-1")
    store = keys.store(
        auth=["auth:{contributor_id}", "mail:{email}"],
        session=["session:{contributor_id}:*"],
        value=[{"key": "last:*", "values": "email"}, {"key": "note:*", "values": "email", "mask": "text"}],
        hash=[{"key": "team:*", "values": "worker_id", "only": "lead"}, {"key": "seen:*", "fields": "contributor_id"}],
        rest=[
            {"key": "online:*", "members": "worker_id"},
            {"key": "turns:*", "elements": "email"},
            {"key": "events:*", "entries": "worker_id", "only": "who"},
            {"key": "everybody", "members": "worker_id"},
        ],
    )
    nest = Nest(RedisPlanter(store._keyspace, store._map), store, Canary(CANARY, vault.masker), vault, keys.holds)
    planted, seeds = await nest.comes_and_goes()
    assert list(planted.places.values()) == [1] * 10
    assert missed(seeds.missed).keys() == {f"rest: {prefix}everybody (members)"}
    await nest.planter.plant(seeds.seeds)
    assert {kept[0] for key, kept in (await keys.holds()).items() if key != "everybody"} == {"ends"}
    await nest.planter.uproot(seeds.seeds)


async def test_the_book_keeps_what_is_planted_until_it_is_taken_away(vault: BatchVault) -> None:
    book = Book(vault)
    seeds = Seeds([Seed("a", {"key": "1"}), Seed("a", {"key": "2"})], [Finding("b", "is shut", "Open it.")])
    other = Seeds([Seed("c", {"key": "3"})])
    assert await book.planned("one", "redis") is None
    assert await book.plan("one", "redis", seeds) == seeds
    assert await book.plan("one", "redis", other) == seeds, "whoever was first"
    await book.plan("two", "redis", other)
    await book.plan("two", "s3", seeds)
    assert await book.outstanding("redis") == [*seeds.seeds, *other.seeds]
    await book.close()
    assert await book.outstanding("redis") == await book.outstanding("s3") == []
    assert await book.plan("three", "redis", other) == other
    assert await book.outstanding("redis") == other.seeds
