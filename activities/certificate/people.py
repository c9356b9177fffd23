"""Who a certificate is about, without saying it: keyed digests that the holder of an id and a key can look up.

A certificate alone allows no trying of ids, however few there are: each digest is an HMAC under a receipt, a key a
contributor, which is itself an HMAC of the id under the batch's key. Both stay with the vault's owner:

- the **batch's key** is for an auditor who may ask about anybody;
- a **receipt** is for one contributor: with it nothing can be found out about anybody else.

Both are computed from the vault's own secret, and so outlive the batch key and its shredding.
"""

from __future__ import annotations

import hashlib
import hmac

SIZE = 16
"""Bytes of a digest: 128 bits."""


def name_of(key: bytes) -> str:
    """Tells the keys of batches apart; says nothing of the key."""
    return hmac.digest(key, b"name", hashlib.sha256)[:8].hex()


def receipt(key: bytes, contributor_id: str) -> bytes:
    """A contributor's own key.

    Args:
        key: The batch's.
        contributor_id: The id as the CSV has it.
    """
    return hmac.digest(key, b"receipt " + _bytes(contributor_id), hashlib.sha256)


def digest(receipt: bytes, contributor_id: str) -> str:
    """What stands in the certificate for a contributor.

    Args:
        receipt: Theirs.
        contributor_id: The id.
    """
    return hmac.digest(receipt, _bytes(contributor_id), hashlib.sha256)[:SIZE].hex()


def csv_digest(key: bytes, content: bytes) -> str:
    """What stands in the certificate for the CSV: the plain digest of a short list could be found by trying.

    Args:
        key: The batch's.
        content: SHA-256 over the CSV's contributors, whatever its dialect.
    """
    return hmac.digest(key, b"csv " + content, hashlib.sha256).hex()


def _bytes(contributor_id: str) -> bytes:
    return contributor_id.encode("utf-8", "surrogatepass")
