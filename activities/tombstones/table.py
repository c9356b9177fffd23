"""The tombstones in PostgreSQL: kept with a batch, removed with it, and looked up by the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from activities.errors import CriticalError, ErasureError, translated
from activities.messages import Reregistered
from activities.stores.postgres import translate
from activities.stores.postgres.connection import copy
from activities.tombstones import schema
from activities.tombstones.marks import TombstoneKey

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.identities import IdentityKind
    from activities.vault import Vault

PLACE = "tombstones (postgres schema erasure)"

STAGING = """
    CREATE TEMPORARY TABLE erasure_tombstone (hmac bytea, kind text, person bytea) ON COMMIT DROP
"""

KEEP = """
    INSERT INTO erasure.tombstones (hmac, batch_id, kind, person, erased_at, reregistered)
    SELECT DISTINCT ON (hmac) hmac, $1, kind, person, $2::timestamptz, $3 FROM pg_temp.erasure_tombstone
    ON CONFLICT (hmac, batch_id) DO UPDATE
    SET person = EXCLUDED.person, erased_at = EXCLUDED.erased_at, reregistered = EXCLUDED.reregistered
"""

REMOVE_EARLIER = "DELETE FROM erasure.tombstones WHERE batch_id = $1 AND erased_at <> $2"

REMOVE = "WITH gone AS (DELETE FROM erasure.tombstones WHERE batch_id = $1 RETURNING 1) SELECT count(*) FROM gone"

AMONG = """
    SELECT DISTINCT ON (hmac) hmac, person, batch_id, erased_at, reregistered
    FROM erasure.tombstones WHERE hmac = ANY ($1::bytea[]) ORDER BY hmac, erased_at DESC, batch_id
"""

KEYS = "SELECT count(*) FROM erasure.tombstone_keys WHERE name <> $1"


@dataclass(frozen=True)
class Tombstone:
    """One identity of somebody who was erased.

    Args:
        mark: The identity's.
        kind: Its kind.
        person: The mark of the contributor's id.
    """

    mark: bytes
    kind: IdentityKind
    person: bytes


@dataclass(frozen=True)
class Found:
    """What a tombstone says; of several, the latest.

    Args:
        person: The mark of the contributor's id.
        batch_id: The batch that erased them.
        erased_at: When it had ended.
        reregistered: What was to become of them, by the policy of then, if they register anew.
    """

    person: bytes
    batch_id: str
    erased_at: datetime
    reregistered: Reregistered


class Tombstones:
    """A deployment's tombstones.

    Args:
        pool: PostgreSQL.
        key: Makes the marks.
    """

    def __init__(self, pool: Pool[Record], key: TombstoneKey) -> None:
        self._pool = pool
        self.key = key

    @classmethod
    async def open(cls, vault: Vault, pool: Pool[Record]) -> Tombstones:
        """The tombstones under the key that the vault keeps.

        Args:
            vault: The vault.
            pool: PostgreSQL.
        """
        return cls(pool, TombstoneKey(await vault.tombstone_secret()))

    async def prepare(self) -> None:
        """Makes the schema where there is none.

        Raises:
            ErasureError: It cannot be made.
        """
        with translated(PLACE, _translate):
            async with self._pool.acquire() as connection, connection.transaction():
                await schema.make(connection, self.key.name)

    async def keep(
        self,
        batch_id: str,
        erased_at: datetime,
        reregistered: Reregistered,
        pages: AsyncIterator[Sequence[Tombstone]],
    ) -> int:
        """Keeps what a batch erased, and nothing else of that batch, however often it is called.

        Args:
            batch_id: The batch.
            erased_at: When it had ended.
            reregistered: Its policy.
            pages: What is to be kept; one transaction a page.

        Returns:
            How many there are; an identity that two of the batch have counts twice.
        """
        kept = 0
        await self.prepare()
        async for page in pages:
            with translated(PLACE, _translate):
                async with self._pool.acquire() as connection, connection.transaction():
                    await connection.execute(STAGING)
                    rows = [(each.mark, each.kind.value, each.person) for each in page]
                    await copy(connection, "erasure_tombstone", rows)
                    await connection.execute(KEEP, batch_id, erased_at, reregistered)
            kept += len(page)
        with translated(PLACE, _translate):
            await self._pool.execute(REMOVE_EARLIER, batch_id, erased_at)
        return kept

    async def remove(self, batch_id: str) -> int:
        """Removes a batch's tombstones: it was rolled back.

        Returns:
            How many there were.
        """
        with translated(PLACE, _translate):
            try:
                return int(await self._pool.fetchval(REMOVE, batch_id))
            except asyncpg.UndefinedTableError:
                return 0

    async def among(self, marks: Collection[bytes]) -> dict[bytes, Found]:
        """Those of some marks that have a tombstone.

        Raises:
            ErasureError: It cannot be known.
        """
        if not marks:
            return {}
        with translated(PLACE, _translate):
            try:
                rows = await self._pool.fetch(AMONG, list(marks))
            except asyncpg.UndefinedTableError:
                return {}
        return {
            row["hmac"]: Found(row["person"], row["batch_id"], row["erased_at"], row["reregistered"]) for row in rows
        }

    async def has_other_keys(self) -> bool:
        """Whether some tombstones were made under another key: these nobody can look up here."""
        with translated(PLACE, _translate):
            try:
                return bool(await self._pool.fetchval(KEYS, self.key.name))
            except asyncpg.UndefinedTableError:
                return False


def _translate(error: Exception) -> ErasureError | None:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        remedy = "Grant CREATE on the database, or all rights on the schema erasure and its tables where it is made."
        return CriticalError(PLACE, "a right is missing", remedy)
    return translate(error)
