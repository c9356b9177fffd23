"""Unfinished uploads: parts that nobody can read, and that whoever began them may still join to an object.

They cannot be brought back, so the erasure only writes down which there are; the purge aborts these and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.contract import Finding, Slice
from activities.stores.s3 import answers, listing, pre_images
from activities.stores.s3.answers import Reasons, code_of, passes
from activities.stores.s3.data_map import ObjectTemplate
from activities.stores.s3.paging import Pages, side_by_side
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

ABORTS = 16
"""Uploads that are aborted at the same time."""

PLACE = " (unfinished uploads)"
"""What the place of an upload ends with, in counts."""


async def record(
    client: S3Client, templates: Sequence[ObjectTemplate], part: Slice, vault: BatchVault
) -> list[Finding]:
    """Writes down the unfinished uploads of a slice's people.

    A bucket has few: they are listed all, since not every server lists them by prefix.

    Args:
        client: The client.
        templates: Where to look.
        part: Whose.
        vault: The batch.

    Returns:
        Buckets whose uploads cannot be listed.
    """
    findings: list[Finding] = []
    name = pre_images.new_name(part, "uploads")
    async with vault.recording(name) as recording:
        for search in await listing.searches(templates, part):
            try:
                async for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=search.bucket):
                    for upload in page.get("Uploads", []):
                        if (place := search.place(upload["Key"])) is not None:
                            named = {"bucket": search.bucket, "key": upload["Key"], "upload": upload["UploadId"]}
                            await recording.add(place, named)
            except ClientError as error:
                if passes(error):
                    raise
                what = f"unfinished uploads cannot be listed ({code_of(error)})"
                findings.append(Finding(f"s3://{search.bucket}", what, "Grant s3:ListBucketMultipartUploads."))
    return findings


async def abort(client: S3Client, part: Slice, vault: BatchVault) -> tuple[Counter[str], list[Finding]]:
    """Aborts the uploads that were written down; one that was finished or aborted since is none any more.

    Args:
        client: The client.
        part: The slice.
        vault: The batch.

    Returns:
        How many were aborted, by place; and which could not be.
    """
    aborted: Counter[str] = Counter()
    refused: Reasons = {}

    async def one(pair: tuple[str, dict[str, Any]]) -> Pages[str]:
        place, upload = pair
        named = {"Bucket": upload["bucket"], "Key": upload["key"], "UploadId": upload["upload"]}
        try:
            await client.list_parts(**named)  # not every server says so of an abort, where there is none any more
            await client.abort_multipart_upload(**named)
        except ClientError as error:
            if passes(error):
                raise
            if code_of(error) != "NoSuchUpload":
                refused.setdefault(place, Counter())[code_of(error)] += 1
        else:
            yield [f"{place}{PLACE}"]

    for name in await vault.names(f"{pre_images.name_of(part)}/uploads/"):
        known = [entry async for entry in vault.records(name)]
        async for places in side_by_side(known, one, ABORTS):
            aborted.update(places)
    remedy = "Grant s3:AbortMultipartUpload, or abort them by hand."
    return aborted, answers.findings(refused, "unfinished uploads were not aborted", remedy)
