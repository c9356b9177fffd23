"""What PostgreSQL suspects of itself, on the real server: each test has a schema of its own."""

from __future__ import annotations

import secrets
import tomllib
from typing import Any

import asyncpg
import pytest

from activities import drift
from activities.contract import Suspect
from activities.errors import TransientError
from activities.identities import IdentityKind
from activities.stores.postgres import KIND, PostgresStore
from activities.stores.postgres.data_map import PostgresMap
from activities.suspicion import Suspicion
from starter.draft import Drafted, compose
from tests.bench import HasEnv
from tests.stores.postgres_schema import Database

STRANGERS = """
    CREATE TABLE people (id text PRIMARY KEY, email text, email_verified boolean, email_count int,
                         folded text GENERATED ALWAYS AS (lower(email)) STORED, boss text REFERENCES people);
    INSERT INTO people (id, email) VALUES ('c-1', 'ann@x.io');
    CREATE TABLE logs (id int PRIMARY KEY, who text, payee_email text, mail varchar(9), note text, plain text,
                       numbers bigint, tags text[], "to.worker_id" text);
    INSERT INTO logs SELECT n, 'w-' || n, NULL, '', CASE n WHEN 7 THEN 'wrote to bob@x.io.' ELSE 'n' END, 'x' || n, n,
                            ARRAY['c@x.io', 'd@x.io'] FROM generate_series(1, 20) AS n;
    CREATE TABLE docs (id int PRIMARY KEY, body jsonb, raw json);
    INSERT INTO docs VALUES
        (1, '{"user": {"e": ["ann@x.io"], "n": 1}, "workerId": 7, "ann@x.io": {"k": true}}', '{"a":"x"}');
    CREATE TABLE events (day date, worker_id text, PRIMARY KEY (day, worker_id)) PARTITION BY RANGE (day);
    CREATE TABLE events_1 PARTITION OF events DEFAULT;
    CREATE TABLE badges (n int PRIMARY KEY, owner text CONSTRAINT badge_owner REFERENCES people);
    CREATE TABLE contributor_uuids (contributor uuid);
    CREATE MATERIALIZED VIEW copies AS SELECT email FROM people;
    CREATE MATERIALIZED VIEW unfilled AS SELECT email FROM people WITH NO DATA;
    CREATE TABLE masked (id int PRIMARY KEY, contributor_id text, email text);
"""

LOOK_FOR = {IdentityKind.WORKER_ID: r"w-\d+"}


def mask(db: Database, table: str, by: str, **holds: str) -> dict[str, Any]:
    return {"mask": [{"table": db.place(table), "by": by, **holds, "columns": {by: "token"}}]}


def suspicion_of(db: Database, *ignore: str) -> Suspicion:
    return Suspicion(LOOK_FOR, [f"postgres {db.schema}.*"], [f"postgres {db.schema}.{place}" for place in ignore])


async def test_a_survey_names_what_looks_like_an_identity_by_name_or_content_and_how_to_map_it(db: Database) -> None:
    await db.run(STRANGERS)
    empty = drift.nothing(KIND)
    assert isinstance(empty, PostgresMap)
    store = PostgresStore(db.pool, empty, db.heartbeat)
    found = await store.survey(suspicion_of(db, "contributor_uuids.c*"))
    email, worker = {"holds": "email"}, {"holds": "worker_id"}
    assert {each.place.removeprefix(f"{db.schema}."): (each.why, each.entry) for each in found} == {
        "people.email": ("holds addresses", mask(db, "people", "email", **email)),
        "people.boss": (
            "foreign key people_boss_fkey refers to " + db.place("people"),
            {"delete": [{"table": db.place("people"), "by": "boss"}]},
        ),
        "logs.who": ("holds worker ids", mask(db, "logs", "who", **worker)),
        "logs.payee_email": ("is named like addresses", mask(db, "logs", "payee_email", **email)),
        "logs.mail": ("is named like addresses", mask(db, "logs", "mail", **email)),
        "logs.note": ("holds addresses inside longer text", {}),
        "logs.tags": ("holds addresses", mask(db, "logs", "tags", **email)),
        "docs.body": ("has keys that look like identities", {}),
        "docs.body.user.e": ("holds addresses", mask(db, "docs", "body.user.e", **email)),
        "docs.body.workerId": ("is named like worker ids", mask(db, "docs", "body.workerId", **worker)),
        "events.worker_id": ("is named like worker ids", mask(db, "events", "worker_id", **worker)),
        "badges.owner": (
            "foreign key badge_owner refers to " + db.place("people"),
            {"delete": [{"table": db.place("badges"), "by": "owner"}]},
        ),
        "copies.email": ("holds addresses", {}),
        "masked.contributor_id": ("is named like contributor ids", mask(db, "masked", "contributor_id")),
        "masked.email": ("is named like addresses", mask(db, "masked", "email", **email)),
        'logs."to.worker_id"': ("is named like worker ids", mask(db, "logs", '"to.worker_id"', **worker)),
    }
    assert "ann@x.io" not in str(found)
    drafted = tomllib.loads(compose({"postgres": Drafted(found)}, []))["postgres"]
    assert sum(map(len, drafted.values())) == sum(bool(suspect.entry) for suspect in found)
    named = PostgresStore(db.pool, PostgresMap.model_validate(drafted), db.heartbeat)
    left = await named.survey(suspicion_of(db, "contributor_uuids.c*"))
    assert [each.place for each in left if each.entry] == [], "what was named is no suspect any more"


async def test_rows_that_are_deleted_are_named_as_a_whole_but_not_their_foreign_keys(db: Database) -> None:
    await db.run(STRANGERS)
    store = db.store(
        delete=[{"table": "people", "by": "id"}],
        mask=[{"table": "masked", "by": "contributor_id", "columns": {"id": "null"}}],
    )
    found = [each.place.removeprefix(f"{db.schema}.") for each in await store.survey(suspicion_of(db, "[!pbm]*"))]
    assert found == ["masked.email", "badges.owner", "people.boss"]


async def test_a_big_table_is_sampled_all_over_and_one_that_is_locked_is_named(db: Database) -> None:
    await db.run(
        """
        CREATE TABLE big (id int PRIMARY KEY, filler text, late text);
        ALTER TABLE big ALTER filler SET STORAGE PLAIN;
        INSERT INTO big SELECT n, repeat('x', 4000), CASE WHEN n > 200 THEN n || '@x.io' ELSE 'x' END
            FROM generate_series(1, 1200) AS n;
        """
    )
    await db.pool.execute(f"ANALYZE {db.place('big')}")
    found = await db.store(delete=[{"table": "none", "by": "id"}]).survey(suspicion_of(db))
    assert [(each.place, each.why) for each in found] == [(db.place("big.late"), "holds addresses")]
    async with db.pool.acquire() as other, other.transaction():
        await other.execute(f"LOCK TABLE {db.place('big')}")
        with pytest.raises(TransientError, match=f"^postgres {db.place('big')}: "):
            await db.store(delete=[{"table": "none", "by": "id"}], lock_timeout=0.05).survey(suspicion_of(db))


async def test_what_may_not_be_read_is_named_since_nobody_can_tell(db: Database, stack: HasEnv) -> None:
    await db.run("CREATE TABLE closed (id int, words text); CREATE TABLE partly (words text, payee_email text)")
    await db.run("CREATE TABLE filtered (words text); ALTER TABLE filtered ENABLE ROW LEVEL SECURITY")
    role = f"r_{secrets.token_hex(6)}"
    await db.run(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {db.schema} TO {role};"
        f"GRANT SELECT ON filtered TO {role}; GRANT SELECT (words) ON partly TO {role}"
    )
    try:
        dsn = stack.env["ERASURE_POSTGRES__DSN"]
        async with asyncpg.create_pool(dsn, min_size=0, server_settings={"role": role}) as pool:
            store = db.store(pool, delete=[{"table": "none", "by": "id"}])
            found = await store.survey(suspicion_of(db))
    finally:
        await db.run(f"DROP OWNED BY {role}; DROP ROLE {role}")
    closed = "words may not be read, or not every row, so that nobody can tell what is there"
    assert found == [
        Suspect(db.place("closed"), closed, {}),
        Suspect(db.place("filtered"), closed, {}),
        Suspect(
            db.place("partly.payee_email"), "is named like addresses", mask(db, "partly", "payee_email", holds="email")
        ),
    ]
