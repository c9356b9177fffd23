"""The keys that sign certificates: Ed25519, kept in the vault, each wrapped by the key service as batch keys are.

    signing/<key service>/<number>      one key; the one with the highest number signs

A key's number, time and public half are bound into its wrapping, so that none of them can be altered unseen. A key that
was replaced is kept: it says whose older certificates are.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from activities.errors import translated
from activities.vault.keys import KeyService, WrongKeyError
from activities.vault.objects import get, put, translate
from activities.vault.sealing import VaultTamperedError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


def key_id(key: Ed25519PublicKey) -> str:
    """Names a public key: the start of its SHA-256, hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


@dataclass(frozen=True)
class SigningKey:
    """One key.

    Args:
        number: Counted from 0; the highest signs.
        created_at: When it was made, in UTC.
        private: The key.
    """

    number: int
    created_at: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        """The public half: 32 bytes in hex."""
        return self.private.public_key().public_bytes_raw().hex()

    @property
    def id(self) -> str:
        """The key's name, as certificates have it."""
        return key_id(self.private.public_key())


class SigningKeys:
    """The keys of one vault.

    Args:
        s3: The client.
        bucket: The vault's bucket.
        service: Wraps them.
    """

    def __init__(self, s3: S3Client, bucket: str, service: KeyService) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._service = service
        self._root = f"signing/{service.name}/"

    async def all(self) -> list[SigningKey]:
        """Every key, the oldest first.

        Raises:
            VaultTamperedError: One is not what was written.
        """
        with translated("vault", translate):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._root)
            names = [entry["Key"] async for page in pages for entry in page.get("Contents", [])]
        return [await self._read(name) for name in sorted(names)]

    async def current(self) -> SigningKey:
        """The key that signs; made if there is none yet."""
        keys = await self.all() or [await self.add(0)]
        return keys[-1]

    async def add(self, number: int) -> SigningKey:
        """Makes a key, unless there is one of this number.

        Args:
            number: The next one.

        Returns:
            The key of this number: the first one's who made it.
        """
        made = SigningKey(number, datetime.now(UTC).isoformat(timespec="seconds"), Ed25519PrivateKey.generate())
        path = f"{self._root}{number:06}"
        wrapped = await self._service.wrap(made.private.private_bytes_raw(), _bound(path, made.created_at, made.public))
        record = {
            "v": 1,
            "created_at": made.created_at,
            "public": made.public,
            "key": base64.b64encode(wrapped).decode(),
        }
        if await put(self._s3, self._bucket, path, json.dumps(record).encode(), once=True):
            return made
        return await self._read(path)

    async def _read(self, path: str) -> SigningKey:
        body = await get(self._s3, self._bucket, path)
        try:
            record = json.loads(body)
            created_at = record["created_at"]
            wrapped = base64.b64decode(record["key"])
            private = await self._service.unwrap(wrapped, _bound(path, created_at, record["public"]))
        except (WrongKeyError, ValueError, KeyError, TypeError):
            remedy = "Restore the object from the bucket's own versions."
            raise VaultTamperedError("vault", f"{path} is not what was written", remedy) from None
        return SigningKey(int(path.removeprefix(self._root)), created_at, Ed25519PrivateKey.from_private_bytes(private))


def _bound(path: str, created_at: str, public: str) -> str:
    return f"{path} {created_at} {public}"
