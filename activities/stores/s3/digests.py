"""Digests of what is recorded: 18 bytes of memory each, where a set of Python's takes a hundred."""

from __future__ import annotations

import hashlib

SIZE = 16
"""Bytes a digest."""

_SHELVES = 4096


def digest_of(*parts: str) -> bytes:
    """A digest of several strings."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


class Digests:
    """A set of digests, in one string of bytes for each of their first twelve bits."""

    def __init__(self) -> None:
        self._shelves = [bytearray() for _ in range(_SHELVES)]

    def add(self, digest: bytes) -> None:
        """Adds one; twice is no harm, and has to be taken out twice."""
        self._shelf(digest).extend(digest)

    def __contains__(self, digest: bytes) -> bool:
        return self._at(digest) >= 0

    def __bool__(self) -> bool:
        return any(self._shelves)

    def discard(self, digest: bytes) -> None:
        """Takes one out, if it is in."""
        if (at := self._at(digest)) >= 0:
            del self._shelf(digest)[at : at + SIZE]

    def _shelf(self, digest: bytes) -> bytearray:
        return self._shelves[int.from_bytes(digest[:2], "big") % _SHELVES]

    def _at(self, digest: bytes) -> int:
        """Where it stands: what is found across the border of two is none."""
        shelf = self._shelf(digest)
        at = shelf.find(digest)
        while at % SIZE and at >= 0:
            at = shelf.find(digest, at + 1)
        return at
