"""S3, on the real server (MinIO): each test has a bucket of its own."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr, ValidationError

from activities.contract import Contributor, Heartbeat, Recovery, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.object_storage import s3_client
from activities.settings import S3Settings
from activities.stores.s3.data_map import ObjectTemplate, S3Map
from activities.stores.s3.deleting import delete
from activities.stores.s3.listing import objects
from activities.stores.s3.store import S3Store, connect
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("b*[o]'? +&é", ("bob@x.io",), ())

OURS = (
    "files/12/id card.jpg",
    "files/12/deep/er/voice.wav",
    "files/b*[o]'? +&é/cv.pdf",
    "avatars/12.png",
)
OTHERS = (
    "files/123/id card.jpg",
    "files/1/12",
    "files/012/x",
    "avatars/123.png",
    "avatars/12.png.bak",
    "avatars/12.pngx",
    "avatars/b.png",
    "shared/12/x",
)


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on the real server."""

    client: S3Client
    name: str
    heartbeat: Heartbeat

    async def put(self, key: str, body: bytes | None = None, **more: Any) -> None:
        await self.client.put_object(Bucket=self.name, Key=key, Body=body or key.encode(), **more)

    async def fill(self) -> None:
        for key in (*OURS, *OTHERS):
            await self.put(key)

    async def there(self) -> dict[str, str]:
        found: dict[str, str] = {}
        async for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            found |= {entry["Key"]: entry["ETag"] for entry in page.get("Contents", [])}
        return found

    async def versions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for entry in page.get("Versions", []):
                found.setdefault(entry["Key"], []).append(entry["VersionId"])
        return found

    async def described(self, key: str) -> dict[str, Any]:
        answer = await self.client.head_object(Bucket=self.name, Key=key)
        tags = (await self.client.get_object_tagging(Bucket=self.name, Key=key))["TagSet"]
        named = ("ETag", "ContentLength", "ContentType", "Metadata", "StorageClass")
        return {name: answer.get(name) for name in named} | {"tags": sorted(tag["Key"] + tag["Value"] for tag in tags)}

    @property
    def templates(self) -> tuple[str, str]:
        return f"s3://{self.name}/files/{{contributor_id}}/", f"s3://{self.name}/avatars/{{contributor_id}}.png"

    def store(self, client: S3Client | None = None) -> S3Store:
        data_map = S3Map.model_validate({"objects": list(self.templates)})
        return S3Store(client or self.client, data_map, self.heartbeat)

    def places(self, files: Any, avatars: Any) -> dict[str, Any]:
        return dict(zip(self.templates, (files, avatars), strict=True))


@pytest.fixture(params=[True, False], ids=["versioned", "plain"])
async def bucket(stack: HasEnv, heartbeat: Heartbeat, request: pytest.FixtureRequest) -> AsyncIterator[Bucket]:
    name = f"test-{secrets.token_hex(6)}"
    async with s3_client(s3_settings(stack)) as client:
        await client.create_bucket(Bucket=name)
        if request.param:
            await client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        yield Bucket(client, name, heartbeat)
        async for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
            for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                await client.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
        await client.delete_bucket(Bucket=name)


plain = pytest.mark.parametrize("bucket", [False], ids=["plain"], indirect=True)
versioned = pytest.mark.parametrize("bucket", [True], ids=["versioned"], indirect=True)


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_files_of_the_slice_go_and_neighbours_stay(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    before = await bucket.there()
    store = bucket.store()
    assert (await store.preview(both)).places == bucket.places(3, 1)
    assert (await store.back_up(both, vault)).places == bucket.places(3, 1)
    assert await bucket.there() == before, "a back-up writes nothing"

    erased = await store.erase(both, vault)

    assert await bucket.there() == {key: etag for key, etag in before.items() if key in OTHERS}
    assert erased.places == bucket.places(Tally(3, 3), Tally(1, 1))
    assert (await store.preview(both)).records == 0


async def test_a_second_run_changes_nothing_and_says_so(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    versions = await bucket.versions()
    assert (await store.erase(both, vault)).places == bucket.places(Tally(already_clean=3), Tally(already_clean=1))
    assert await bucket.versions() == versions


@versioned
async def test_in_a_versioned_bucket_every_version_outlives_the_delete_and_is_named_in_the_back_up(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    await bucket.put(OURS[0], b"second version")
    versions = await bucket.versions()
    latest = {key: (await bucket.client.head_object(Bucket=bucket.name, Key=key))["VersionId"] for key in OURS}
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    assert await bucket.versions() == versions
    records = [record async for _, record in vault.records("pre-image/s3/000000")]
    assert {record["key"]: record["version"] for record in records} == latest
    assert {record["copy"] for record in records} == {None}


@plain
async def test_in_a_plain_bucket_body_and_all_that_belongs_to_it_are_in_the_vault(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    body = secrets.token_bytes(9 * 1024 * 1024)
    await bucket.put(
        OURS[0],
        body,
        ContentType="image/jpeg",
        ContentEncoding="identity",
        CacheControl="no-store",
        Metadata={"source": "form"},
        Tagging="kind=evidence&keep=no",
    )
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    (record,) = [record async for _, record in vault.records("pre-image/s3/000000")]
    copy = record["copy"]
    digest = hashlib.sha256()
    async for chunk in vault.chunks(copy["name"]):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(body).digest()
    assert copy["headers"] | {"ContentType": "image/jpeg", "CacheControl": "no-store"} == copy["headers"]
    assert copy["headers"]["Metadata"] == {"source": "form"}
    assert sorted((tag["Key"], tag["Value"]) for tag in copy["tags"]) == [("keep", "no"), ("kind", "evidence")]


async def test_what_came_or_changed_after_the_back_up_is_kept_before_it_is_deleted(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    store = bucket.store()
    await store.back_up(both, vault)
    await bucket.put("files/12/late.pdf")
    await bucket.put(OURS[0], b"changed since")
    erased = await store.erase(both, vault)

    assert erased.total == Tally(5, 5)
    later = [
        record["key"]
        for name in await vault.names("pre-image/s3/000000/later/")
        async for _, record in vault.records(name)
    ]
    assert sorted(later) == ["files/12/id card.jpg", "files/12/late.pdf"]
    assert set(await bucket.there()) == set(OTHERS)


async def test_a_run_that_was_cut_is_taken_up(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    for number in range(60):
        await bucket.put(f"files/12/{number:03}")
    store = bucket.store()
    await store.back_up(both, vault)
    cut = asyncio.create_task(store.erase(both, vault))
    await asyncio.sleep(0.02)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    again = await store.erase(both, vault)
    assert again.total.changed + again.total.already_clean == 60
    assert await bucket.there() == {}


@plain
async def test_thousands_of_files_take_a_request_a_thousand(bucket: Bucket, slice_of: Callable[..., Slice]) -> None:
    for start in range(0, 2_200, 200):
        await asyncio.gather(*(bucket.put(f"files/12/{number:05}", b"x") for number in range(start, start + 200)))
    requests: list[str] = []

    def count(operation_name: str, **_: Any) -> None:
        requests.append(operation_name)

    store = bucket.store()
    bucket.client.meta.events.register("before-parameter-build.s3.DeleteObjects", lambda **_: count("delete"))
    bucket.client.meta.events.register("before-parameter-build.s3.ListObjectsV2", lambda **_: count("list"))
    assert (await store.preview(slice_of(ANN))).records == 2_200
    deleted = 0
    refused: dict[str, int] = {}
    async for found in objects(bucket.client, store._templates, slice_of(ANN)):
        deleted += await delete(bucket.client, bucket.name, [{"Key": each.key} for each in found], refused)
    assert (deleted, refused) == (2_200, {})
    assert requests.count("delete") == 3
    assert await bucket.there() == {}


async def test_nothing_is_erased_without_a_back_up(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    before = await bucket.there()
    with pytest.raises(CriticalError, match="has no back-up"):
        await bucket.store().erase(both, vault)
    assert await bucket.there() == before


async def test_a_rollback_puts_back_exactly_what_was_there(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    large = secrets.token_bytes(17 * 1024 * 1024)
    await bucket.put("files/12/large", large)
    await bucket.put(
        OURS[0], b"body", ContentType="image/jpeg", Metadata={"source": "form"}, Tagging="kind=a%20b&keep=no"
    )
    before, described = await bucket.there(), await bucket.described(OURS[0])
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    assert set(await bucket.there()) == set(OTHERS)

    restored = await store.restore(both, vault)

    assert restored.places == bucket.places(Recovery(4, 4), Recovery(1, 1))
    assert restored.warnings == []
    after = await bucket.there()
    assert set(after) == set(before)
    assert {key for key in after if after[key] != before[key]} <= {"files/12/large"}, "an upload in parts has its own"
    assert await bucket.described(OURS[0]) == described
    body = await (await bucket.client.get_object(Bucket=bucket.name, Key="files/12/large"))["Body"].read()
    assert hashlib.sha256(body).digest() == hashlib.sha256(large).digest()
    again = await store.restore(both, vault)
    assert again.places == bucket.places(Recovery(4, intact=4), Recovery(1, intact=1))


async def test_a_rollback_of_half_an_erasure_puts_back_that_half(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    before = await bucket.there()
    store = bucket.store()
    await store.back_up(both, vault)
    await bucket.client.delete_object(Bucket=bucket.name, Key=OURS[0])
    restored = await store.restore(both, vault)
    assert restored.places == bucket.places(Recovery(3, restored=1, intact=2), Recovery(1, intact=1))
    assert await bucket.there() == before


async def test_a_rollback_puts_back_the_last_version_before_the_delete(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    store = bucket.store()
    await store.back_up(both, vault)
    await bucket.put(OURS[0], b"changed between back-up and erasure")
    await bucket.put("files/12/late.pdf")
    before = await bucket.there()
    await store.erase(both, vault)
    restored = await store.restore(both, vault)
    assert restored.total == Recovery(5, 5)
    assert await bucket.there() == before


async def test_a_rollback_overwrites_nothing_that_was_uploaded_since(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    await bucket.put(OURS[0], b"uploaded since")
    restored = await store.restore(both, vault)
    assert restored.places == bucket.places(Recovery(3, restored=2, conflicted=1), Recovery(1, 1))
    (warning,) = restored.warnings
    assert (warning.place, warning.what) == (bucket.templates[0], "1 objects could not be put back")
    body = await (await bucket.client.get_object(Bucket=bucket.name, Key=OURS[0]))["Body"].read()
    assert body == b"uploaded since"


async def test_a_rollback_without_a_back_up_does_nothing(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    before = await bucket.there()
    assert (await bucket.store().restore(both, vault)).total == Recovery()
    assert await bucket.there() == before


async def test_after_a_purge_no_version_of_the_slice_is_left_and_all_of_the_others(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    await bucket.put(OURS[0], b"a second version")
    await bucket.put(OTHERS[0], b"a second version")
    versions = await bucket.versions()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    await bucket.put(OURS[1], b"uploaded since")
    purged = await store.purge(both, vault)
    left = await bucket.versions()
    assert {key: ids for key, ids in left.items() if key in OTHERS} == {
        key: ids for key, ids in versions.items() if key in OTHERS
    }
    assert {key: len(ids) for key, ids in left.items() if key in OURS} == {OURS[1]: 1}
    if purged.places:  # a bucket without versions keeps nothing to purge
        assert [warning.what for warning in purged.warnings] == [
            "1 files were uploaded since the erasure and were kept"
        ]
        restored = await store.restore(both, vault)
        assert restored.total.restored == 0, "there is no way back"
        assert restored.total.conflicted == len(OURS)


@plain
async def test_an_identity_with_a_slash_reaches_into_nobody_elses_files(
    bucket: Bucket, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await bucket.fill()
    before = await bucket.there()
    with pytest.raises(CriticalError, match="1 identities of the slice hold a slash") as raised:
        await bucket.store().back_up(slice_of(ANN, Contributor("12/deep")), vault)
    assert "12/deep" not in str(raised.value)
    assert await bucket.there() == before


async def test_a_held_version_outlives_the_purge_and_is_reported_and_the_others_go(
    stack: HasEnv, heartbeat: Heartbeat, both: Slice, vault: BatchVault
) -> None:
    name = f"test-{secrets.token_hex(6)}"
    async with s3_client(s3_settings(stack)) as client:
        await client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        locked = Bucket(client, name, heartbeat)
        await locked.fill()
        await client.put_object_legal_hold(Bucket=name, Key=OURS[0], LegalHold={"Status": "ON"})
        store = locked.store()
        health = await store.probe()
        assert health.problems == []
        await store.back_up(both, vault)
        erased = await store.erase(both, vault)
        assert erased.total == Tally(4, 4), "a marker is put on top of a held version: it stays below"
        assert len((await locked.versions())[OURS[0]]) == 1
        purged = await store.purge(both, vault)
        (warning,) = purged.warnings
        assert "some versions cannot be deleted (1 x " in warning.what
        assert {key for key in await locked.versions() if key in OURS} == {OURS[0]}
        await client.put_object_legal_hold(
            Bucket=name,
            Key=OURS[0],
            VersionId=(await locked.versions())[OURS[0]][0],
            LegalHold={"Status": "OFF"},
        )


async def test_the_probe_tells_how_buckets_keep_versions_and_which_are_missing(
    bucket: Bucket, heartbeat: Heartbeat
) -> None:
    health = await bucket.store().probe()
    kind = "versioned" if (await bucket.client.get_bucket_versioning(Bucket=bucket.name)).get("Status") else None
    assert health.places == [f"s3://{bucket.name} ({kind or 'not versioned'})"]
    assert health.problems == []
    data_map = S3Map.model_validate({"objects": ["s3://not-there-at-all/{contributor_id}/"]})
    (problem,) = (await S3Store(bucket.client, data_map, heartbeat).probe()).problems
    assert problem.place == "s3://not-there-at-all"


async def test_a_server_that_is_away_is_transient_and_a_wrong_key_critical(
    stack: HasEnv, heartbeat: Heartbeat, both: Slice
) -> None:
    right = s3_settings(stack)
    data_map = S3Map.model_validate({"objects": ["s3://bucket/{contributor_id}/"]})
    away = S3Settings(endpoint_url="http://127.0.0.1:1", access_key=right.access_key, secret_key=right.secret_key)
    async with connect(away) as client:
        with pytest.raises(TransientError, match="s3: cannot reach S3"):
            await S3Store(client, data_map, heartbeat).preview(both)
    wrong = right.model_copy(update={"secret_key": SecretStr("not-the-key")})
    async with connect(wrong) as client:
        with pytest.raises(CriticalError, match="s3: access denied") as raised:
            await S3Store(client, data_map, heartbeat).preview(both)
    assert "not-the-key" not in str(raised.value)


@pytest.mark.parametrize(
    "template",
    [
        "files/{contributor_id}/",
        "s3://b/{contributor_id}/",
        "s3://bucket/x/",
        "s3://bucket/{id}/",
        "s3://bucket/{email}{email}",
    ],
)
def test_a_template_that_names_no_one_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        ObjectTemplate.parse(template)
    with pytest.raises(ValidationError):
        S3Map.model_validate({"objects": [template]})
