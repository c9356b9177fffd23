"""Sealing: AES-256-GCM under a key, bound to the object's own name, so that none can stand in for another."""

from __future__ import annotations

import secrets

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from activities.errors import CriticalError

_MAGIC = b"CEV1"
_NONCE = 12


class VaultMissingError(CriticalError):
    """An object that should be in the vault is not there."""


class VaultTamperedError(CriticalError):
    """An object of the vault is not what was written under its name."""


def derive(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose, 32 bytes, from which the other cannot be found."""
    return HKDF(SHA256(), 32, salt=None, info=b"contributor-erasure " + purpose).derive(key)


def encrypt(aead: AESGCM, plain: bytes, name: str) -> bytes:
    """Encrypts a short text, bound to a name."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + aead.encrypt(nonce, plain, name.encode())


def decrypt(aead: AESGCM, sealed: bytes, name: str) -> bytes:
    """What `encrypt` was given.

    Raises:
        InvalidTag: Another key, another name, or altered.
    """
    return aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())


def seal(aead: AESGCM, key: str, plain: bytes) -> bytes:
    """Compresses and encrypts the body of an object of this key."""
    return _MAGIC + encrypt(aead, zstandard.compress(plain, 3), key)


def unseal(aead: AESGCM, key: str, sealed: bytes) -> bytes:
    """What `seal` was given.

    Raises:
        VaultTamperedError: It is not what was written under this key.
    """
    if not sealed.startswith(_MAGIC):
        raise tampered(key)
    try:
        return zstandard.decompress(decrypt(aead, sealed[len(_MAGIC) :], key))
    except InvalidTag:
        raise tampered(key) from None


def tampered(key: str) -> VaultTamperedError:
    """Says that an object is not what was written."""
    return VaultTamperedError(
        "vault",
        f"{key} is not what was written",
        "Check that ERASURE_VAULT__KEY (or __KEY_FILE, or __KMS_KEY_ID) is the key of then, else restore the object "
        "from the bucket's own versions.",
    )
