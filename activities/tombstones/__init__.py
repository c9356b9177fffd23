"""Tombstones: keyed hashes of who was erased, so that those who come back are known, and nobody else can be.

marks    what is kept instead of an identity, and the key that makes it
schema   the tables, and the function that importers ask
table    what is kept, removed and looked up
keeping  who of a batch was erased
"""

from __future__ import annotations

from activities.tombstones.marks import TombstoneKey
from activities.tombstones.table import Found, Tombstone, Tombstones

__all__ = ["Found", "Tombstone", "TombstoneKey", "Tombstones"]
