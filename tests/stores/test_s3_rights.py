"""What the check says of a user of S3 who lacks rights: each is tried on the real server, and nothing comes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aioboto3 import Session
from aiobotocore.config import AioConfig
from botocore import UNSIGNED

from activities.stores.s3.data_map import S3Map
from activities.stores.s3.rights import Right, needed
from activities.stores.s3.store import S3Store
from tests.stores.s3_bucket import Bucket, on

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

OF_BUCKET = (
    *("ListBucket", "ListBucketVersions", "GetBucketVersioning", "GetBucketObjectLockConfiguration"),
    *("GetLifecycleConfiguration", "ListBucketMultipartUploads"),
)

ALL = set(Right)


def store(bucket: Bucket, client: S3Client, then: str = "mask") -> S3Store:
    table: dict[str, Any] = {
        "objects": [f"s3://{bucket.name}/files/*/{{contributor_id}}/", f"s3://{bucket.name}/{{contributor_id}}.png"],
        "content": [{"objects": f"s3://{bucket.name}/notes/*.txt", "holds": "email", "then": then}],
    }
    return S3Store(client, S3Map.model_validate(table), bucket.heartbeat)


@asynccontextmanager
async def anybody(bucket: Bucket) -> AsyncIterator[S3Client]:
    """A client without keys, who may do what the bucket's policy allows to everybody."""
    config = AioConfig(signature_version=UNSIGNED, s3={"addressing_style": "path"})
    endpoint = bucket.client.meta.endpoint_url
    async with Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config) as client:
        yield client


async def allow(bucket: Bucket, rights: set[Right], where: str = "*") -> None:
    here = f"arn:aws:s3:::{bucket.name}"
    of_bucket = {"Effect": "Allow", "Principal": "*", "Action": [f"s3:{each}" for each in OF_BUCKET], "Resource": here}
    of_objects = {"Effect": "Allow", "Principal": "*", "Action": sorted(rights), "Resource": f"{here}/{where}"}
    policy = {"Version": "2012-10-17", "Statement": [of_bucket, *([of_objects] if rights else [])]}
    await bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))


@on(("minio", "Enabled"), ("minio", "Suspended"), ("minio", "plain"))
async def test_each_right_that_is_missing_is_named_by_place_and_nothing_is_left_behind(bucket: Bucket) -> None:
    versioned = {"Enabled": {Right.DELETE_VERSION}, "Suspended": {Right.DELETE_VERSION}, "plain": set()}[bucket.state]
    wanted = {Right.READ, Right.WRITE, Right.DELETE, *versioned}
    files, image, notes = (
        f"s3://{bucket.name}/{form}" for form in ("files/*/{contributor_id}/", "{contributor_id}.png", "notes/*.txt")
    )
    of_files = wanted if bucket.state != "Enabled" else {Right.DELETE, Right.DELETE_VERSION}
    of_notes = {Right.READ, Right.WRITE, *versioned}
    async with anybody(bucket) as client:
        await allow(bucket, wanted)
        assert (await store(bucket, client).probe()).problems == []
        for lacking in wanted - {Right.DELETE_VERSION}:
            await allow(bucket, wanted - {lacking})
            problems = (await store(bucket, client).probe()).problems
            places = {files: of_files, image: of_files, notes: of_notes}
            # where a version is deleted, MinIO asks for the right to delete, and for no other
            told = Right.DELETE_VERSION if versioned and lacking is Right.DELETE else lacking
            assert {problem.place for problem in problems} == {
                place for place, rights in places.items() if told in rights
            }, lacking
            assert all(lacking in problem.remedy for problem in problems)
            assert len({problem.what for problem in problems}) == 1
        await allow(bucket, wanted, "files/*")
        assert {problem.place for problem in (await store(bucket, client).probe()).problems} == {image, notes}
    left = await bucket.client.list_object_versions(Bucket=bucket.name)
    assert (left.get("Versions", []), left.get("DeleteMarkers", [])) == ([], [])


async def test_trials_leave_nothing_behind_on_any_server(bucket: Bucket) -> None:
    for then in ("mask", "delete"):
        assert (await store(bucket, bucket.client, then).probe()).problems == []
    left = await bucket.client.list_object_versions(Bucket=bucket.name)
    assert (left.get("Versions", []), left.get("DeleteMarkers", [])) == ([], [])


@pytest.mark.parametrize("state", ["Enabled", "Suspended", None])
def test_what_a_phase_needs_follows_from_what_it_does(state: Any) -> None:
    data_map = S3Map.model_validate(
        {
            "objects": ["s3://bucket/{contributor_id}/"],
            "content": [{"objects": "s3://bucket/notes/", "holds": "email", "then": "delete"}],
        }
    )
    of_files, of_notes = needed(data_map.templates[0], state), needed(data_map.content[0], state)
    assert (Right.DELETE_VERSION in of_files) == (state is not None)
    assert of_notes - of_files == ({Right.READ} if state == "Enabled" else set())
