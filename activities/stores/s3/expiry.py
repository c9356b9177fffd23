"""Expiry: a bucket's own lifecycle may take away the versions that a rollback would bring back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Finding
from activities.stores.s3.answers import code_of, passes

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def of_versions(client: S3Client, bucket: str) -> Finding | None:
    """What a bucket does to versions that a delete hides; None where they stay.

    Args:
        client: The client.
        bucket: A bucket that keeps versions.
    """
    place = f"s3://{bucket}"
    try:
        rules = (await client.get_bucket_lifecycle_configuration(Bucket=bucket)).get("Rules", [])
    except ClientError as error:
        if passes(error):
            raise
        if code_of(error) not in ("AccessDenied", "403"):
            return None  # so answers a bucket without one, and a server that knows of none
        what = "whether old versions expire by themselves is not known (AccessDenied)"
        return Finding(place, what, "Grant s3:GetLifecycleConfiguration, or look yourself.")
    days = [
        rule["NoncurrentVersionExpiration"].get("NoncurrentDays", 0)
        for rule in rules
        if rule["Status"] == "Enabled" and "NoncurrentVersionExpiration" in rule
    ]
    if not days:
        return None
    what = f"a lifecycle rule deletes old versions after {min(days):,} days: then nothing is left to roll back to"
    return Finding(place, what, "Keep them for longer than `retention`.")
