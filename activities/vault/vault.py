"""The vault as a whole: the bucket, and the service that wraps the batch keys."""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.errors import CriticalError, translated
from activities.object_storage import s3_client
from activities.settings import S3Settings, VaultSettings
from activities.vault import keys
from activities.vault.batch import BatchVault
from activities.vault.keys import KeyService, WrongKeyError
from activities.vault.objects import get, put, translate
from activities.vault.sealing import VaultMissingError, VaultTamperedError, derive
from activities.vault.signing import SigningKeys

if TYPE_CHECKING:
    from datetime import datetime

    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

ARCHIVE = "archive/"
"""What outlives the batch keys."""


class Vault:
    """The bucket and the key service.

    Args:
        s3: The client.
        bucket: The bucket.
        service: Wraps the batch keys.
        quota: Bytes that the bucket may hold; None where nobody has said.
    """

    def __init__(self, s3: S3Client, bucket: str, service: KeyService, quota: int | None = None) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._service = service
        self._quota = quota
        self._secret = service.secret
        self.signing = SigningKeys(s3, bucket, service)
        """The keys that sign certificates."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: VaultSettings, platform: S3Settings) -> AsyncIterator[Vault]:
        """Opens the vault's clients; makes no request.

        Args:
            settings: The vault's.
            platform: The platform's S3, used where the vault has no connection of its own.
        """
        async with s3_client(settings.storage(platform)) as s3, keys.connect(settings) as service:
            yield cls(s3, settings.bucket, service, settings.quota)

    async def name_batch(self, digest: bytes, kind: str = "erase") -> str:
        """The batch id of a CSV's content: the same file is the same batch.

        Keyed, since the plain digest of a short list of ids could be found by trying ids.

        Args:
            digest: Of the CSV's content.
            kind: What it is a batch of; begins the id.
        """
        naming = derive(await self._root(), b"batch names")
        return f"{kind}-" + hmac.digest(naming, digest, hashlib.sha256).hex()[:16]

    async def create(self, batch_id: str) -> BatchVault:
        """Opens a batch, making its key if it has none; two callers at once get the same key."""
        return self._batch(batch_id, await self._made(f"batches/{batch_id}/key"))

    async def open(self, batch_id: str) -> BatchVault:
        """Opens a batch.

        Raises:
            VaultMissingError: There is no such batch, or its key was destroyed.
            VaultTamperedError: Its key cannot be opened by this key service.
        """
        return self._batch(batch_id, await self._read(f"batches/{batch_id}/key"))

    async def archive(self, batch_id: str) -> BatchVault:
        """What outlives the batch key: the reports, sealed under a key of the vault's own."""
        archive = derive(await self._root(), b"archive")
        key = hmac.digest(archive, batch_id.encode(), hashlib.sha256)
        return BatchVault(self._s3, self._bucket, batch_id, key, "archive")

    async def inclusion_key(self, batch_id: str) -> bytes:
        """The key under which a batch's certificate names contributors; it outlives the batch key."""
        inclusion = derive(await self._root(), b"certificates")
        return hmac.digest(inclusion, batch_id.encode(), hashlib.sha256)

    async def tombstone_secret(self) -> bytes:
        """What the marks of erased identities are made with; it outlives every batch."""
        return derive(await self._root(), b"tombstones")

    def _batch(self, batch_id: str, key: bytes) -> BatchVault:
        return BatchVault(self._s3, self._bucket, batch_id, key)

    async def _root(self) -> bytes:
        """The secret behind names and archive: the service's own, or one that it has wrapped once for all."""
        if self._secret is None:
            self._secret = await self._made(f"root/{self._service.name}")
        return self._secret

    async def _made(self, path: str) -> bytes:
        """The wrapped key of this name, made if there is none."""
        key = secrets.token_bytes(32)
        wrapped = await self._service.wrap(key, path)
        record = json.dumps({"v": 1, "key": base64.b64encode(wrapped).decode()}).encode()
        return key if await put(self._s3, self._bucket, path, record, once=True) else await self._read(path)

    async def _read(self, path: str) -> bytes:
        record = json.loads(await get(self._s3, self._bucket, path))
        try:
            return await self._service.unwrap(base64.b64decode(record["key"]), path)
        except WrongKeyError:
            what = f"{path} cannot be opened with this ERASURE_VAULT__KEY (or __KEY_FILE, or __KMS_KEY_ID)"
            raise VaultTamperedError("vault", what, "Set the key that the batch was submitted with.") from None

    async def shred(self, batch_id: str) -> int:
        """Destroys a batch's key, then everything that was sealed under it, in every version.

        Args:
            batch_id: The batch.

        Returns:
            How many objects and versions were deleted.

        Raises:
            CriticalError: Something cannot be deleted, or is still there afterwards.
        """
        root = f"batches/{batch_id}/"
        deleted = await self._delete_versions(f"{root}key") + await self._delete_versions(root)
        await self.prove_shredded(batch_id)
        return deleted

    async def prove_shredded(self, batch_id: str) -> None:
        """Tries to open a batch, and looks for anything that is left of it in any version.

        Raises:
            CriticalError: It is still there.
        """
        try:
            await self.open(batch_id)
        except VaultMissingError:
            if not await self._versions(f"batches/{batch_id}/"):
                return
        what = f"the key or some objects of batch {batch_id} are still there"
        raise CriticalError("vault", what, "Look for object locks and replication of the vault's bucket, then retry.")

    async def _delete_versions(self, prefix: str) -> int:
        deleted = 0
        while versions := await self._versions(prefix):
            with translated("vault", translate):
                answer = await self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": versions, "Quiet": True})
            if errors := answer.get("Errors", []):
                codes = ", ".join(sorted({error.get("Code", "?") for error in errors}))
                remedy = "Look for object locks and missing rights (s3:DeleteObjectVersion), then retry."
                raise CriticalError("vault", f"{len(errors):,} versions cannot be deleted ({codes})", remedy)
            deleted += len(versions)
        return deleted

    async def _versions(self, prefix: str) -> list[ObjectIdentifierTypeDef]:
        """The first thousand versions and delete markers below a prefix."""
        with translated("vault", translate):
            page = await self._s3.list_object_versions(Bucket=self._bucket, Prefix=prefix, MaxKeys=1_000)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        return [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in found]

    async def make_bucket(self, region: str) -> bool:
        """Makes the bucket, which keeps versions, so that what somebody overwrites there can be restored.

        Args:
            region: Where it is to be.

        Returns:
            Whether it was not there.
        """
        with translated("vault", translate):
            try:
                await self._s3.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchBucket"):
                    raise
            else:
                return False
            there: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": region}}
            await self._s3.create_bucket(Bucket=self._bucket, **({} if region == "us-east-1" else there))
            await self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        return True

    async def reported(self, limit: int) -> list[str]:
        """The batches that were reported last, the newest first.

        Args:
            limit: How many.
        """
        latest: dict[str, datetime] = {}
        with translated("vault", translate):
            async for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=ARCHIVE):
                for entry in page.get("Contents", []):
                    batch_id, _, name = entry["Key"].removeprefix(ARCHIVE).partition("/")
                    if name.startswith("report/"):
                        latest[batch_id] = max(entry["LastModified"], latest.get(batch_id, entry["LastModified"]))
        return heapq.nlargest(limit, latest, key=lambda batch_id: latest[batch_id])

    async def room(self) -> int | None:
        """How many bytes the vault may still take; None where its quota is not known."""
        if self._quota is None:
            return None
        used = 0
        with translated("vault", translate):
            async for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket):
                used += sum(entry["Size"] for entry in page.get("Versions", []))
        return self._quota - used

    async def probe(self) -> None:
        """Proves that keys can be wrapped and unwrapped, and objects written, read, listed and deleted for ever.

        Nothing is left behind, no version either.

        Raises:
            ErasureError: It cannot.
        """
        room = await self.room()
        if room is not None and room <= 0:
            what = f"its bucket holds {-room:,} bytes more than ERASURE_VAULT__QUOTA allows"
            raise CriticalError("vault", what, "Shred batches that nobody will roll back, or raise the quota.")
        key = f"probe/{secrets.token_hex(8)}"
        await put(self._s3, self._bucket, key, b"probe")
        await get(self._s3, self._bucket, key)
        await self._delete_versions(key)
        await self._service.unwrap(await self._service.wrap(secrets.token_bytes(32), key), key)
