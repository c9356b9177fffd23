"""A database of a test's own with a register of contributors, and fetches out of it into the real vault."""

from __future__ import annotations

import base64
import copy
import secrets
import tomllib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from activities.contract import Contributor
from activities.datamap import DataMap
from activities.fetching import export, exported, order
from activities.fetching.messages import Criteria, Fetch, Fetched
from activities.messages import Batch
from activities.settings import VaultSettings
from activities.stores import postgres
from activities.stores.postgres import PostgresSettings
from activities.vault import Vault
from starter.csv_file import CsvFile, Row
from tests.bench import HasEnv, database
from tests.processes import ROOT
from tests.stores.conftest import s3_settings

if TYPE_CHECKING:
    from asyncpg import Pool, Record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

PEOPLE = """
    CREATE TABLE people (id text PRIMARY KEY, email text, worker_id text, status text, seen timestamptz,
                         joined timestamptz, projects int)
"""

DEFAULT = tomllib.loads((ROOT / "erasure.toml").read_text())


@dataclass(frozen=True)
class Found:
    """What a fetch found.

    Args:
        fetched: In counts.
        text: The CSV.
        rows: The CSV as `erase` reads it; none where it holds nobody.
        digest: As the fetch has it.
        erases: As `erase` has it.
    """

    fetched: Fetched
    text: str
    rows: list[Row]
    digest: str
    erases: str

    @property
    def ids(self) -> list[str]:
        """Whom it found, in order."""
        return [row.contributor_id for row in self.rows]


@dataclass(frozen=True)
class Register:
    """A database, and the vault.

    Args:
        pool: The database, a test's own.
        vault: The vault.
        folder: For files of the test.
    """

    pool: Pool[Record]
    vault: Vault
    folder: Path

    async def sql(self, statement: str) -> None:
        """Runs statements."""
        await self.pool.execute(statement)

    def data_map(self, id_pattern: str = r"\S{1,256}", identity: dict[str, Any] | None = None, **fetch: Any) -> DataMap:
        """The default data map over the table `people`, with some keys of ``[fetch]`` changed; None leaves one out."""
        source = copy.deepcopy(DEFAULT)
        source["identity"] = {"table": "public.people", "id": "id", "emails": ["email"], "worker_ids": ["worker_id"]}
        source["identity"] |= {"id_pattern": id_pattern, **(identity or {})}
        keys = {"status": "status", "last_activity": "seen", "projects": "projects", **fetch}
        source["fetch"] = {key: value for key, value in keys.items() if value is not None}
        return DataMap.parse(source, "the test's data map")

    async def fetch(
        self,
        data_map: DataMap | None = None,
        excluded: Iterable[str] = (),
        as_of: datetime = NOW,
        days: int = 10,
        limit: int = 1_000,
        **criteria: Any,
    ) -> Found:
        """Fetches, as the activity does, and reads the file, as ``erase`` does."""
        data_map = data_map or self.data_map()
        run_id = f"fetch-{secrets.token_hex(6)}"
        vault = await self.vault.create(run_id)
        await order.write(vault, data_map, excluded)
        task = Fetch(run_id, Batch(run_id, ""), Criteria(days, limit, **criteria), as_of, as_of)
        await export.check(self.pool, data_map, task)
        left_out = order.left_out(self.vault, vault)
        fetched = await export.export(vault, self.pool, data_map, left_out, task, lambda *_: None)
        found = await exported.read(vault)
        content = b"".join([chunk async for chunk in vault.chunks(found.csv)])
        people = [person async for person in exported.people(vault)]
        path = self.folder / "ids.csv"
        path.write_bytes(content)
        csv = CsvFile(path, data_map.identity.id_pattern)
        digest, rows = "", []
        if fetched.contributors:
            summary = csv.inspect()
            assert (summary.contributors, summary.duplicates) == (fetched.contributors, 0)
            assert summary.columns == ["contributor_id", "email", "worker_id"]
            digest, rows = summary.digest.hex(), list(csv.rows())
        assert people == [Contributor(row.contributor_id, row.emails, row.worker_ids) for row in rows]
        return Found(fetched, content.decode(), rows, found.digest, digest)


@asynccontextmanager
async def register(stack: HasEnv, folder: Path) -> AsyncIterator[Register]:
    """A database of its own, without any table.

    Args:
        stack: The servers.
        folder: For files of the test.
    """
    key = SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
    settings = VaultSettings(bucket=stack.env["ERASURE_VAULT__BUCKET"], key=key)
    async with (
        database(stack.env, f"test_{secrets.token_hex(6)}") as dsn,
        postgres.connect(PostgresSettings(dsn=SecretStr(dsn))) as pool,
        Vault.connect(settings, s3_settings(stack)) as vault,
    ):
        yield Register(pool, vault, folder)
