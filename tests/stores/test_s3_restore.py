"""S3's way back, on two real servers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

import pytest

from activities.contract import Recovery, Slice
from activities.vault import BatchVault
from tests.stores.s3_bucket import ANN, BOB, EACH_KIND, OTHERS, OTHERWISE, OURS, PLAIN, SUSPENDED, VERSIONED, Bucket, on


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_a_rollback_puts_back_exactly_what_was_there(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    await bucket.fill()
    await bucket.put(
        OURS[0],
        secrets.token_bytes(40_000),  # more than a record holds
        ContentType="image/jpeg",
        ContentDisposition="inline",
        ContentLanguage="de",
        CacheControl="no-store",
        Expires="2030-01-01T00:00:00Z",
        Metadata={"source": "form"},
        Tagging="kind=a%20b&keep=no",
    )
    await bucket.put(OURS[1], b"")
    await bucket.put(OURS[2], StorageClass="REDUCED_REDUNDANCY" if bucket.server == "minio" else "STANDARD")
    before, described = await bucket.there(), {key: await bucket.described(key) for key in OURS}
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    assert set(await bucket.there()) == set(OTHERS)

    restored = await store.restore(both, vault)

    assert restored.places == bucket.places(Recovery(3, 3), Recovery(1, 1))
    assert restored.warnings == []
    assert await bucket.there() == before
    assert {key: await bucket.described(key) for key in OURS} == described
    again = await store.restore(both, vault)
    assert again.places == bucket.places(Recovery(3, intact=3), Recovery(1, intact=1))
    assert await bucket.there() == before


@on(*PLAIN)
async def test_a_large_body_is_put_back_in_parts(bucket: Bucket, both: Slice, vault: BatchVault) -> None:
    large = secrets.token_bytes(17 * 1024 * 1024)
    await bucket.put("files/12/large", large, Metadata={"source": "form"})
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    assert (await store.restore(both, vault)).total == Recovery(1, 1)
    assert hashlib.sha256(await bucket.body("files/12/large")).digest() == hashlib.sha256(large).digest()
    assert (await bucket.described("files/12/large"))["Metadata"] == {"source": "form"}
    assert (await store.restore(both, vault)).total == Recovery(1, intact=1), "an upload in parts has a tag of its own"


@on(*SUSPENDED)
async def test_in_a_suspended_bucket_the_current_object_comes_back_wherever_it_lay(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    """What versioning kept lies below a null marker; the null version, of before or after it, is destroyed."""
    await bucket.keep_versions("Enabled")
    kept = await bucket.put("files/12/kept", b"kept")
    under = await bucket.put("files/12/both", b"kept")
    await bucket.keep_versions("Suspended")
    await bucket.put("files/12/null", b"null")
    await bucket.put("files/12/both", b"null")
    before = await bucket.there()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    assert await bucket.versions() == {"files/12/kept": [kept], "files/12/both": [under]}
    assert (await store.restore(both, vault)).total == Recovery(3, 3)
    assert await bucket.there() == before
    assert await bucket.body("files/12/both") == b"null"
    assert (await store.restore(both, vault)).total == Recovery(3, intact=3)


@on(VERSIONED[0], PLAIN[1])
async def test_a_rollback_of_half_an_erasure_puts_back_that_half(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    before = await bucket.there()
    store = bucket.store()
    assert (await store.restore(both, vault)).total == Recovery(), "without a back-up there is nothing to do"
    await store.back_up(both, vault)
    await bucket.client.delete_object(Bucket=bucket.name, Key=OURS[0])
    restored = await store.restore(both, vault)
    assert restored.places == bucket.places(Recovery(3, restored=1, intact=2), Recovery(1, intact=1))
    assert await bucket.there() == before


@on(*OTHERWISE)
async def test_a_rollback_puts_back_the_last_version_before_the_delete(
    bucket: Bucket, both: Slice, vault: BatchVault
) -> None:
    await bucket.fill()
    store = bucket.store()
    await store.back_up(both, vault)
    await bucket.put(OURS[0], b"changed between back-up and erasure")
    await store.erase(both, vault)
    await bucket.put(OURS[0], b"changed between erasure and retry")
    await bucket.put("files/12/late.pdf")
    before = await bucket.there()
    await store.erase(both, vault)
    restored = await store.restore(both, vault)
    assert restored.total == Recovery(5, 5)
    assert {key: etag for key, etag in (await bucket.there()).items() if key in before} == before


@on(VERSIONED[1])
async def test_a_rollback_lists_folders_and_forgets_nobody_who_has_left_the_slice_since(
    bucket: Bucket, both: Slice, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await bucket.fill()
    before = await bucket.there()
    store = bucket.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    listed = bucket.requests("ListObjectVersions")
    assert (await store.restore(slice_of(ANN), vault)).total == Recovery(4, 4)
    assert await bucket.there() == before
    assert sorted(request["Prefix"] for request in listed) == ["avatars/12.png", "files/12/", OURS[2]]


@on(*EACH_KIND)
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
    assert await bucket.body(OURS[0]) == b"uploaded since"
