"""S3, on two real servers (MinIO and versitygw): what is found, backed up and erased."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aioboto3 import Session
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from pydantic import SecretStr

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.settings import S3Settings
from activities.stores.s3.answers import Reasons
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.deleting import delete
from activities.stores.s3.listing import Found
from activities.stores.s3.store import S3Store, connect
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings
from tests.stores.s3_bucket import (
    ANN,
    AWKWARD,
    BOB,
    EACH_KIND,
    NO_XML,
    OTHERS,
    OURS,
    PLAIN,
    SUSPENDED,
    VERSIONED,
    Bucket,
    on,
)


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_files_of_the_slice_go_and_neighbours_stay_and_a_second_run_changes_nothing(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    before = await bucket.there()
    store = bucket.store()
    assert (await store.preview(both)).places == bucket.places(3, 1)
    assert (await store.back_up(both, vault)).places == bucket.places(3, 1)
    assert await bucket.there() == before, "a back-up writes nothing"

    erased = await store.erase(both, vault)

    assert await bucket.there() == {key: etag for key, etag in before.items() if key in OTHERS}
    assert erased.places == bucket.places(Tally(3, 3), Tally(1, 1))
    assert erased.warnings == []
    assert (await store.preview(both)).records == 0
    versions = await bucket.versions()
    assert (await store.erase(both, vault)).places == bucket.places(Tally(already_clean=3), Tally(already_clean=1))
    assert await bucket.versions() == versions


@on(VERSIONED[1], *PLAIN)
async def test_names_of_any_kind_are_data(bucket: Bucket, slice_of: Callable[..., Slice], vault: BatchVault) -> None:
    names = (*AWKWARD, NO_XML) if bucket.server == "minio" else AWKWARD
    people = [Contributor(name, (f"{number}+a@x.io",)) for number, name in enumerate(names)]
    ours = {
        *(f"files/{name}/{name}" for name in names),
        *(f"notes/x{name}/{number}+A@X.io.txt" for number, name in enumerate(names)),
    }
    others = {f"files/{name}2/x" for name in AWKWARD} | {"files/a b&c/x", "files/a%2520b%/x", "notes/a/b/9+a@x.io.txt"}
    await asyncio.gather(*(bucket.put(key) for key in (*ours, *others)))
    before = await bucket.there()
    assert set(before) == ours | others, "the server takes them all"
    store = bucket.store("files/{contributor_id}/", "notes/x*/{email}.txt")
    part = slice_of(*people)
    await store.back_up(part, vault)
    erased = await store.erase(part, vault)
    assert erased.total == Tally(len(ours), len(ours))
    assert set(await bucket.there()) == others
    assert (await store.restore(part, vault)).total.restored == len(ours)
    assert await bucket.there() == before


@on(PLAIN[0], VERSIONED[1])
async def test_where_a_wildcard_comes_before_the_identity_one_listing_does_for_all(
    bucket: Bucket, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    people = slice_of(*(Contributor(str(number), (f"P{number}@x.io",)) for number in range(12, 20)))
    ours = ("exports/2024/12-a.csv", "exports/2025/13-.csv", "mail/p14@x.io/x", "mail/P14@X.io/x", "files/15/a")
    others = (
        "exports/2024/123-a.csv",
        "exports/2024/112-a.csv",
        "exports/2024/12-a.txt",
        "exports/2024/12.csv",
        "exports/12-a.csv",
        "exports/2024/x/12-a.csv",
        "mail/p14@x.io.uk/x",
        "mail/notp14@x.io/x",
    )
    await asyncio.gather(*(bucket.put(key) for key in (*ours, *others)))
    store = bucket.store("exports/*/{contributor_id}-*.csv", "mail/{email}/", "files/{contributor_id}/")
    plain = bucket.requests("ListObjectsV2")
    versions = bucket.requests("ListObjectVersions")
    assert [*(await store.preview(people)).places.values()] == [2, 2, 1]
    listed = [request["Prefix"] for request in (*plain, *versions)]
    assert sorted(prefix for prefix in listed if not prefix.startswith("files/")) == ["exports/", "mail/"]
    await store.back_up(people, vault)
    await store.erase(people, vault)
    assert set(await bucket.there()) == set(others)


@on(PLAIN[0])
async def test_a_key_that_several_templates_name_counts_once(
    bucket: Bucket, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await bucket.fill()
    store = bucket.store("*/{contributor_id}/", "files/{contributor_id}/", "files/{contributor_id}/id card.jpg")
    part = slice_of(ANN)
    assert [*(await store.preview(part)).places.values()] == [3, 0, 0], "shared/12/x is named by the first"
    await store.back_up(part, vault)
    assert (await store.erase(part, vault)).total == Tally(3, 3)


@on(*VERSIONED)
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


@on(PLAIN[0], SUSPENDED[0])
async def test_where_a_delete_destroys_the_body_is_in_the_vault(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    body = secrets.token_bytes(100_000)  # more than a record holds
    await bucket.put(OURS[0], body)
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    (record,) = [record async for _, record in vault.records("pre-image/s3/000000")]
    digest = hashlib.sha256()
    async for chunk in vault.chunks(record["copy"]["name"]):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(body).digest()


@on(*EACH_KIND)
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


@on(PLAIN[0])
async def test_what_goes_while_it_is_copied_is_no_failure(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()

    async def go(params: dict[str, Any]) -> None:
        if params["Key"] == OURS[0]:
            await bucket.client.delete_object(Bucket=bucket.name, Key=OURS[0])

    bucket.before("GetObject", go)
    assert (await bucket.store().back_up(both, vault)).places == bucket.places(2, 1)


@on(PLAIN[0], VERSIONED[0])
async def test_a_run_that_was_cut_is_taken_up(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await asyncio.gather(*(bucket.put(f"files/12/{number:03}") for number in range(40)))
    store = bucket.store()
    await store.back_up(both, vault)
    cut = asyncio.create_task(store.erase(both, vault))
    await asyncio.sleep(0.02)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    again = await store.erase(both, vault)
    assert again.total.changed + again.total.already_clean == 40
    assert await bucket.there() == {}


@on(*PLAIN)
async def test_a_request_deletes_a_thousand_and_what_is_not_there_is_no_failure(bucket: Bucket) -> None:
    await bucket.fill()
    there = await bucket.there()
    absent = [f"files/12/absent {number}" for number in range(1_000 - len(OURS))]
    found = [Found("files", bucket.name, key, there.get(key, "x"), 1, 1, "outlives") for key in (*OURS, *absent)]
    deletes = bucket.requests("DeleteObjects")
    refused: Reasons = {}
    assert await delete(bucket.client, found, refused) == (Counter(files=1_000), [])
    assert refused == {}
    assert [len(request["Delete"]["Objects"]) for request in deletes] == [1_000]
    assert set(await bucket.there()) == set(OTHERS)


@on(PLAIN[0])
async def test_nothing_is_erased_without_a_back_up(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    before = await bucket.there()
    with pytest.raises(CriticalError, match="has no back-up"):
        await bucket.store().erase(both, vault)
    assert await bucket.there() == before


@on(VERSIONED[0], PLAIN[1])
async def test_an_identity_with_a_slash_reaches_into_nobody_elses_files_and_holds_nobody_up(
    bucket: Bucket, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await bucket.fill()
    part = slice_of(BOB, Contributor("12/deep"), Contributor(".."), Contributor("1"))
    store = bucket.store()
    await store.back_up(part, vault)
    erased = await store.erase(part, vault)
    assert set(OURS) - set(await bucket.there()) == {OURS[2]}
    assert set(OTHERS) - set(await bucket.there()) == {"files/1/12"}
    assert [warning.place for warning in erased.warnings] == [*bucket.templates]
    assert {warning.what[:30] for warning in erased.warnings} == {"2 identities hold a slash and "}
    assert "12/deep" not in "".join(map(str, erased.warnings))


@on(PLAIN[0])
async def test_keys_that_are_refused_are_counted_by_code_and_never_named(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    anybody = AioConfig(signature_version=UNSIGNED, s3={"addressing_style": "path"})
    endpoint = bucket.client.meta.endpoint_url
    async with Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=anybody) as client:
        store = bucket.store(client=client)
        await _allow_anybody(bucket, {"GetObject": "/files/*"})
        with pytest.raises(CriticalError, match=r"avatars/.*: 1 of 1 \(1 x AccessDenied\)"):
            await store.back_up(both, vault)

        await _allow_anybody(bucket, {"GetObject": "/*", "DeleteObject": "/files/12/*"})
        await store.back_up(both, vault)
        with pytest.raises(CriticalError) as raised:
            await store.erase(both, vault)
    for template in bucket.templates:
        assert f"{template}: 1 of {3 if 'files' in template else 1} (1 x AccessDenied)" in str(raised.value)
    assert not any(name in str(raised.value) for name in ("/12", "b*", "cv.pdf"))
    assert set(await bucket.there()) == {*OTHERS, "files/b*[o]'? +&é/cv.pdf", "avatars/12.png"}


async def _allow_anybody(bucket: Bucket, rights: dict[str, str]) -> None:
    here = f"arn:aws:s3:::{bucket.name}"
    of_bucket = ["ListBucket", "GetBucketVersioning", "GetBucketObjectLockConfiguration", "ListBucketMultipartUploads"]
    pairs = [*((right, here) for right in of_bucket), *((right, here + where) for right, where in rights.items())]
    allowed = [
        {"Effect": "Allow", "Principal": "*", "Action": f"s3:{right}", "Resource": where} for right, where in pairs
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    await bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)


@on(*EACH_KIND)
async def test_the_probe_tells_how_buckets_keep_versions_and_which_are_missing(
    bucket: Bucket, heartbeat: Heartbeat
) -> None:
    health = await bucket.store().probe()
    kind = {"Enabled": "versioned", "Suspended": "versioning suspended", "plain": "not versioned"}[bucket.state]
    assert health.places == [f"s3://{bucket.name} ({kind})"]
    assert (health.problems, health.warnings) == ([], [])
    assert [note.place for note in health.notes] == [f"s3://{bucket.name}"] * (bucket.state == "Suspended")
    data_map = S3Map.model_validate({"objects": ["s3://not-there-at-all/{contributor_id}-*"]})
    health = await S3Store(bucket.client, data_map, heartbeat).probe()
    assert [problem.place for problem in health.problems] == ["s3://not-there-at-all"]
    assert [note.place for note in health.notes] == ["s3://not-there-at-all/{contributor_id}-*"]


@on(VERSIONED[0])
async def test_the_probe_tells_where_versions_expire_before_a_rollback(bucket: Bucket) -> None:
    expire = {"ID": "old", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}}
    disabled = {**expire, "ID": "off", "Status": "Disabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    rules: Any = {"Rules": [expire, disabled]}
    await bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=rules)
    (note,) = (await bucket.store().probe()).notes
    assert note.place == f"s3://{bucket.name}"
    assert note.what.startswith("a lifecycle rule deletes old versions after 3 days")


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
