"""Tombstones in a database of a test's own: the product keeps them in one schema, whoever else works on the server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from activities.contract import Contributor
from activities.identities import IdentityKind
from activities.messages import Reregistered
from activities.stores.postgres import PostgresSettings, connect
from activities.tombstones import Tombstone, TombstoneKey, Tombstones
from activities.tombstones.keeping import of
from tests.bench import HasEnv, database

if TYPE_CHECKING:
    from asyncpg import Pool, Record

ASK = "SELECT erasure.is_suppressed($1, $2, $3)"


@dataclass(frozen=True)
class Graves:
    """A database of its own, and the tombstones in it."""

    dsn: str
    pool: Pool[Record]
    tombstones: Tombstones

    async def keep(self, batch: str, at: datetime, *people: Contributor, reregistered: Reregistered = "keep") -> int:
        async def pages() -> AsyncIterator[Sequence[Tombstone]]:
            for person in people:
                yield of(self.tombstones.key, person)

        return await self.tombstones.keep(batch, at, reregistered, pages())

    async def found(self, *people: Contributor) -> dict[IdentityKind, tuple[str, datetime]]:
        rows = {row.mark: row.kind for person in people for row in of(self.tombstones.key, person)}
        among = await self.tombstones.among(rows)
        return {rows[mark]: (found.batch_id, found.erased_at) for mark, found in among.items()}

    async def ask(self, kind: str, value: str | None, key: bytes | None = None) -> Any:
        return await self.pool.fetchval(ASK, key or self.tombstones.key.pads, kind, value)


@asynccontextmanager
async def dug(stack: HasEnv) -> AsyncIterator[Graves]:
    """Makes a database, with a key of its own and no tombstone yet, and drops it."""
    async with (
        database(stack.env, f"test_{secrets.token_hex(4)}") as dsn,
        connect(PostgresSettings(dsn=SecretStr(dsn))) as pool,
    ):
        yield Graves(dsn, pool, Tombstones(pool, TombstoneKey(secrets.token_bytes(32))))
