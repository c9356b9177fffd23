"""One batch's part of the vault: what is written under a name, and read again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from activities.contract import BackUp
from activities.errors import translated
from activities.masking import Masker
from activities.vault.objects import get, put, translate
from activities.vault.sealing import VaultMissingError, derive, seal, tampered, unseal

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PART_SIZE = 4 * 1024 * 1024
"""Plain bytes a part: what a writer or reader holds in memory."""

_RESTORE = "Restore the vault's bucket, then try again."


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
        self._aead = AESGCM(derive(key, b"vault objects"))
        self.masker = Masker(derive(key, b"mask tokens"))

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
            raise tampered(self._key(f"{name}/index"))
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
        sealed = await asyncio.to_thread(seal, self._aead, key, plain)
        await put(self._s3, self._bucket, key, sealed)
        return hashlib.sha256(sealed).hexdigest()

    async def get_sealed(self, path: str, digest: str | None = None) -> bytes:
        """Gets and opens one object.

        Args:
            path: Path below the batch.
            digest: What its sealed bytes must hash to, where that is known.
        """
        key = self._key(path)
        sealed = await get(self._s3, self._bucket, key)
        if digest is not None and not hmac.compare_digest(hashlib.sha256(sealed).hexdigest(), digest):
            raise tampered(key)
        return await asyncio.to_thread(unseal, self._aead, key, sealed)

    async def put_index(self, name: str, receipt: Receipt) -> Receipt:
        """Makes a name exist.

        Returns:
            The receipt, or that of the writer who was first.
        """
        key = self._key(f"{name}/index")
        sealed = seal(self._aead, key, json.dumps(asdict(receipt)).encode())
        if await put(self._s3, self._bucket, key, sealed, once=True):
            return receipt
        return _index(await self.get_sealed(f"{name}/index"))

    def _key(self, path: str) -> str:
        return f"{self._root}{path}"


def _index(plain: bytes) -> Receipt:
    index = json.loads(plain)
    return Receipt(index["bytes"], index["places"], [Part(**part) for part in index["parts"]])
