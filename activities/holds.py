"""Legal holds: contributors who must not be erased now. Kept in PostgreSQL, in a schema of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from activities.errors import translated
from activities.stores.postgres import translate

if TYPE_CHECKING:
    from asyncpg import Pool, Record

PLACE = "legal holds (postgres schema erasure)"

SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS erasure;
    CREATE TABLE IF NOT EXISTS erasure.holds (
        contributor_id text PRIMARY KEY,
        operator text NOT NULL,
        reason text NOT NULL,
        placed_at timestamptz NOT NULL DEFAULT now()
    );
"""

ADD = """
    INSERT INTO erasure.holds (contributor_id, operator, reason) SELECT id, $2, $3 FROM unnest($1::text[]) AS id
    ON CONFLICT (contributor_id) DO NOTHING RETURNING contributor_id
"""

REMOVE = "DELETE FROM erasure.holds WHERE contributor_id = ANY ($1::text[]) RETURNING contributor_id"

LIST = "SELECT contributor_id, operator, reason, placed_at FROM erasure.holds ORDER BY placed_at, contributor_id"

AMONG = "SELECT contributor_id FROM erasure.holds WHERE contributor_id = ANY ($1::text[])"


@dataclass(frozen=True)
class Hold:
    """One legal hold."""

    contributor_id: str
    operator: str
    reason: str
    placed_at: datetime


class Holds:
    """The legal holds.

    Args:
        pool: PostgreSQL.
    """

    def __init__(self, pool: Pool[Record]) -> None:
        self._pool = pool

    async def make(self) -> None:
        """Makes the schema where there is none."""
        with translated(PLACE, translate):
            await self._pool.execute(SCHEMA)

    async def probe(self) -> bool:
        """Tries each right on the schema, in a transaction that is rolled back.

        Returns:
            Whether the schema is there.

        Raises:
            ErasureError: It is there, and may not be used.
        """
        with translated(PLACE, translate):
            async with self._pool.acquire() as connection:
                trial = connection.transaction()
                await trial.start()
                try:
                    await connection.execute(ADD, ["erasure-check"], "setup", "rolled back")
                    await connection.execute(REMOVE, ["erasure-check"])
                except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                    return False
                finally:
                    await trial.rollback()
        return True

    async def add(self, contributor_ids: Sequence[str], operator: str, reason: str) -> int:
        """Places holds; makes the schema where there is none.

        Returns:
            How many are new.
        """
        await self.make()
        with translated(PLACE, translate):
            return len(await self._pool.fetch(ADD, list(contributor_ids), operator, reason))

    async def remove(self, contributor_ids: Sequence[str]) -> int:
        """Lifts holds.

        Returns:
            How many there were.
        """
        with translated(PLACE, translate):
            try:
                return len(await self._pool.fetch(REMOVE, list(contributor_ids)))
            except asyncpg.UndefinedTableError:
                return 0

    async def all(self) -> list[Hold]:
        """Every hold, the oldest first."""
        with translated(PLACE, translate):
            try:
                return [Hold(*row) for row in await self._pool.fetch(LIST)]
            except asyncpg.UndefinedTableError:
                return []

    async def among(self, contributor_ids: Sequence[str]) -> set[str]:
        """Those of some contributors who are under a hold.

        Raises:
            ErasureError: It cannot be known: then nobody may be erased.
        """
        with translated(PLACE, translate):
            try:
                return {row[0] for row in await self._pool.fetch(AMONG, list(contributor_ids))}
            except asyncpg.UndefinedTableError:
                return set()
