"""A schema of a test's own in the real PostgreSQL, filled with people and what refers to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from activities.contract import Contributor, Heartbeat, Slice, Tally
from activities.stores.postgres import PostgresSettings, PostgresStore
from activities.stores.postgres.connection import LOCK_TIMEOUT
from activities.stores.postgres.data_map import PostgresMap
from activities.stores.postgres.ranges import RANGES, Ranges
from activities.vault import BatchVault
from tests.bench import HasEnv

if TYPE_CHECKING:
    from asyncpg import Pool, Record

ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("b'o\"b\\", ("bob@x.io",), ("100%_*?[a]\n",))

TABLES = """
    CREATE TABLE contributors (id text PRIMARY KEY, email text UNIQUE, name text);
    CREATE TABLE jobs (id int PRIMARY KEY, contributor_id text NOT NULL REFERENCES contributors);
    CREATE TABLE payments (id int PRIMARY KEY, payee text, email text, name varchar(20) NOT NULL,
                           iban text, amount int);
    CREATE TABLE tickets (id int PRIMARY KEY, email text, body text);
    CREATE TABLE audit (id int PRIMARY KEY, worker text, ip inet);
    CREATE INDEX ON jobs (contributor_id);
"""

ROWS: dict[str, list[Any]] = {
    "contributors": [("12", "Ann@x.io", "Ann"), ("b'o\"b\\", "bob@x.io", "Bob"), ("123", "joann@x.io", "Jo")],
    "jobs": [(1, "12"), (2, "12"), (3, "b'o\"b\\"), (4, "123")],
    "payments": [
        (1, "12", "ann@x.io", "Ann", "IBAN 1", 10),
        (2, "12", "Ann@x.io", "Ann", None, 20),
        (3, "b'o\"b\\", "bob@x.io", "Bob", "IBAN 3", 30),
        (4, "123", "joann@x.io", "Jo", "IBAN 4", 40),
        (5, "012", "ann@x.io.uk", "NULL", None, 50),
    ],
    "tickets": [
        (1, " ANN@X.io\t", "I am Ann"),
        (2, "notann@x.io", "I am not"),
        (3, "ann@x.io.uk", "Nor I"),
        (4, "a%@x.io", "%"),
    ],
    "audit": [
        (1, "w-12", "10.0.0.1"),
        (2, "w-123", "10.0.0.2"),
        (3, "W-12", "10.0.0.3"),
        (4, "100%_*?[a]\n", "10.0.0.4"),
        (5, "100%_*?[a]", "10.0.0.5"),
    ],
}


@dataclass(frozen=True)
class Database:
    """A schema of its own in the real database, and a store over it."""

    pool: Pool[Record]
    schema: str
    heartbeat: Heartbeat

    def place(self, table: str) -> str:
        return f"{self.schema}.{table}"

    async def run(self, sql: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {self.schema}")
            await connection.execute(sql)

    async def rows(self, table: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.pool.fetch(f"SELECT * FROM {self.schema}.{table} ORDER BY 1, 2")]

    async def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: await self.rows(table) for table in ROWS}

    async def fill(self) -> None:
        await self.run(TABLES)
        async with self.pool.acquire() as connection:
            for table, rows in ROWS.items():
                await connection.copy_records_to_table(table, schema_name=self.schema, records=rows)

    def store(
        self,
        pool: Pool[Record] | None = None,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        ranges: Ranges = RANGES,
        **entries: list[dict[str, Any]],
    ) -> PostgresStore:
        """A store over tables of this schema; without entries, as `ROWS` want it."""
        if not entries:
            entries = {
                "delete": [{"table": "jobs", "by": "contributor_id"}, {"table": "contributors", "by": "id"}],
                "mask": [
                    {
                        "table": "payments",
                        "by": "payee",
                        "columns": {"payee": "token", "email": "token", "name": "constant", "iban": "null"},
                    },
                    {
                        "table": "tickets",
                        "by": "email",
                        "holds": "email",
                        "columns": {"email": "token", "body": "constant"},
                    },
                    {
                        "table": "audit",
                        "by": "worker",
                        "holds": "worker_id",
                        "columns": {"worker": "token", "ip": "null"},
                    },
                ],
            }
        table_map = {
            verb: [{**entry, "table": self.place(entry["table"])} for entry in listed]
            for verb, listed in entries.items()
        }
        named = PostgresMap.model_validate(table_map)
        return PostgresStore(pool or self.pool, named, self.heartbeat, lock_timeout=lock_timeout, ranges=ranges)


def settings_of(stack: HasEnv, **changes: Any) -> PostgresSettings:
    return PostgresSettings(dsn=SecretStr(stack.env["ERASURE_POSTGRES__DSN"]), **changes)


EXACT = """
    CREATE TYPE mood AS ENUM ('fine', 'so so');
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE exact (
        id uuid PRIMARY KEY, worker text, nothing text, word text, number numeric, real float8, flag boolean,
        at timestamptz, day date, span interval, raw bytea, doc jsonb, plain json, list text[], range int4range,
        ip inet, mood mood, pair pair, fixed char(8), money money,
        twice int GENERATED ALWAYS AS (length(worker) * 2) STORED,
        "Odd ""name" int);
    INSERT INTO exact VALUES (
        'a81bc81b-dead-4e5d-abff-90865d1e13b1', 'w-12', NULL, 'NULL', 1.50, 0.1::float8 + 0.2, false,
        '2024-02-29 23:59:59.123456+05', 'infinity', '1 mon -3 days 04:05:06.7', '\\x00ff5c', '{"b": [1, "ä"]}',
        '{"b":1,  "b":2}', ARRAY['a,b', NULL, '"q"', '{}'], '[1,5)',
        '10.0.0.0/8', 'so so', ROW(1, 'x "y"'), 'ab', 12.34,
        DEFAULT, 7);
"""

SliceOf = Callable[..., Slice]


async def back_up_and_erase(store: PostgresStore, part: Slice, vault: BatchVault) -> dict[str, Tally]:
    """The tallies by table, without the schema."""
    await store.back_up(part, vault)
    return tallies(await store.erase(part, vault))


def tallies(erased: Any) -> dict[str, Tally]:
    return {place.partition(".")[2]: tally for place, tally in erased.places.items()}
