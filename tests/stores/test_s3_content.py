"""S3's text objects that are searched for identities, on two real servers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import pytest

from activities.contract import Contributor, Recovery, Slice, Tally
from activities.vault import BatchVault
from tests.stores.s3_bucket import ANN, EACH_KIND, OTHERWISE, PLAIN, VERSIONED, Bucket, on

ADA = Contributor("ada", ("a+b@x.io",))

WITH = {
    "notes/a.txt": b"Call ANN@X.IO, or ann@x.io.\n",
    "notes/b/c.txt": "Ä: ‹a+b@x.io› ".encode(),
    "notes/utf16.txt": "\ufeffann@x.io".encode("utf-16-be"),
}
WITHOUT = {
    "notes/d.txt": b"notann@x.io ann@x.io.uk b@x.io",
    "notes/e.csv": b"ann@x.io",
    "notes/empty.txt": b"",
    "elsewhere/a.txt": b"ann@x.io",
}
NOT_LOOKED_AT = {
    "notes/f.txt": b"\xff\xd8\xff ann@x.io",
    "notes/g.txt": b"ann@x.io\0",
    "notes/h.txt": b"ann@x.io" + b" " * 2_000,
}


@pytest.fixture
def people(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, ADA)


async def _fill(bucket: Bucket) -> dict[str, str]:
    await asyncio.gather(
        *(
            bucket.put(key, body, ContentType="text/plain", Metadata={"by": "form"}, Tagging="kind=note")
            for key, body in (WITH | WITHOUT | NOT_LOOKED_AT).items()
        )
    )
    return await bucket.there()


RULES = (
    {"objects": "notes/*.txt", "holds": "email", "max_bytes": 1_000},
    {"objects": "notes/*/*.txt", "holds": ["email", "contributor_id"], "max_bytes": 1_000},
)


@on(*EACH_KIND)
async def test_texts_with_an_identity_go_or_are_masked_and_come_back(
    bucket: Bucket, people: Slice, vault: BatchVault
) -> None:
    before = await _fill(bucket)
    described = {key: await bucket.described(key) for key in WITH}
    store = bucket.store(content=({**RULES[0], "then": "mask"}, {**RULES[1], "then": "delete"}))
    first, second = (f"s3://{bucket.name}/{rule['objects']} (content)" for rule in RULES)
    assert (await store.preview(people)).places == {first: 2, second: 1}
    await store.back_up(people, vault)

    erased = await store.erase(people, vault)

    assert erased.places == {first: Tally(2, 2), second: Tally(1, 1)}
    assert [(warning.place, warning.what) for warning in erased.warnings] == [
        (first, "3 objects were not looked at (2 x not text, 1 x too large)")
    ]
    after = await bucket.there()
    assert after.keys() == before.keys() - {"notes/b/c.txt"}
    assert {key for key, etag in after.items() if before[key] != etag} == {"notes/a.txt", "notes/utf16.txt"}
    token = vault.masker.token
    masked = f"Call {token('ANN@X.IO')}, or {token('ann@x.io')}.\n".encode()
    assert await bucket.body("notes/a.txt") == masked
    assert await bucket.body("notes/utf16.txt") == f"\ufeff{token('ann@x.io')}".encode("utf-16-be")
    changing = {"ETag", "ContentLength"}
    for key in ("notes/a.txt", "notes/utf16.txt"):
        now = await bucket.described(key)
        assert {name: now[name] for name in now if name not in changing} == {
            name: described[key][name] for name in described[key] if name not in changing
        }
    assert (await store.erase(people, vault)).total == Tally(already_clean=3)
    assert await bucket.there() == after

    assert (await store.restore(people, vault)).total == Recovery(3, 3)
    assert await bucket.there() == before
    assert {key: await bucket.described(key) for key in WITH} == described
    assert (await store.restore(people, vault)).total == Recovery(3, intact=3)


@on(*OTHERWISE)
async def test_what_was_written_since_on_a_masked_text_is_kept(
    bucket: Bucket, people: Slice, vault: BatchVault
) -> None:
    await _fill(bucket)
    store = bucket.store(content=({**RULES[0], "then": "mask"},))
    await store.back_up(people, vault)
    await bucket.put("notes/late.txt", b"late: ann@x.io")
    assert (await store.erase(people, vault)).total == Tally(3, 3)
    await bucket.put("notes/a.txt", b"written since")
    assert (await store.restore(people, vault)).total == Recovery(3, restored=2, conflicted=1)
    assert await bucket.body("notes/a.txt") == b"written since"
    assert await bucket.body("notes/late.txt") == b"late: ann@x.io"


@on(*VERSIONED)
async def test_a_purge_deletes_the_versions_below_a_mask_and_below_a_marker(
    bucket: Bucket, people: Slice, vault: BatchVault
) -> None:
    await bucket.put("notes/a.txt", b"an older version: ann@x.io")
    await _fill(bucket)
    await bucket.put("notes/d.txt", b"a second version")
    before = await bucket.versions()
    store = bucket.store(content=({**RULES[0], "then": "mask"}, {**RULES[1], "then": "delete"}))
    await store.back_up(people, vault)
    await store.erase(people, vault)
    (masked, *_) = (await bucket.versions())["notes/a.txt"]
    await bucket.put("notes/a.txt", b"written on the masked text")
    purged = await store.purge(people, vault)
    left = await bucket.versions()
    assert {key: ids for key, ids in left.items() if key not in WITH} == {
        key: ids for key, ids in before.items() if key not in WITH
    }
    assert {key: len(ids) for key, ids in left.items() if key in WITH} == {"notes/a.txt": 2, "notes/utf16.txt": 1}
    assert left["notes/a.txt"][1] == masked
    assert sum(purged.places.values()) == 2 + 1 + 2, "two versions of a, one of utf16, c with its marker"


@on(PLAIN[0])
async def test_a_text_that_is_written_meanwhile_is_taken_up_by_the_next_try(
    bucket: Bucket, people: Slice, vault: BatchVault
) -> None:
    await bucket.put("notes/a.txt", b"ann@x.io")
    store = bucket.store(content=({**RULES[0], "then": "mask"},))
    await store.back_up(people, vault)
    written = secrets.token_hex(4).encode() + b" ann@x.io"

    async def write(params: dict[str, str]) -> None:
        if "IfMatch" in params and await bucket.body("notes/a.txt") != written:
            await bucket.put("notes/a.txt", written)

    bucket.before("PutObject", write)
    with pytest.raises(Exception, match=r"1 of 1 \(1 x PreconditionFailed\). Wait; it is tried again."):
        await store.erase(people, vault)
    assert await bucket.body("notes/a.txt") == written
    assert (await store.erase(people, vault)).total == Tally(1, 1)
    assert b"ann@x.io" not in await bucket.body("notes/a.txt")
    await store.restore(people, vault)
    assert await bucket.body("notes/a.txt") == written
