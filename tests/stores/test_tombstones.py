"""Tombstones in the real PostgreSQL, each test with a database of its own: kept, removed, and asked by importers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from activities.contract import Contributor
from activities.errors import CriticalError
from activities.identities import BLANKS, IdentityKind
from activities.stores.postgres import PostgresSettings, connect
from activities.tombstones import Found, TombstoneKey, Tombstones
from activities.tombstones.keeping import of
from tests.bench import HasEnv, database
from tests.stores.graves import ASK, Graves

if TYPE_CHECKING:
    pass

ID, EMAIL, WORKER = IdentityKind
FIRST, SECOND = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, 3, 4, 5, 678901, tzinfo=UTC)
ANN = Contributor("12", ("Ann@x.io",), ("w-12",))


async def test_nobody_has_a_tombstone_where_there_was_no_batch(graves: Graves) -> None:
    assert await graves.found(ANN) == {}
    assert await graves.tombstones.remove("a") == 0
    assert not await graves.tombstones.has_other_keys()


async def test_each_batch_keeps_its_own_the_latest_counts_and_a_rollback_removes_one_batchs(graves: Graves) -> None:
    assert await graves.keep("a", FIRST, ANN) == 3
    assert await graves.keep("b", SECOND, Contributor("12", ("ann@X.io",))) == 2
    assert await graves.found(ANN) == {ID: ("b", SECOND), EMAIL: ("b", SECOND), WORKER: ("a", FIRST)}
    assert await graves.tombstones.remove("b") == 2
    assert await graves.found(ANN) == dict.fromkeys(IdentityKind, ("a", FIRST))
    person = graves.tombstones.key.person("12")
    mark = graves.tombstones.key.mark(WORKER, "w-12")
    assert await graves.tombstones.among([mark]) == {mark: Found(person, "a", FIRST, "keep")}


async def test_a_batch_that_is_kept_again_has_what_was_said_last(graves: Graves) -> None:
    await graves.keep("a", FIRST, ANN, Contributor("13"))
    assert await graves.keep("a", SECOND, ANN) == 3
    assert await graves.found(Contributor("13")) == {}, "they came under a hold in between"
    assert await graves.found(ANN) == dict.fromkeys(IdentityKind, ("a", SECOND))


async def test_no_identity_is_in_the_database(graves: Graves) -> None:
    await graves.keep("a", FIRST, ANN)
    rows = [tuple(row) for row in await graves.pool.fetch("SELECT * FROM erasure.tombstones")]
    assert len(rows) == 3
    for value in ("12", "Ann@x.io", "ann@x.io", "w-12"):
        assert all(value not in part for row in rows for part in row if isinstance(part, str))
        stored = [part for row in rows for part in row if isinstance(part, bytes)]
        assert value.encode() not in stored
        assert len(value) < 4 or all(value.encode() not in part for part in stored)  # two bytes meet by chance


async def test_several_may_make_the_schema_at_once(graves: Graves) -> None:
    await asyncio.gather(*(graves.tombstones.prepare() for _ in range(6)))
    await graves.keep("a", FIRST, ANN)
    assert await graves.ask("worker_id", "w-12")


async def test_importers_can_ask_and_are_told_what_is_wrong(graves: Graves) -> None:
    await graves.keep("a", FIRST, ANN)
    for kind, value, answer in (
        ("contributor_id", "12", True),
        ("contributor_id", "123", False),
        ("contributor_id", " 12", False),
        ("worker_id", "12", False),
        ("worker_id", "w-12", True),
        ("worker_id", "W-12", False),
        ("email", "\t ANN@X.IO\n", True),
        ("email", "ann@x.io.uk", False),
        ("email", None, False),
    ):
        assert await graves.ask(kind, value) is answer, (kind, value)
    with pytest.raises(asyncpg.RaiseError, match="this is not the key"):
        await graves.ask("email", "ann@x.io", TombstoneKey(bytes(32)).pads)
    with pytest.raises(asyncpg.RaiseError, match="this is not the key"):
        await graves.pool.fetchval(ASK, None, "email", "ann@x.io")
    with pytest.raises(asyncpg.RaiseError, match="one of 'contributor_id', 'email', 'worker_id'"):
        await graves.ask("mail", "ann@x.io")


async def test_tombstones_of_another_key_are_known_to_be_there(graves: Graves) -> None:
    await graves.keep("a", FIRST, ANN)
    other = Tombstones(graves.pool, TombstoneKey(bytes(32)))
    await other.prepare()
    assert await other.has_other_keys()
    assert await other.among({row.mark for row in of(other.key, ANN)}) == {}
    assert await graves.ask("email", "ann@x.io"), "each key answers for its own"
    assert not await graves.ask("email", "ann@x.io", other.key.pads)


async def test_an_importers_role_may_ask_and_read_nothing_and_a_workers_needs_a_right_that_is_named(
    graves: Graves,
) -> None:
    role = f"importer_{secrets.token_hex(4)}"
    await graves.pool.execute(
        f"CREATE ROLE {role} LOGIN; REVOKE CREATE, TEMPORARY ON DATABASE {_name(graves)} FROM PUBLIC"
    )
    dsn = graves.dsn.replace("//postgres@", f"//{role}@")
    try:
        async with connect(PostgresSettings(dsn=SecretStr(dsn))) as pool:
            with pytest.raises(CriticalError, match=r"a right is missing\. Grant CREATE on the database"):
                await Tombstones(pool, graves.tombstones.key).prepare()
            await graves.keep("a", FIRST, ANN)
            await graves.pool.execute(f"GRANT USAGE ON SCHEMA erasure TO {role}")
            key = graves.tombstones.key.pads
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.fetchval(ASK, key, "email", "ann@x.io")
            await graves.pool.execute(f"GRANT EXECUTE ON FUNCTION erasure.is_suppressed(bytea, text, text) TO {role}")
            assert await pool.fetchval(ASK, key, "email", "ann@x.io")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.fetch("SELECT * FROM erasure.tombstones")
            await graves.pool.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA erasure TO {role}")
            await Tombstones(pool, graves.tombstones.key).prepare()
    finally:
        await graves.pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def _name(graves: Graves) -> str:
    return graves.dsn.rpartition("/")[2]


@contextmanager
def _server(stack: HasEnv) -> Iterator[tuple[asyncio.Runner, asyncpg.Connection, TombstoneKey]]:
    """A connection to a database of its own, for a test that runs no loop by itself."""
    key = TombstoneKey(secrets.token_bytes(32))
    with asyncio.Runner() as runner:
        own = database(stack.env, f"test_{secrets.token_hex(4)}")
        dsn = runner.run(own.__aenter__())
        try:
            connection = runner.run(asyncpg.connect(dsn))
            runner.run(_prepare(dsn, key))
            yield runner, connection, key
            runner.run(connection.close())
        finally:
            runner.run(own.__aexit__(None, None, None))


async def _prepare(dsn: str, key: TombstoneKey) -> None:
    async with connect(PostgresSettings(dsn=SecretStr(dsn))) as pool:
        await Tombstones(pool, key).prepare()


def test_postgres_computes_the_marks_that_we_do(stack: HasEnv) -> None:
    storable = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"))
    blanks = st.text(st.sampled_from(BLANKS), max_size=2)
    spelled = st.tuples(blanks, storable, blanks).map("".join)
    insert = "INSERT INTO erasure.tombstones VALUES ($1, 'a', $2, $1, now(), 'keep')"
    with _server(stack) as (runner, connection, key):

        @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.sampled_from(list(IdentityKind)), spelled, st.booleans())
        def agrees(kind: IdentityKind, value: str, upper: bool) -> None:
            async def ask() -> None:
                await connection.execute("TRUNCATE erasure.tombstones")
                assert not await connection.fetchval(ASK, key.pads, kind.value, value)
                await connection.execute(insert, key.mark(kind, value), kind.value)
                assert await connection.fetchval(ASK, key.pads, kind.value, value)
                other = value.upper() if upper else f" {value}"
                same = key.mark(kind, other) == key.mark(kind, value)
                assert await connection.fetchval(ASK, key.pads, kind.value, other) is same

            runner.run(ask())

        agrees()
