"""Marks: what a tombstone keeps instead of an identity, and the key without which nobody can compute one.

A mark is HMAC-SHA256 over kind and value, cut to 16 bytes. The kind is part of it, so that an id which is also
somebody's worker id is not taken for theirs. 128 bits are enough: among a million tombstones, a billion look-ups meet
one that is not theirs with a chance of 1 in 10^23, and the table and its index are half as large.

The key is one of the deployment, derived from the vault's own secret: it outlives each batch key, and is never where
the marks are. Whoever has both can try identities; whoever has the marks alone can do nothing with them.
"""

from __future__ import annotations

import hashlib
import hmac

from activities.identities import IdentityKind, forms, normal

SIZE = 16
"""Bytes of a mark."""

STAND_IN = "erased-"
"""Begins what stands for a contributor's id where only other identities of theirs have come back."""

_BLOCK = 64


class TombstoneKey:
    """The key of a deployment's tombstones.

    Args:
        secret: 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mark(self, kind: IdentityKind, value: str) -> bytes:
        """The mark of an identity, as the SQL function computes it too.

        Args:
            kind: Its kind.
            value: It, in any spelling.
        """
        return self._of(kind, normal(value, kind))

    def marks(self, kind: IdentityKind, value: str) -> set[bytes]:
        """The marks of every form in which an engine may compare an identity; nearly always one.

        Args:
            kind: Its kind.
            value: It, in any spelling.
        """
        return {self._of(kind, form) for form in forms(value, kind)}

    def person(self, contributor_id: str) -> bytes:
        """What is common to all marks of a contributor: the mark of their id.

        Args:
            contributor_id: The id, or what stands for it.
        """
        if contributor_id.startswith(STAND_IN):
            try:
                person = bytes.fromhex(contributor_id.removeprefix(STAND_IN))
            except ValueError:
                person = b""
            if len(person) == SIZE:
                return person
        return self.mark(IdentityKind.CONTRIBUTOR_ID, contributor_id)

    @property
    def name(self) -> bytes:
        """Tells keys apart; says nothing of the key."""
        return self._hash(b"key")

    @property
    def pads(self) -> bytes:
        """The key as the SQL function takes it: both blocks of HMAC (RFC 2104), 128 bytes; as secret as the key."""
        block = self._secret.ljust(_BLOCK, b"\0")
        return bytes(byte ^ 0x36 for byte in block) + bytes(byte ^ 0x5C for byte in block)

    def _of(self, kind: IdentityKind, form: str) -> bytes:
        return self._hash(kind.encode() + b"\0" + form.encode("utf-8", "surrogatepass"))

    def _hash(self, message: bytes) -> bytes:
        return hmac.digest(self._secret, message, hashlib.sha256)[:SIZE]


def stand_in(person: bytes) -> str:
    """What stands for a contributor's id, where that has not come back itself.

    Args:
        person: The mark of the id.
    """
    return f"{STAND_IN}{person.hex()}"
