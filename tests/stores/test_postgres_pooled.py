"""PostgreSQL behind a pooler that lends a session for one transaction only."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from activities.contract import Contributor
from activities.datamap import IdentityTable
from activities.identities import IdentityKind
from activities.identity_table import holders, look_up
from activities.stores.postgres import PostgresSettings, connect
from activities.suspicion import Suspicion
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.postgres_schema import ANN, BOB, Database, SliceOf
from tests.stores.transaction_pooler import pooler


async def test_nothing_is_left_in_a_session_nor_expected_there(
    filled: Database, stack: HasEnv, slice_of: SliceOf, vault: BatchVault
) -> None:
    """Several slices at once share two sessions, and each transaction gets another one than the one before."""
    before = await filled.everything()
    parts = [slice_of(ANN), slice_of(BOB), slice_of(Contributor("123", ("joann@x.io",)))]
    for number, part in enumerate(parts):
        object.__setattr__(part, "name", f"{number:06}")
    async with pooler(stack.env["ERASURE_POSTGRES__DSN"], sessions=2) as between:
        async with connect(PostgresSettings(dsn=SecretStr(between.url), pool_size=4)) as pool:
            store = filled.store(pool)
            assert (await store.probe()).problems == []
            assert await store.survey(Suspicion(look=[f"postgres {filled.schema}.*"])) == []
            table = IdentityTable(table=filled.place("contributors"), id="id", emails=("email",))
            assert await look_up(pool, table, ["12"]) == {"12": Contributor("12", ("Ann@x.io",))}
            wanted = {(IdentityKind.EMAIL, "ann@x.io"): ["ann@x.io"]}
            assert [name async for name, _ in holders(pool, table, wanted)] == ["12"]
            backed_up = await asyncio.gather(*(store.back_up(part, vault) for part in parts))
            assert sum(each.records for each in backed_up) == 14
            erased = await asyncio.gather(*(store.erase(part, vault) for part in parts))
            assert sum(each.total.changed for each in erased) == 14
            assert [(await store.preview(part)).records for part in parts] == [0, 0, 0]
            restored = await asyncio.gather(*(store.restore(part, vault) for part in reversed(parts)))
            assert sum(each.total.restored for each in restored) == 14
        assert between.lent > 15
        assert between.prepared == []
    assert await filled.everything() == before
