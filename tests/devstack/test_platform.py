"""The demo's platform holds what it promises, in each real store, and the census counts it right."""

from __future__ import annotations

import asyncio
import re
import secrets
import tomllib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.platform import census, clickhouse, postgres, seed
from devstack.platform.clients import Clients, connect
from devstack.platform.people import AWKWARD, Person
from devstack.platform.plan import SMALL, Names
from devstack.platform.seed import Platform
from tests.bench import HasEnv

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

DATA_MAP = tomllib.loads((Path(__file__).parents[2] / "erasure.toml").read_text("utf-8"))

STORES = {"elasticsearch", "clickhouse", "postgres", "s3", "redis"}


@pytest.fixture(scope="module")
def make_platform(stack: HasEnv) -> Iterator[Callable[[], Platform]]:
    """Makes small platforms under names of their own; drops them in the end."""
    made: list[Names] = []

    def make() -> Platform:
        made.append(Names.under(f"t{secrets.token_hex(4)}"))
        return asyncio.run(seed.seed(stack.env, SMALL, made[-1]))

    yield make
    for names in made:
        asyncio.run(seed.clear(stack.env, names))


@pytest.fixture(scope="module")
def platform(make_platform: Callable[[], Platform]) -> Platform:
    """One small platform that every test may read and none may write."""
    return make_platform()


@pytest.fixture
async def clients(stack: HasEnv) -> AsyncIterator[Clients]:
    async with connect(stack.env) as opened:
        yield opened


async def test_each_store_holds_as_many_records_as_promised(clients: Clients, platform: Platform) -> None:
    counts = await census.take(clients, platform.names, platform.sample)
    total = {(count.store, count.place): count.total for count in counts}

    assert sum(number for (store, _), number in total.items() if store == "elasticsearch") == SMALL.documents
    assert total["clickhouse", "unit_metrics"] == SMALL.metric_rows
    assert total["clickhouse", "unit_metrics_quality"] == SMALL.quality_rows
    assert total["clickhouse", "unit_metrics_hourly"] == SMALL.metric_rows // 2
    assert {place: number for (store, place), number in total.items() if store == "postgres"} == {
        "contributors": SMALL.contributors,
        "jobs": SMALL.jobs,
        "job_mappings": SMALL.job_mappings,
        "contributor_devices": SMALL.devices,
        "payments": SMALL.payments,
        "support_tickets": SMALL.tickets,
        "audit_log": SMALL.audit_rows,
    }
    assert total["s3", "avatars/"] == SMALL.avatars
    assert total["s3", "projects/"] == SMALL.shared_files
    assert total["s3", "contributors/"] >= SMALL.file_owners
    assert total["s3", "contributors/ (all versions)"] > total["s3", "contributors/"]
    assert total["redis", "auth"] == SMALL.cached


async def test_the_same_seed_makes_the_same_platform(
    clients: Clients, platform: Platform, make_platform: Callable[[], Platform]
) -> None:
    twin = await asyncio.to_thread(make_platform)

    assert twin.people == platform.people
    assert twin.sample == platform.sample
    first = await census.take(clients, platform.names, platform.sample)
    second = await census.take(clients, twin.names, twin.sample)
    assert [replace(count, place="") for count in first] == [replace(count, place="") for count in second]


async def test_postgres_has_every_column_of_the_data_map(clients: Clients, platform: Platform) -> None:
    rows = await clients.postgres.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1", platform.names.schema
    )
    columns = {(f"public.{row['table_name']}", row["column_name"]) for row in rows}

    identity, rules = DATA_MAP["identity"], DATA_MAP["postgres"]
    wanted = {(identity["table"], name) for name in (identity["id"], *identity["emails"], *identity["worker_ids"])}
    wanted |= {(rule["table"], rule["by"]) for rule in (*rules["delete"], *rules["mask"])}
    wanted |= {(rule["table"], name) for rule in rules["mask"] for name in rule["columns"]}
    assert wanted <= columns


async def test_elasticsearch_has_every_field_of_the_data_map(clients: Clients, platform: Platform) -> None:
    wanted = [name for fields in DATA_MAP["elasticsearch"].values() for name in fields]

    answer = await clients.elasticsearch.indices.get_field_mapping(index=list(platform.names.indices), fields=wanted)

    assert sorted(answer) == sorted(platform.names.indices)
    for index in answer.values():
        assert set(wanted) <= index["mappings"].keys()


async def test_clickhouse_has_every_column_of_the_data_map_outside_the_keys(
    clients: Clients, platform: Platform
) -> None:
    rows = await clients.clickhouse.fetch(
        "SELECT table, name, is_in_sorting_key + is_in_partition_key AS in_key FROM system.columns "
        "WHERE database = {database}",
        params={"database": platform.names.database},
    )
    in_key = {(row["table"], row["name"]): row["in_key"] for row in rows}

    wanted = [name for columns in DATA_MAP["clickhouse"].values() for name in columns]
    assert [in_key[table, name] for table in clickhouse.TABLES for name in wanted] == [0] * 9


async def test_every_awkward_worker_has_records_everywhere(clients: Clients, platform: Platform) -> None:
    for person in platform.people[: len(AWKWARD)]:
        if person.worker_id is not None:
            counts = await census.take(clients, platform.names, [person])
            found = {count.store for count in counts if count.batch}
            assert found == STORES, person


async def test_a_comment_names_somebody_of_the_sample_beside_a_bystander(clients: Clients, platform: Platform) -> None:
    comments = await _comments(clients, platform)

    assert "notbob@x.io, bob@x.io and bob@x.io.uk all looked at it." in comments
    assert "Not notbob@x.io: it was bob@x.io!" in comments


async def test_the_census_sees_an_erasure_and_whether_anybody_else_was_touched(
    clients: Clients, make_platform: Callable[[], Platform]
) -> None:
    platform = await asyncio.to_thread(make_platform)
    before = await census.take(clients, platform.names, platform.sample)

    await _erase_by_hand(clients, platform.names, platform.sample)

    after = await census.take(clients, platform.names, platform.sample)
    assert [count.others for count in after] == [count.others for count in before]
    assert [count for count in after if count.batch and not count.place.endswith("(all versions)")] == []
    masked = {count.place: count.deleted for count in after if count.deleted}
    kept = {"payments", "support_tickets", "audit_log", *clickhouse.TABLES, *platform.names.indices}
    assert masked == {count.place: count.batch for count in before if count.place in kept}

    bystander = next(person for person in platform.people if person.contributor_id == "123")
    await _erase_by_hand(clients, platform.names, [bystander])

    touched = await census.take(clients, platform.names, platform.sample)
    assert {was.store for was, now in zip(after, touched, strict=True) if was.others != now.others} == STORES


async def test_a_cleared_platform_leaves_nothing(
    stack: HasEnv, clients: Clients, make_platform: Callable[[], Platform]
) -> None:
    names = (await asyncio.to_thread(make_platform)).names

    assert await seed.clear(stack.env, names)

    assert not await clients.elasticsearch.indices.exists(index=names.indices[0])
    assert await clients.clickhouse.fetchval(f"EXISTS DATABASE {clickhouse.quoted(names.database)}") == 0
    assert names.bucket not in [bucket["Name"] for bucket in (await clients.s3.list_buckets())["Buckets"]]
    assert [key async for key in clients.redis.scan_iter(match=f"{names.key_prefix}*")] == []
    assert not await postgres.is_there(clients.postgres, names.schema)
    assert not await seed.clear(stack.env, names)


async def test_what_was_not_made_here_is_never_cleared(stack: HasEnv, clients: Clients) -> None:
    names = Names.under(f"t{secrets.token_hex(4)}")
    schema = postgres.quoted(names.schema)
    await clients.postgres.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.contributors (id text)")
    await clients.redis.set(f"{names.key_prefix}auth:12", "kept")

    with pytest.raises(PermissionError, match="was not made by devstack"):
        await seed.clear(stack.env, names)

    assert await clients.redis.get(f"{names.key_prefix}auth:12") == b"kept"
    await clients.redis.delete(f"{names.key_prefix}auth:12")
    await clients.postgres.execute(f"DROP SCHEMA {schema} CASCADE")


async def _comments(clients: Clients, platform: Platform) -> list[str]:
    answer = await clients.elasticsearch.search(
        index=list(platform.names.indices), size=SMALL.documents, source_includes="comment"
    )
    return [hit["_source"]["comment"] for hit in answer["hits"]["hits"]]


async def _erase_by_hand(clients: Clients, names: Names, people: Collection[Person]) -> None:
    """Erases people by the plainest means, store by store."""
    ids = [person.contributor_id for person in people]
    emails = [person.email.lower() for person in people]
    workers = [person.worker_id for person in people if person.worker_id is not None]
    await _mask_documents(clients, names, people)
    for table in clickhouse.TABLES:
        await clients.clickhouse.execute(
            f"ALTER TABLE {clickhouse.quoted(names.database)}.{table} UPDATE email = 'DELETED_USER', "
            "worker_id = 'DELETED_USER', worker_name = 'DELETED_USER' "
            "WHERE lowerUTF8(email) IN {emails} SETTINGS mutations_sync = 1",
            params={"emails": emails},
        )
    for statement, values in (
        ("DELETE FROM {}.job_mappings WHERE contributor_id = ANY($1)", ids),
        ("DELETE FROM {}.contributor_devices WHERE contributor_id = ANY($1)", ids),
        ("DELETE FROM {}.contributors WHERE id = ANY($1)", ids),
        (
            "UPDATE {}.payments SET contributor_id = 'DELETED_USER', payee_email = 'DELETED_USER' "
            "WHERE contributor_id = ANY($1)",
            ids,
        ),
        (
            "UPDATE {}.support_tickets SET requester_email = 'DELETED_USER', body = 'DELETED_USER' "
            "WHERE lower(trim(requester_email)) = ANY($1)",
            emails,
        ),
        ("UPDATE {}.audit_log SET actor_worker_id = 'DELETED_USER' WHERE actor_worker_id = ANY($1)", workers),
    ):
        await clients.postgres.execute(statement.format(postgres.quoted(names.schema)), values)
    alone = "|".join(map(re.escape, ids))
    listed = (await clients.s3.list_objects_v2(Bucket=names.bucket))["Contents"]
    files = re.compile(rf"contributors/({alone})/.*|avatars/({alone})\.png")
    gone: list[ObjectIdentifierTypeDef] = [{"Key": entry["Key"]} for entry in listed if files.fullmatch(entry["Key"])]
    await clients.s3.delete_objects(Bucket=names.bucket, Delete={"Objects": gone})
    personal = re.compile(rf"{names.key_prefix}(auth:({alone})|session:({alone}):[^:]*|jobcache:[^:]*:({alone}))")
    keys = [key async for key in clients.redis.scan_iter(match=f"{names.key_prefix}*")]
    await clients.redis.delete(*(key for key in keys if personal.fullmatch(key.decode())))


async def _mask_documents(clients: Clients, names: Names, people: Collection[Person]) -> None:
    """Writes each document of the people anew, one by one."""
    emails = {person.email.lower() for person in people}
    identities = emails | {person.worker_id for person in people if person.worker_id is not None}
    alone = "|".join(sorted(map(re.escape, identities), key=len, reverse=True))
    mention = re.compile(rf"(?<![\w@.+-])(?:{alone})(?![\w@-]|\.\w)", re.IGNORECASE)

    def masked(fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("worker_email", fields.get("email", "")).lower() not in emails:
            return fields
        personal = ("worker_email", "worker_id", "worker_name", "email")
        return {name: "DELETED_USER" if name in personal else value for name, value in fields.items()}

    answer = await clients.elasticsearch.search(index=list(names.indices), size=SMALL.documents)
    operations: list[dict[str, Any]] = []
    for hit in answer["hits"]["hits"]:
        document = hit["_source"]
        written = {
            **masked(document),
            "comment": mention.sub("DELETED_USER", document["comment"]),
            "judgments": [masked(judgment) for judgment in document["judgments"]],
            "reviewers": [masked(reviewer) for reviewer in document["reviewers"]],
        }
        if written != document:
            place = {"_index": hit["_index"], "_id": hit["_id"], "routing": hit.get("_routing")}
            operations += [{"index": place}, written]
    await clients.elasticsearch.bulk(operations=operations, refresh=True)
