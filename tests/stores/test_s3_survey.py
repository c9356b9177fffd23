"""S3's drift gate: prefixes that look as if they held somebody's files, on two real servers."""

from __future__ import annotations

import asyncio

import pytest

from activities.contract import Heartbeat, Suspect
from activities.identities import IdentityKind
from activities.object_storage import s3_client
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.store import S3Store
from activities.suspicion import Suspicion
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings
from tests.stores.s3_bucket import PLAIN, Bucket, on, own_bucket

IDS = [f"c-{number:04}" for number in range(8)]
SHAPE = {IdentityKind.CONTRIBUTOR_ID: r"c-\d{4}"}


def suspicion(*buckets: Bucket, ignore: tuple[str, ...] = ()) -> Suspicion:
    return Suspicion(SHAPE, tuple(f"s3 s3://{bucket.name}/*" for bucket in buckets), ignore)


async def _put(bucket: Bucket, *keys: str) -> None:
    await asyncio.gather(*(bucket.put(key, b"x") for key in keys))


@on(*PLAIN)
async def test_prefixes_named_after_people_are_suspected_unless_the_data_map_names_them(bucket: Bucket) -> None:
    await _put(
        bucket,
        *(f"files/{name}/cv.pdf" for name in IDS),
        *(f"avatars/{name}.png" for name in IDS),
        *(f"avatars/{name}.jpg" for name in IDS),
        *(f"exports/2024-{month:02}/{name}_data.csv" for month in range(1, 4) for name in IDS[:4]),
        *(f"mail/p{number}@x.io/1.eml" for number in range(3)),
        *(f"contributors/{name}/x" for name in ("ada", "bob")),
        *(f"projects/p{number}/guide.md" for number in range(3)),
        "readme.txt",
    )
    at = f"s3://{bucket.name}/"
    store = bucket.store("files/{contributor_id}/", "avatars/{contributor_id}.png")

    suspects = await store.survey(suspicion(bucket))

    assert {suspect.place: suspect.entry for suspect in suspects} == {
        f"{at}avatars/": {"objects": [f"{at}avatars/{{contributor_id}}.jpg"]},
        f"{at}exports/*/": {"objects": [f"{at}exports/*/{{contributor_id}}_*.csv"]},
        f"{at}mail/": {"objects": [f"{at}mail/{{email}}/"]},
        f"{at}contributors/": {"objects": [f"{at}contributors/{{contributor_id}}/"]},
    }
    assert not any(name in repr(suspects) for name in (*IDS, "x.io", "ada"))
    named = bucket.store("files/{contributor_id}/", *(str(each.entry["objects"][0])[len(at) :] for each in suspects))
    assert [each.place for each in await named.survey(suspicion(bucket))] == [f"{at}avatars/"], "the .png"
    ignoring = suspicion(bucket, ignore=(f"s3 {at}mail/", f"s3 {at}exports/[*]/", f"s3 {at}contributors/"))
    assert [each.place for each in await store.survey(ignoring)] == [f"{at}avatars/"]


async def test_other_buckets_are_looked_at_but_never_the_vault(
    versitygw: HasEnv, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        s3_client(s3_settings(versitygw)) as client,
        own_bucket(client, "versitygw", "plain", heartbeat) as other,
        own_bucket(client, "versitygw", "plain", heartbeat) as vault,
    ):
        for bucket in (other, vault):
            await _put(bucket, *(f"{name}/x" for name in IDS))
        monkeypatch.setenv("ERASURE_VAULT__BUCKET", vault.name)
        monkeypatch.setenv("ERASURE_VAULT__KEY", "A" * 43 + "=")
        store = S3Store(client, S3Map(objects=[]), heartbeat)
        at = f"s3://{other.name}/"
        assert await store.survey(suspicion(other, vault)) == [
            Suspect(at, "its folders look like contributor_id", {"objects": [f"{at}{{contributor_id}}/"]})
        ]


@on(PLAIN[0])
async def test_a_survey_takes_a_bounded_number_of_requests(bucket: Bucket) -> None:
    await _put(bucket, *(f"a{folder % 3}/b{folder}/c{folder}/x" for folder in range(100)))
    listed = bucket.requests("ListObjectsV2")
    assert await bucket.store().survey(suspicion(bucket)) == []
    assert len(listed) <= 1 + 3 + 20
