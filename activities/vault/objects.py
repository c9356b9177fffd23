"""The vault's objects in its bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.errors import translated
from activities.object_storage import translate_for
from activities.vault.sealing import VaultMissingError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

translate = translate_for("vault", "ERASURE_VAULT__BUCKET, ERASURE_VAULT__ENDPOINT_URL or ERASURE_S3__ENDPOINT_URL")


async def put(s3: S3Client, bucket: str, key: str, body: bytes, *, once: bool = False) -> bool:
    """Puts an object; with ``once`` answers False where the object exists already."""
    with translated("vault", translate):
        try:
            if once:
                await s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            else:
                await s3.put_object(Bucket=bucket, Key=key, Body=body)
        except ClientError as error:
            if once and error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                return False
            raise
    return True


async def get(s3: S3Client, bucket: str, key: str) -> bytes:
    """Gets an object.

    Raises:
        VaultMissingError: It is not there.
    """
    with translated("vault", translate):
        try:
            answer = await s3.get_object(Bucket=bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            raise VaultMissingError("vault", f"{key} is not there", "Restore the vault's bucket.") from None
        async with answer["Body"] as body:
            return await body.read()
