"""The census of S3: one listing of all versions."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from devstack.platform.tally import MASK, Batch, Count, Tally

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

FOLDERS = ("contributors/", "avatars/", "projects/")

CURRENT, ALL_VERSIONS = "", " (all versions)"


async def count(client: S3Client, bucket: str, batch: Batch) -> list[Count]:
    """Counts the objects of each folder, and the versions that a delete marker only hides.

    Args:
        client: Connected to the platform's S3.
        bucket: The bucket.
        batch: Whom to look for.
    """
    tallies: dict[str, Tally] = defaultdict(Tally)
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []):
            key = version["Key"]
            ours = batch.has(_owner(key))
            # Version ids are drawn by the server; tags and metadata would cost a request an object.
            whole = f"{key}\0{version['ETag']}\0{version['Size']}\0{version['IsLatest']}".encode()
            for versions in (CURRENT, ALL_VERSIONS) if version["IsLatest"] else (ALL_VERSIONS,):
                place = key.partition("/")[0] + "/" + versions
                tallies[place].add(batch=ours, deleted=MASK in key, others=None if ours else whole)
    places = [*(folder + versions for versions in (CURRENT, ALL_VERSIONS) for folder in FOLDERS)]
    places += sorted(tallies.keys() - set(places))
    return [tallies[place].count("s3", place) for place in places]


def _owner(key: str) -> str:
    """The contributor id in a key, or what stands in its place."""
    folder, _, rest = key.partition("/")
    return rest.removesuffix(".png") if folder == "avatars" else rest.partition("/")[0]
