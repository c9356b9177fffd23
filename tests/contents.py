"""What the stores hold, record by record and byte by byte, read apart from both the eraser and the census.

What differs between two platforms of the same seed is left out: the names they stand under, S3's version ids and
dates, and how long a key of Redis still lives.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp

from devstack.platform.clients import Clients, connect
from devstack.platform.plan import Names

PAGE = 10_000
"""Documents of an index; more would not come in one answer."""

CONCURRENCY = 16

Contents = dict[str, Counter[str]]
"""The records of each place; a place begins with its store's name."""

TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""

SEQUENCES = "SELECT sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = $1"


async def read(env: Mapping[str, str], names: Names) -> Contents:
    """Reads everything of a platform.

    Args:
        env: The ``ERASURE_...`` variables.
        names: What the platform's parts are called.
    """
    async with connect(env) as clients:
        stores = await asyncio.gather(
            _elasticsearch(env["ERASURE_ELASTICSEARCH__URL"], clients, names),
            _clickhouse(clients, names),
            _postgres(clients, names),
            _s3(clients, names),
            _redis(clients, names),
        )
    return {place: records for store in stores for place, records in store.items()}


def differences(one: Contents, other: Contents, but: str | None = None) -> list[str]:
    """The records that only one of them has.

    Args:
        one: As it is expected; its records are shown with a minus.
        other: As it is; its records are shown with a plus.
        but: A store that is left out.
    """
    found: list[str] = []
    for place in sorted(one.keys() | other.keys()):
        expected, there = one.get(place, Counter()), other.get(place, Counter())
        if but is None or not place.startswith(but):
            found += [f"- {place}: {record}" for record in (expected - there).elements()]
            found += [f"+ {place}: {record}" for record in (there - expected).elements()]
    return found


async def _elasticsearch(url: str, clients: Clients, names: Names) -> Contents:
    """Documents with the order of their keys and the digits of their numbers, and the mappings."""
    await clients.elasticsearch.indices.refresh(index=list(names.indices))
    contents: Contents = {}
    async with aiohttp.ClientSession(url) as session:
        for index in names.indices:
            place = f"elasticsearch {index.removeprefix(names.index_prefix)}"
            hits = (await _ask(session, f"/{index}/_search?size={PAGE}"))["hits"]["hits"]
            mapping = (await _ask(session, f"/{index}/_mapping"))[index]
            contents[place] = Counter(
                _json([hit["_id"], hit.get("_routing"), hit["_source"]]) for hit in hits
            ) + Counter([_json(mapping)])
    return contents


async def _ask(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path, raise_for_status=True) as answer:
        return json.loads(await answer.text(), parse_float="number {}".format, parse_int="number {}".format)


async def _clickhouse(clients: Clients, names: Names) -> Contents:
    """Rows of every table, also of those that an erasure made for itself."""
    contents: Contents = {}
    query = "SELECT name FROM system.tables WHERE database = {database} AND engine LIKE '%MergeTree'"
    for table in await clients.clickhouse.fetch(query, params={"database": names.database}):
        name = f"`{names.database}`.`{table['name']}`"
        rows = await clients.clickhouse.fetch(f"SELECT hex(formatRow('TSV', *)) AS row FROM {name}")
        contents[f"clickhouse {table['name']}"] = Counter(bytes.fromhex(row["row"]).decode() for row in rows)
    return contents


async def _postgres(clients: Clients, names: Names) -> Contents:
    """Rows of every table, and where the sequences stand."""
    schema = '"' + names.schema + '"'
    sequences = await clients.postgres.fetch(SEQUENCES, names.schema)
    contents: Contents = {"postgres sequences": Counter(row[0] for row in sequences)}
    for (table,) in await clients.postgres.fetch(TABLES, schema):
        rows = await clients.postgres.fetch(f'SELECT t::text FROM {schema}."{table}" AS t')
        contents[f"postgres {table}"] = Counter(row[0] for row in rows)
    return contents


async def _s3(clients: Clients, names: Names) -> Contents:
    """Every version with its bytes, its metadata and its tags, and every delete marker, the newest first."""
    bucket, limit = names.bucket, asyncio.Semaphore(CONCURRENCY)
    versions: list[Any] = []
    async for page in clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions += [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    versions.sort(key=lambda version: (version["Key"], not version["IsLatest"], -version["LastModified"].timestamp()))

    async def record(version: Any) -> str:
        key = version["Key"]
        if "ETag" not in version:
            return _json([key, "delete marker"])
        async with limit:
            known = {"Bucket": bucket, "Key": key, "VersionId": version["VersionId"]}
            tags = (await clients.s3.get_object_tagging(**known))["TagSet"]
            answer = await clients.s3.get_object(**known)
            body = await answer["Body"].read()
        return _json([key, version["IsLatest"], answer["ContentType"], answer["Metadata"], tags, body.hex()])

    return {"s3": Counter(await asyncio.gather(*(record(version) for version in versions)))}


async def _redis(clients: Clients, names: Names) -> Contents:
    """Keys with their values as the server would write them into a file, and whether they expire."""
    keys = [key async for key in clients.redis.scan_iter(match=f"{names.key_prefix}*", count=1_000)]
    pipeline = clients.redis.pipeline(transaction=False)
    for key in keys:
        pipeline.dump(key)
        pipeline.pttl(key)
    answers = await pipeline.execute()
    records = [
        _json([key.decode().removeprefix(names.key_prefix), value.hex(), ttl > 0])
        for key, value, ttl in zip(keys, answers[::2], answers[1::2], strict=True)
    ]
    return {"redis": Counter(records)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
