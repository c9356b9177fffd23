"""Reads PostgreSQL, whoever wrote to it: every relation that holds rows, in every schema, in one statement each.

What a statement cannot see is beyond it: rows that are deleted and not vacuumed yet, and the write-ahead log.
The tool's own schema is read as any other: who is on hold is not looked for, and a tombstone is no identity.

catalogue  what there is to read, and what is not
reading    one relation, row by row
canary     the identity that a scan plants itself
scanner    the verbs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.stores.postgres.connection import PostgresSettings
from activities.stores.postgres.data_map import PostgresMap
from activities.verification.contract import ScannerKind
from activities.verification.scanners.postgres.scanner import PostgresScanner

if TYPE_CHECKING:
    from asyncpg import Pool, Record


def _open(pool: Pool[Record], _: PostgresSettings) -> PostgresScanner:
    return PostgresScanner(pool)


def _mapped(data_map: PostgresMap) -> Sequence[str]:
    """The tables that the data map names."""
    return list(dict.fromkeys(entry.table for entry in (*data_map.mask, *data_map.delete)))


KIND: ScannerKind[Pool[Record], PostgresMap, PostgresSettings] = ScannerKind(
    name="postgres", open=_open, mapped=_mapped
)
