"""S3's end of the way back, on two real servers: versions, unfinished uploads, and what locks keep."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from activities.contract import Heartbeat, Slice, Tally
from activities.object_storage import s3_client
from activities.stores.s3.deleting import delete
from activities.stores.s3.listing import versions
from activities.vault import BatchVault
from tests.stores.conftest import s3_settings
from tests.stores.s3_bucket import (
    ANN,
    BOB,
    OTHERS,
    OURS,
    PLAIN,
    SERVERS,
    VERSIONED,
    Bucket,
    on,
    own_bucket,
)


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_after_a_purge_no_version_of_the_slice_is_left_and_all_of_the_others(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    for key in (OURS[0], OTHERS[0]):
        await bucket.put(key, b"a second version")
    before = await bucket.versions()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    await bucket.put(OURS[1], b"uploaded since")

    purged = await store.purge(both, vault)

    left = await bucket.versions()
    assert {key: ids for key, ids in left.items() if key in OTHERS} == {
        key: ids for key, ids in before.items() if key in OTHERS
    }
    assert {key: len(ids) for key, ids in left.items() if key in OURS} == {OURS[1]: 1}
    if bucket.state == "plain":
        assert (purged.places, purged.warnings) == ({}, []), "a bucket without versions keeps nothing to purge"
        return
    (warning,) = purged.warnings
    assert (warning.place, warning.what) == (
        bucket.templates[0],
        "1 files were uploaded since the erasure and were kept",
    )
    assert (await store.purge(both, vault)).places == {}, "a second purge changes nothing"
    if bucket.state == "Enabled":
        restored = await store.restore(both, vault)
        assert (restored.total.restored, restored.total.conflicted) == (0, len(OURS)), "there is no way back"


@on(*VERSIONED)
async def test_versions_that_are_gone_already_and_rows_that_are_repeated_are_no_failure(
    bucket: Bucket, both: Slice
) -> None:
    for number in range(3):
        await asyncio.gather(*(bucket.put(key, b"%d" % number) for key in OURS))
    await bucket.client.delete_object(Bucket=bucket.name, Key=OURS[0])
    bucket.before("ListObjectVersions", lambda params: params.__setitem__("MaxKeys", 2))
    templates = bucket.store()._data_map.templates
    stacks = [stack async for chunk in versions(bucket.client, templates, both) for stack in chunk]
    assert sorted((stack[0].key, len(stack), stack[0].is_marker) for stack in stacks) == sorted(
        (key, 3 + (key == OURS[0]), key == OURS[0]) for key in OURS
    )
    all_of_them = [version for stack in stacks for version in stack]
    refused: dict[str, Counter[str]] = {}
    for _ in range(2):
        deleted, failed = await delete(bucket.client, all_of_them, refused)
        assert (deleted.total(), failed, refused) == (13, [], {})
    assert await bucket.versions() == {}


@on(VERSIONED[0], PLAIN[1])
async def test_unfinished_uploads_are_aborted_by_the_purge_and_only_those_that_the_erasure_saw(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    async def begin(key: str) -> str:
        upload = (await bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key))["UploadId"]
        await bucket.client.upload_part(Bucket=bucket.name, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 100)
        return upload

    async def unfinished() -> set[str]:
        listed = await bucket.client.list_multipart_uploads(Bucket=bucket.name)
        return {upload["UploadId"] for upload in listed.get("Uploads", [])}

    ours = {await begin(key) for key in ("files/12/a", "files/12/b", "avatars/12.png")}
    others = {await begin(key) for key in ("files/123/a", "avatars/12.png.bak")}
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    since = await begin("files/12/c")
    assert await unfinished() == {*ours, *others, since}, "an erasure can be undone, an abort cannot"
    purged = await store.purge(both, vault)
    files, avatars = (f"{template} (unfinished uploads)" for template in bucket.templates)
    assert purged.places == {files: 2, avatars: 1}
    assert await unfinished() == {*others, since}
    assert (await store.purge(both, vault)).places == {}


@pytest.fixture(params=[*SERVERS])
async def locked(request: pytest.FixtureRequest, heartbeat: Heartbeat) -> AsyncIterator[Bucket]:
    """A bucket with object lock."""
    settings = s3_settings(request.getfixturevalue(SERVERS[request.param]))
    async with (
        s3_client(settings) as client,
        own_bucket(client, request.param, "Enabled", heartbeat, ObjectLockEnabledForBucket=True) as made,
    ):
        yield made


async def test_locked_objects_are_reported_by_the_erasure_and_outlive_the_purge_and_the_others_go(
    locked: Bucket, both: Slice, vault: BatchVault
) -> None:
    await locked.fill()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    held = await locked.put(OURS[0], b"held")
    retained = await locked.put(OURS[1], b"retained", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=tomorrow)
    await locked.client.put_object_legal_hold(Bucket=locked.name, Key=OURS[0], LegalHold={"Status": "ON"})
    store = locked.store()
    health = await store.probe()
    assert (health.places, health.problems) == ([f"s3://{locked.name} (versioned, object lock)"], [])
    await store.back_up(both, vault)

    erased = await store.erase(both, vault)

    assert erased.total == Tally(4, 4), "a marker is put on top of a locked version: it stays below"
    (warning,) = erased.warnings
    reasons = f"(1 x governance until {tomorrow:%Y-%m-%d}, 1 x legal hold)"
    assert (warning.place, warning.what) == (locked.templates[0], f"2 objects are locked {reasons}")
    assert await locked.there() == {key: etag for key, etag in (await locked.there()).items() if key in OTHERS}

    purged = await store.purge(both, vault)

    (warning,) = purged.warnings
    assert (warning.place, warning.what) == (locked.templates[0], f"2 versions cannot be deleted {reasons}")
    left = {key: ids for key, ids in (await locked.versions()).items() if key in OURS}
    assert left == {OURS[0]: [held], OURS[1]: [retained]}
    await locked.client.put_object_legal_hold(
        Bucket=locked.name, Key=OURS[0], VersionId=held, LegalHold={"Status": "OFF"}
    )
