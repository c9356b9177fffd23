"""The vault: encrypted object storage for what must not be in Temporal: CSVs, manifests, pre-images, reports.

Every object is sealed with AES-256-GCM under its batch's key, which is itself sealed under the master key. An object
is bound to its own name (batch, store, slice and part are in it), so that none can stand in for another. A name is
written once: its index is put last and only if there is none yet, so a zombie attempt can never replace a pre-image.

    batches/<batch>/key                       the batch key, wrapped
    batches/<batch>/<name>/<attempt>-<part>   sealed parts
    batches/<batch>/<name>/index              sealed list of the parts: the name exists once this does
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import zstandard
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from activities.contract import BackUp
from activities.errors import CriticalError, translated
from activities.masking import Masker
from activities.object_storage import s3_client, translate_for
from activities.settings import S3Settings, VaultSettings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

PART_SIZE = 4 * 1024 * 1024
"""Plain bytes a part: what a writer or reader holds in memory."""

_RESTORE = "Restore the vault's bucket, then try again."

_MAGIC = b"CEV1"
_NONCE = 12


class VaultMissingError(CriticalError):
    """An object that should be in the vault is not there."""


class VaultTamperedError(CriticalError):
    """An object of the vault is not what was written under its name."""


@dataclass(frozen=True)
class Part:
    """One sealed object of a name: its key's last piece, and the SHA-256, hex, of its sealed bytes."""

    key: str
    digest: str


@dataclass(frozen=True)
class Receipt:
    """What was written under a name.

    Args:
        bytes: Plain size.
        places: Records by place.
        parts: The sealed objects, in order.
    """

    bytes: int = 0
    places: dict[str, int] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """SHA-256, hex, over the digests of the parts."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()

    @property
    def back_up(self) -> BackUp:
        """The receipt as counts that may travel through Temporal."""
        return BackUp(places=self.places, bytes=self.bytes, digest=self.digest)


class Recording:
    """Writes records, or bytes, under one name; made by `BatchVault.recording`."""

    def __init__(self, vault: BatchVault, name: str) -> None:
        self._vault = vault
        self._name = name
        self._attempt = secrets.token_hex(8)
        self._buffer = bytearray()
        self._bytes = 0
        self._places: dict[str, int] = {}
        self._parts: list[Part] = []
        self.receipt: Receipt | None = None
        """What the name holds, once the recording is closed."""

    async def add(self, place: str, record: Mapping[str, Any], count: int = 1) -> None:
        """Adds one record.

        Args:
            place: Where the record stands, as the report names it.
            record: JSON values.
            count: How many of the store's records it stands for.
        """
        line = json.dumps({"p": place, "r": record}, ensure_ascii=False, separators=(",", ":"))
        self._places[place] = self._places.get(place, 0) + count
        await self.write(line.encode("utf-8", "surrogatepass") + b"\n")

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._bytes += len(data)
        self._buffer += data
        while len(self._buffer) >= PART_SIZE:
            await self._put_part(bytes(self._buffer[:PART_SIZE]))
            del self._buffer[:PART_SIZE]

    async def _put_part(self, plain: bytes) -> None:
        key = f"{self._attempt}-{len(self._parts):06}"
        digest = await self._vault.put_sealed(f"{self._name}/{key}", plain)
        self._parts.append(Part(key, digest))

    async def close(self) -> None:
        """Puts what is left, then the index that makes the name exist."""
        if self._buffer:
            await self._put_part(bytes(self._buffer))
            self._buffer.clear()
        self.receipt = await self._vault.put_index(
            self._name, Receipt(self._bytes, dict(sorted(self._places.items())), self._parts)
        )


class BatchVault:
    """One batch's part of the vault.

    Args:
        s3: The client.
        bucket: The vault's bucket.
        batch_id: The batch.
        key: The batch key, 32 bytes.
        folder: What the batch's objects lie below.
    """

    def __init__(self, s3: S3Client, bucket: str, batch_id: str, key: bytes, folder: str = "batches") -> None:
        self._s3 = s3
        self._bucket = bucket
        self._root = f"{folder}/{batch_id}/"
        self.batch_id = batch_id
        self._aead = AESGCM(_derive(key, b"vault objects"))
        self.masker = Masker(_derive(key, b"mask tokens"))

    @asynccontextmanager
    async def recording(self, name: str) -> AsyncIterator[Recording]:
        """Opens a name for writing; it comes into being when the block ends without an error.

        Args:
            name: Path below the batch, such as ``pre-image/postgres/000003``; no personal data.

        Yields:
            The recording; afterwards its ``receipt`` is what the name holds (the first writer's, if two raced).
        """
        recording = Recording(self, name)
        yield recording
        await recording.close()

    async def records(self, name: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yields a name's records as pairs of place and record.

        Raises:
            VaultMissingError: No such name, or a part of it is gone.
            VaultTamperedError: An object is not what was written.
        """
        rest = b""
        async for chunk in self.chunks(name):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                entry = json.loads(line.decode("utf-8", "surrogatepass"))
                yield entry["p"], entry["r"]

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        """Yields the bytes under a name, a part at a time.

        Raises:
            VaultMissingError: No such name, or a part of it is gone.
            VaultTamperedError: An object is not what was written.
        """
        receipt = await self.receipt(name)
        if receipt is None:
            raise VaultMissingError(
                "vault",
                f"{name} of batch {self.batch_id} is not there",
                _RESTORE,
            )
        for part in receipt.parts:
            yield await self.get_sealed(f"{name}/{part.key}", part.digest)

    async def receipt(self, name: str) -> Receipt | None:
        """What was written under a name, or None where nothing was."""
        try:
            plain = await self.get_sealed(f"{name}/index")
        except VaultMissingError:
            return None
        return _index(plain)

    async def verify(self, name: str, digest: str) -> None:
        """Reads everything under a name and below it, and compares it with what was written.

        Args:
            name: The name.
            digest: What the caller was told when it was written.

        Raises:
            VaultMissingError: Something is gone.
            VaultTamperedError: Something is not what was written.
        """
        receipt = await self.receipt(name)
        if receipt is None:
            raise VaultMissingError("vault", f"{name} of batch {self.batch_id} is not there", _RESTORE)
        if not hmac.compare_digest(receipt.digest, digest):
            raise _tampered(self._key(f"{name}/index"))
        for part in receipt.parts:
            await self.get_sealed(f"{name}/{part.key}", part.digest)
        for below in await self.names(f"{name}/"):
            async for _ in self.chunks(below):
                pass  # to read it is to verify it

    async def names(self, prefix: str) -> list[str]:
        """The names that exist below a prefix, sorted."""
        root = self._root
        found: list[str] = []
        with translated("vault", translate):
            async for page in self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{root}{prefix}"
            ):
                found += [
                    entry["Key"].removeprefix(root).removesuffix("/index")
                    for entry in page.get("Contents", [])
                    if entry["Key"].endswith("/index")
                ]
        return sorted(found)

    async def put_sealed(self, path: str, plain: bytes) -> str:
        """Seals and puts one object.

        Args:
            path: Path below the batch.
            plain: What to seal; at most a few MiB.

        Returns:
            SHA-256, hex, of the sealed bytes.
        """
        key = self._key(path)
        sealed = await asyncio.to_thread(_seal, self._aead, key, plain)
        await _put(self._s3, self._bucket, key, sealed)
        return hashlib.sha256(sealed).hexdigest()

    async def get_sealed(self, path: str, digest: str | None = None) -> bytes:
        """Gets and opens one object.

        Args:
            path: Path below the batch.
            digest: What its sealed bytes must hash to, where that is known.
        """
        key = self._key(path)
        sealed = await _get(self._s3, self._bucket, key)
        if digest is not None and not hmac.compare_digest(hashlib.sha256(sealed).hexdigest(), digest):
            raise _tampered(key)
        return await asyncio.to_thread(_unseal, self._aead, key, sealed)

    async def put_index(self, name: str, receipt: Receipt) -> Receipt:
        """Makes a name exist.

        Returns:
            The receipt, or that of the writer who was first.
        """
        key = self._key(f"{name}/index")
        sealed = _seal(self._aead, key, json.dumps(asdict(receipt)).encode())
        if await _put(self._s3, self._bucket, key, sealed, once=True):
            return receipt
        return _index(await self.get_sealed(f"{name}/index"))

    def _key(self, path: str) -> str:
        return f"{self._root}{path}"


class Vault:
    """The bucket and the master key.

    Args:
        s3: The client.
        bucket: The bucket.
        master_key: 32 bytes; wraps the batch keys.
    """

    def __init__(self, s3: S3Client, bucket: str, master_key: bytes) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._wrap = AESGCM(_derive(master_key, b"batch keys"))
        self._naming = _derive(master_key, b"batch names")
        self._archive = _derive(master_key, b"archive")

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: VaultSettings, platform: S3Settings) -> AsyncIterator[Vault]:
        """Opens the vault's client; makes no request.

        Args:
            settings: The vault's.
            platform: The platform's S3, used where the vault has no connection of its own.
        """
        async with s3_client(settings.storage(platform)) as s3:
            yield cls(s3, settings.bucket, settings.master_key)

    def name_batch(self, digest: bytes) -> str:
        """The batch id of a CSV's content: the same file is the same batch.

        Keyed, since the plain digest of a short list of ids could be found by trying ids.

        Args:
            digest: Of the CSV's content.
        """
        return "erase-" + hmac.digest(self._naming, digest, hashlib.sha256).hex()[:16]

    async def create(self, batch_id: str) -> BatchVault:
        """Opens a batch, making its key if it has none; two callers at once get the same key."""
        path = f"batches/{batch_id}/key"
        key = secrets.token_bytes(32)
        nonce = secrets.token_bytes(_NONCE)
        wrapped = nonce + self._wrap.encrypt(nonce, key, path.encode())
        record = json.dumps({"v": 1, "key": base64.b64encode(wrapped).decode()}).encode()
        if not await _put(self._s3, self._bucket, path, record, once=True):
            return await self.open(batch_id)
        return BatchVault(self._s3, self._bucket, batch_id, key)

    async def open(self, batch_id: str) -> BatchVault:
        """Opens a batch.

        Raises:
            VaultMissingError: There is no such batch, or its key was destroyed.
            VaultTamperedError: Its key cannot be opened with this master key.
        """
        path = f"batches/{batch_id}/key"
        wrapped = base64.b64decode(json.loads(await _get(self._s3, self._bucket, path))["key"])
        try:
            key = self._wrap.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], path.encode())
        except InvalidTag:
            raise VaultTamperedError(
                "vault",
                f"the key of batch {batch_id} cannot be opened with this ERASURE_VAULT__KEY",
                "Set the key that the batch was submitted with.",
            ) from None
        return BatchVault(self._s3, self._bucket, batch_id, key)

    def archive(self, batch_id: str) -> BatchVault:
        """What outlives the batch key: the reports, sealed under a key of the master key."""
        key = hmac.digest(self._archive, batch_id.encode(), hashlib.sha256)
        return BatchVault(self._s3, self._bucket, batch_id, key, "archive")

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
        try:
            await self.open(batch_id)
        except VaultMissingError:
            if not await self._versions(root):
                return deleted
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

    async def probe(self) -> None:
        """Proves that the bucket can be written, read and cleared.

        Raises:
            ErasureError: It cannot.
        """
        key = f"probe/{secrets.token_hex(8)}"
        await _put(self._s3, self._bucket, key, b"probe")
        await _get(self._s3, self._bucket, key)
        with translated("vault", translate):
            await self._s3.delete_object(Bucket=self._bucket, Key=key)


translate = translate_for("vault", "ERASURE_VAULT__BUCKET, ERASURE_VAULT__ENDPOINT_URL or ERASURE_S3__ENDPOINT_URL")


def _index(plain: bytes) -> Receipt:
    index = json.loads(plain)
    return Receipt(index["bytes"], index["places"], [Part(**part) for part in index["parts"]])


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"contributor-erasure " + purpose).derive(key)


def _seal(aead: AESGCM, key: str, plain: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return _MAGIC + nonce + aead.encrypt(nonce, zstandard.compress(plain, 3), key.encode())


def _unseal(aead: AESGCM, key: str, sealed: bytes) -> bytes:
    if not sealed.startswith(_MAGIC):
        raise _tampered(key)
    body = sealed[len(_MAGIC) :]
    try:
        return zstandard.decompress(aead.decrypt(body[:_NONCE], body[_NONCE:], key.encode()))
    except InvalidTag:
        raise _tampered(key) from None


def _tampered(key: str) -> VaultTamperedError:
    return VaultTamperedError(
        "vault",
        f"{key} is not what was written",
        "Check that ERASURE_VAULT__KEY is the key of then, else restore the object from the bucket's own versions.",
    )


async def _put(s3: S3Client, bucket: str, key: str, body: bytes, *, once: bool = False) -> bool:
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


async def _get(s3: S3Client, bucket: str, key: str) -> bytes:
    with translated("vault", translate):
        try:
            answer = await s3.get_object(Bucket=bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            raise VaultMissingError("vault", f"{key} is not there", "Restore the vault's bucket.") from None
        async with answer["Body"] as body:
            return await body.read()
