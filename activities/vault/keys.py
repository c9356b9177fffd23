"""Who wraps the batch keys: a master key that this process holds, or a key that never leaves AWS KMS."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.object_storage import aws_client
from activities.reachability import unreachable
from activities.settings import VaultSettings
from activities.vault.sealing import decrypt, derive, encrypt


class WrongKeyError(CriticalError):
    """What was wrapped cannot be unwrapped with this key."""

    def __init__(self) -> None:
        super().__init__("vault", "a wrapped key cannot be opened with this key", "Set the key that wrapped it.")


class KeyService(Protocol):
    """Wraps keys. A wrapped key is bound to a name, so that none can stand in for another."""

    @property
    def secret(self) -> bytes | None:
        """32 bytes from which the vault's other keys are derived; None where the service does not give its key out."""

    @property
    def name(self) -> str:
        """Tells keys apart, fit for an object's name; says nothing of the key."""

    async def wrap(self, key: bytes, name: str) -> bytes:
        """Encrypts a key.

        Args:
            key: 32 bytes.
            name: What it is bound to.

        Raises:
            ErasureError: The service refuses, or cannot be reached.
        """

    async def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """The key that was wrapped.

        Raises:
            WrongKeyError: It was wrapped by another key, or under another name, or was altered.
            ErasureError: The service refuses, or cannot be reached.
        """


class MasterKey:
    """A master key in this process's memory, from the environment or a file.

    Args:
        secret: 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret: bytes | None = secret
        self._aead = AESGCM(derive(secret, b"batch keys"))
        self.name = derive(secret, b"name of the key").hex()[:16]

    async def wrap(self, key: bytes, name: str) -> bytes:
        """Encrypts with AES-256-GCM."""
        return encrypt(self._aead, key, name)

    async def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """Decrypts."""
        try:
            return decrypt(self._aead, wrapped, name)
        except InvalidTag:
            raise WrongKeyError from None


class AwsKms:
    """A symmetric key of AWS KMS, or of what speaks its protocol. The name travels as the encryption context.

    Args:
        client: The client.
        key_id: The key's id, ARN or alias.
    """

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id
        self.secret: bytes | None = None
        self.name = hashlib.sha256(key_id.encode()).hexdigest()[:16]

    async def wrap(self, key: bytes, name: str) -> bytes:
        """Has KMS encrypt."""
        with translated("vault", _translate):
            answer = await self._client.encrypt(KeyId=self._key_id, Plaintext=key, EncryptionContext={"name": name})
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    async def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """Has KMS decrypt."""
        with translated("vault", _translate):
            try:
                answer = await self._client.decrypt(
                    KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext={"name": name}
                )
            except ClientError as error:
                if _code(error) in ("InvalidCiphertextException", "IncorrectKeyException"):
                    raise WrongKeyError from None
                raise
        key: bytes = answer["Plaintext"]
        return key


@asynccontextmanager
async def connect(settings: VaultSettings) -> AsyncIterator[KeyService]:
    """Opens the service that the settings name; makes no request.

    Args:
        settings: The vault's.
    """
    if settings.kms_key_id is None:
        yield MasterKey(settings.master_key)
        return
    async with aws_client("kms", settings.kms) as client:
        yield AwsKms(client, settings.kms_key_id)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "?"))


def _translate(error: Exception) -> ErasureError | None:
    if isinstance(error, ClientError):
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or code in ("ThrottlingException", "LimitExceededException"):
            return TransientError("vault", f"KMS answered {status} {code}", "Wait; it is tried again.")
        remedy = "Check ERASURE_VAULT__KMS_KEY_ID, its state, and the rights kms:Encrypt and kms:Decrypt on it."
        return CriticalError("vault", f"KMS refuses ({code})", remedy)
    if isinstance(error, BotoCoreError | OSError | TimeoutError):
        where = "ERASURE_VAULT__KMS_ENDPOINT_URL or ERASURE_VAULT__KMS_REGION"
        return unreachable("vault", error, where, what="cannot reach KMS")
    return None
