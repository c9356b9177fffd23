"""What the scan of PostgreSQL finds that no data map names, on the real server: each test has a schema of its own."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from activities.errors import CriticalError
from activities.messages import Depth
from activities.stores import postgres
from activities.stores.postgres.data_map import PostgresMap
from activities.verification.contract import Scan, Scope
from activities.verification.scanners.postgres import KIND
from activities.verification.scanners.postgres.scanner import PostgresScanner
from tests.bench import HasEnv
from tests.stores.postgres_schema import settings_of
from tests.stores.transaction_pooler import pooler
from tests.verification.residuals import uncertain
from tests.verification.scans import NEIGHBOURS, assert_shows_nobody, found, not_proven, scan

if TYPE_CHECKING:
    from asyncpg import Pool, Record

HIDDEN = """
    CREATE SCHEMA {other};
    CREATE TYPE {schema}.person AS (name text, mail text);
    CREATE TYPE {schema}.handle AS ENUM ('bob@x.io', 'other');
    CREATE DOMAIN {schema}.address AS varchar(80);
    CREATE TABLE {other}.elsewhere (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text, plain text);
    INSERT INTO {other}.elsewhere (note, plain) VALUES ('to <ANN.LEE@X.IO>, twice: ann.lee@x.io', 'x'), ('x', 'y');
    CREATE TABLE {schema}.places (
        n int PRIMARY KEY, unmapped text, nested jsonb, list text[], lists text[][], pair {schema}.person,
        pairs {schema}.person[], handle {schema}.handle, address {schema}.address, addresses {schema}.address[],
        doc text, vector tsvector, span tstzrange, fixed char(20), escaped text, "odd ""name.x" text,
        number bigint, worker_id bigint, raw bytea, packed bytea, raws bytea[], at timestamptz);
    INSERT INTO {schema}.places (n) VALUES (1), (2);
    UPDATE {schema}.places SET
        unmapped = E'tab\\there \\\\ bob@x.io\\nnew line',
        nested = '{{"a": [{{"b": "{{\\"mail\\": \\"bob@x.io\\", \\"who\\": \\"c-1\\"}}"}}], "worker_id": 12}}',
        list = ARRAY['a,b', NULL, 'c-1', '"q"'],
        lists = ARRAY[ARRAY['x', 'y'], ARRAY['w-471100', 'z']],
        pair = ROW('x "y"', 'bob@x.io'),
        pairs = ARRAY[ROW('z', 'ann.lee@x.io')::{schema}.person],
        handle = 'bob@x.io', address = 'bob@x.io', addresses = ARRAY['bob@x.io'],
        doc = '<a mail="bob@x.io"/>', vector = 'bob@x.io & late'::text::tsvector, fixed = 'c-1',
        escaped = 'https://x/?u=bob%40x.io', "odd ""name.x" = 'bob@x.io',
        number = 12, worker_id = 12, raw = 'bob@x.io; w-471100'::bytea, packed = '\\x{packed}'::bytea,
        raws = ARRAY['bob@x.io'::bytea], at = now()
        WHERE n = 1;
    CREATE TABLE {schema}.parts (day date, who text) PARTITION BY RANGE (day);
    CREATE TABLE {schema}.part_1 PARTITION OF {schema}.parts DEFAULT;
    INSERT INTO {schema}.parts VALUES ('2024-01-01', 'c-1');
    CREATE TABLE {schema}.base (who text);
    CREATE TABLE {schema}.child () INHERITS ({schema}.base);
    INSERT INTO {schema}.child VALUES ('bob@x.io');
    CREATE MATERIALIZED VIEW {schema}.copy AS SELECT note FROM {other}.elsewhere;
    CREATE MATERIALIZED VIEW {schema}.unfilled AS SELECT note FROM {other}.elsewhere WITH NO DATA;
    CREATE VIEW {schema}.shown AS SELECT note FROM {other}.elsewhere;
    CREATE TABLE {schema}.neighbours (worker text);
    CREATE TABLE {schema}.masks (email text);
    INSERT INTO {schema}.masks VALUES ('DELETED_USER-abcdefghijklmnopqrstuvwxyz'), ('DELETED_USER'), (NULL);
"""


@dataclass(frozen=True)
class Schema:
    """A schema of a test's own, and another one beside it.

    Args:
        pool: The database.
        name: The schema.
    """

    pool: Pool[Record]
    name: str

    @property
    def other(self) -> str:
        return f"{self.name}_other"

    async def fill(self) -> None:
        """Hides Ann and Bob in every kind of place."""
        packed = gzip.compress(b"to: bob@x.io").hex()
        await self.pool.execute(HIDDEN.format(schema=self.name, other=self.other, packed=packed))
        rows = [(value,) for value in NEIGHBOURS]
        async with self.pool.acquire() as connection:
            await connection.copy_records_to_table("neighbours", schema_name=self.name, records=rows)

    async def scan(self, depth: Depth, *mapped: str, pool: Pool[Record] | None = None) -> Scan:
        """Scans the two schemas, and what a deep scan reads besides."""
        reach = [f"postgres {self.name}*", "postgres pg_*"]
        scope = Scope(depth, [f"{self.name}.{table}" for table in mapped], reach)
        return await scan("postgres", PostgresScanner(pool or self.pool), scope)

    def found(self, result: Scan, schema: str | None = None) -> dict[str, dict[str, int]]:
        """What was found in a schema, without its name."""
        prefix = f"{schema or self.name}."
        return {place.removeprefix(prefix): kinds for place, kinds in found(result).items() if place.startswith(prefix)}


@pytest.fixture
async def schema(stack: HasEnv) -> AsyncIterator[Schema]:
    async with postgres.connect(settings_of(stack)) as pool:
        made = Schema(pool, f"t_{secrets.token_hex(6)}")
        await pool.execute(f"CREATE SCHEMA {made.name}")
        yield made
        await pool.execute(f"DROP SCHEMA {made.name} CASCADE; DROP SCHEMA IF EXISTS {made.other} CASCADE")


MAIL = {"email": 1}

AT_CATALOGUE = {
    "places.unmapped": MAIL,
    "places.nested": {"email": 1, "contributor_id": 1},
    "places.list": {"contributor_id": 1},
    "places.lists": {"worker_id": 1},
    "places.pair": MAIL,
    "places.pairs": MAIL,
    "places.handle": MAIL,
    "places.address": MAIL,
    "places.addresses": MAIL,
    "places.doc": MAIL,
    "places.vector": MAIL,
    "places.fixed": {"contributor_id": 1},
    "places.escaped": MAIL,
    'places."odd ""name.x"': MAIL,
    "part_1.who": {"contributor_id": 1},
    "child.who": MAIL,
    "copy.note": MAIL,
}


async def test_identities_are_found_wherever_they_hide_and_neighbours_are_not(schema: Schema) -> None:
    await schema.fill()
    result = await schema.scan("catalogue", "masks")
    assert schema.found(result) == AT_CATALOGUE
    assert schema.found(result, schema.other) == {"elsewhere.note": MAIL}
    assert f"{schema.name}.neighbours" in result.proven
    assert f"{schema.name}.unfilled" not in result.proven
    assert result.masked == {f"{schema.name}.masks": 2}
    left = not_proven(result)
    assert left[f"{schema.name}.places (bytes)"] == [
        "columns of bytes, which are read at depth deep only: raw, packed, raws"
    ]
    assert left[f"{schema.name}.places (numbers)"] == [
        "columns of numbers, which are read at depth deep only: n, number, worker_id"
    ]
    assert "pg_catalog" in left
    assert_shows_nobody(result)


async def test_a_deep_scan_reads_bytes_numbers_and_large_objects_too(schema: Schema) -> None:
    await schema.fill()
    body = b"\0\1" * 1_048_570 + b" mail bob@x.io " + b"." * 100
    oid = await schema.pool.fetchval("SELECT lo_from_bytea(0, $1)", body)
    try:
        result = await schema.scan("deep")
        places = schema.found(result)
        assert {place: places.pop(place) for place in AT_CATALOGUE} == AT_CATALOGUE
        assert places == {
            "places.raw": {"email": 1, "worker_id": 1},
            "places.packed": MAIL,
            "places.raws": MAIL,
            "places.worker_id": {"contributor_id": 1},
        }
        assert found(result)["pg_largeobject"] == MAIL
        assert f"{schema.name}.places.number" in uncertain(result), "12 may be anything there"
        assert_shows_nobody(result)
    finally:
        await schema.pool.execute("SELECT lo_unlink($1)", oid)


async def test_values_stay_in_the_statistics_until_they_are_renewed(schema: Schema) -> None:
    await schema.pool.execute(
        f"CREATE TABLE {schema.name}.people (email text);"
        f"INSERT INTO {schema.name}.people SELECT 'bob@x.io' FROM generate_series(1, 9); ANALYZE {schema.name}.people;"
        f"DELETE FROM {schema.name}.people"
    )
    result = await schema.scan("deep")
    assert found(result)["pg_catalog.pg_stats.most_common_vals"]["email"] >= 1, "others' tables have statistics too"
    assert f"{schema.name}.people" in result.proven


async def test_at_depth_mapped_only_the_tables_of_the_data_map_are_read(schema: Schema) -> None:
    await schema.fill()
    result = await schema.scan("mapped", "parts", "neighbours")
    assert schema.found(result) == {"part_1.who": {"contributor_id": 1}}
    assert result.proven == [f"{schema.name}.neighbours"]
    (others,) = [what for what in not_proven(result)["postgres"] if "does not name" in what]
    assert f"{schema.other}.elsewhere" in others
    named = {"mask": [{"table": "a.b", "by": "x", "columns": {"x": "token"}}], "delete": [{"table": "a.c", "by": "x"}]}
    assert KIND.mapped(PostgresMap.model_validate(named)) == ["a.b", "a.c"]


async def test_what_may_not_be_read_is_not_proven(schema: Schema, stack: HasEnv) -> None:
    role = f"r_{secrets.token_hex(6)}"
    await schema.pool.execute(
        f"""
        CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema.name} TO {role};
        CREATE SCHEMA IF NOT EXISTS erasure; GRANT USAGE, CREATE ON SCHEMA erasure TO {role};
        CREATE TABLE {schema.name}.closed (who text); INSERT INTO {schema.name}.closed VALUES ('bob@x.io');
        CREATE TABLE {schema.name}.partly (who text, open text);
        CREATE TABLE {schema.name}.filtered (who text); ALTER TABLE {schema.name}.filtered ENABLE ROW LEVEL SECURITY;
        CREATE TABLE {schema.name}.readable (who text);
        GRANT SELECT ON {schema.name}.filtered, {schema.name}.readable TO {role};
        GRANT SELECT (open) ON {schema.name}.partly TO {role};
        """
    )
    dsn = stack.env["ERASURE_POSTGRES__DSN"]
    try:
        async with asyncpg.create_pool(dsn, min_size=0, statement_cache_size=0, server_settings={"role": role}) as pool:
            result = await schema.scan("catalogue", pool=pool)
    finally:
        await schema.pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert result.residuals == []
    assert result.proven == [f"{schema.name}.readable"]
    left = not_proven(result)
    assert left[f"{schema.name}.closed"] == ["columns that this user may not read: who"]
    assert left[f"{schema.name}.partly"] == ["columns that this user may not read: who"]
    assert left[f"{schema.name}.filtered"] == ["row-level security hides rows of it from this user"]


async def test_a_table_that_is_locked_or_fails_is_not_proven_and_the_others_are_read(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "activities.verification.scanners.postgres.reading.LOCK_WAIT", "50ms"
    )  # the wait is shorter, nothing else
    await schema.pool.execute(
        f"""
        CREATE TABLE {schema.name}.locked (who text); CREATE TABLE {schema.name}.free (who text);
        CREATE FUNCTION {schema.name}.fails(int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (1 / $1)::text $$;
        CREATE TABLE {schema.name}.broken (n int, who text GENERATED ALWAYS AS ((1 / n)::text) VIRTUAL);
        INSERT INTO {schema.name}.broken VALUES (0);
            CREATE FOREIGN DATA WRAPPER {schema.name}; CREATE SERVER {schema.name} FOREIGN DATA WRAPPER {schema.name};
            CREATE FOREIGN TABLE {schema.name}.far (who text) SERVER {schema.name};
        """
    )
    try:
        async with schema.pool.acquire() as other, other.transaction():
            await other.execute(f"LOCK TABLE {schema.name}.locked")
            result = await schema.scan("catalogue")
    finally:
        await schema.pool.execute(f"DROP FOREIGN DATA WRAPPER {schema.name} CASCADE")
    assert result.proven == [f"{schema.name}.free"]
    left = not_proven(result)
    assert left[f"{schema.name}.locked"] == ["was locked for longer than 50ms"]
    assert left[f"{schema.name}.far"] == ["could not be read to its end (ObjectNotInPrerequisiteStateError)"]
    assert left[f"{schema.name}.broken"] == ["could not be read to its end (DivisionByZeroError)"]


async def test_what_times_out_is_not_proven_and_the_session_goes_on(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "activities.verification.scanners.postgres.reading.SILENCE", 0.2
    )  # the wait is shorter, nothing else
    slow = {"pg_slow": "SELECT x FROM (SELECT pg_sleep(60)::text AS x) AS slow"}
    monkeypatch.setattr(
        "activities.verification.scanners.postgres.catalogue.SYSTEM", slow
    )  # one more real query, which takes a minute
    await schema.pool.execute(f"CREATE TABLE {schema.name}.quick (who text)")
    result = await schema.scan("deep")
    assert result.proven == [f"{schema.name}.quick"]
    assert not_proven(result)["pg_slow"] == ["timed out, or was cancelled"]
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%pg_sleep(60)%' AND state = 'active'"
    assert await schema.pool.fetchval(asleep) == 0


async def test_long_values_are_read_in_windows_and_what_is_too_long_is_not_proven(schema: Schema) -> None:
    await schema.pool.execute(
        f"""
        CREATE TABLE {schema.name}.long (n int, words text);
        INSERT INTO {schema.name}.long VALUES
            (1, repeat('lorem ipsum ', 43689) || 'bob@x.io ' || repeat('.', 100)),
            (2, repeat('x', 1100000) || ' bob@x.io');
        """
    )
    result = await schema.scan("catalogue")
    assert schema.found(result) == {"long.words": MAIL}
    assert not_proven(result)[f"{schema.name}.long.words"] == [
        "values that were read up to 1,048,576 characters only: 1"
    ]
    result = await schema.scan("deep")
    assert schema.found(result) == {"long.words": {"email": 2}}


async def test_other_databases_are_named(schema: Schema) -> None:
    name = f"d_{secrets.token_hex(6)}"
    await schema.pool.execute(f"CREATE DATABASE {name}")
    try:
        await schema.pool.execute(f"CREATE TABLE {schema.name}.t (who text)")
        result = await schema.scan("catalogue")
    finally:
        await schema.pool.execute(f"DROP DATABASE {name}")
    (others,) = [what for what in not_proven(result)["postgres"] if "other databases" in what]
    assert name in others


async def test_a_scan_runs_behind_a_pooler_that_lends_a_session_for_one_transaction(
    schema: Schema, stack: HasEnv
) -> None:
    await schema.fill()
    async with pooler(stack.env["ERASURE_POSTGRES__DSN"], sessions=2) as between:
        async with asyncpg.create_pool(between.url, min_size=0, max_size=4, statement_cache_size=0) as pool:
            result = await schema.scan("catalogue", pool=pool)
        assert between.prepared == []
    assert schema.found(result) == AT_CATALOGUE


async def test_what_was_planted_goes_also_where_a_scan_was_cut_off(schema: Schema) -> None:
    scanner: Any = PostgresScanner(schema.pool)
    word = f"canary-{secrets.token_hex(8)}"
    async with scanner.planted(word) as place:
        assert await schema.pool.fetchval(f"SELECT count(*) FROM {place}") == 1
    assert await schema.pool.fetchval("SELECT to_regclass($1)", place) is None
    left = await scanner.planted(word).__aenter__()
    table, _, _ = left.rpartition("_")
    older = f"{table}_1"
    await schema.pool.execute(f"ALTER TABLE {left} RENAME TO {older.partition('.')[2]}")
    async with scanner.planted(word):
        assert await schema.pool.fetchval("SELECT to_regclass($1)", older) is None
    empty = Scope("catalogue", (), [f"postgres {schema.name}.*"])
    with pytest.raises(CriticalError, match="no place within the scope"):
        await scan("postgres", scanner, empty)
