"""The platform's PostgreSQL: who the contributors are, what they were assigned, paid and asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

from asyncpg import Pool

from devstack.platform.people import Person
from devstack.platform.plan import PROJECTS, SEED, TODAY, Size
from devstack.platform.prose import prose

FIRST_JOB = 5001
"""Away from the contributors' ids, so that no job number can be taken for one of them."""

MARKER = "Demo platform: made by devstack, may be dropped."
"""Stands as a comment on the contributors' table; what lacks it is never dropped."""

COLUMNS = {
    "contributors": "id email worker_id full_name country status created_at last_activity_at project_count",
    "jobs": "title project secret",
    "job_mappings": "job_id contributor_id state assigned_at",
    "contributor_devices": "contributor_id fingerprint ip seen_at",
    "payments": "contributor_id payee_email payee_name payee_iban amount currency paid_at",
    "support_tickets": "requester_email requester_name subject body",
    "audit_log": "at actor_worker_id actor_ip action details",
}
"""What is loaded into each table, in the order of their foreign keys; the server numbers the rest."""

SCHEMA = f"""
CREATE SCHEMA IF NOT EXISTS {{schema}};
CREATE TABLE {{schema}}.contributors (
    id               text PRIMARY KEY,
    email            text NOT NULL UNIQUE,
    worker_id        text UNIQUE,
    full_name        text NOT NULL,
    country          text NOT NULL,
    status           text NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE')),
    created_at       timestamptz NOT NULL,
    last_activity_at timestamptz,
    project_count    int NOT NULL DEFAULT 0
);
COMMENT ON TABLE {{schema}}.contributors IS '{MARKER}';
CREATE INDEX ON {{schema}}.contributors (status, last_activity_at);
CREATE TABLE {{schema}}.jobs (
    id      bigint GENERATED ALWAYS AS IDENTITY (START WITH {FIRST_JOB}) PRIMARY KEY,
    title   text NOT NULL,
    project text NOT NULL,
    secret  text NOT NULL
);
CREATE TABLE {{schema}}.job_mappings (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id         bigint NOT NULL REFERENCES {{schema}}.jobs (id),
    contributor_id text NOT NULL REFERENCES {{schema}}.contributors (id),
    state          text NOT NULL,
    assigned_at    timestamptz NOT NULL,
    commit_key     text UNIQUE
);
CREATE INDEX ON {{schema}}.job_mappings (contributor_id);
CREATE INDEX ON {{schema}}.job_mappings (job_id);
CREATE TABLE {{schema}}.contributor_devices (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contributor_id text NOT NULL REFERENCES {{schema}}.contributors (id),
    fingerprint    text NOT NULL,
    ip             inet NOT NULL,
    seen_at        timestamptz NOT NULL
);
CREATE INDEX ON {{schema}}.contributor_devices (contributor_id);
CREATE TABLE {{schema}}.payments (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contributor_id text NOT NULL,
    payee_email    text NOT NULL,
    payee_name     text NOT NULL,
    payee_iban     text,
    amount         numeric(10, 2) NOT NULL,
    currency       text NOT NULL,
    paid_at        timestamptz NOT NULL
);
COMMENT ON COLUMN {{schema}}.payments.contributor_id IS 'No foreign key: bookkeeping keeps payments for ten years.';
CREATE INDEX ON {{schema}}.payments (contributor_id);
CREATE TABLE {{schema}}.support_tickets (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    requester_email text NOT NULL,
    requester_name  text NOT NULL,
    subject         text NOT NULL,
    body            text NOT NULL
);
CREATE INDEX ON {{schema}}.support_tickets (lower(requester_email));
CREATE TABLE {{schema}}.audit_log (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL,
    actor_worker_id text,
    actor_ip        inet,
    action          text NOT NULL,
    details         text NOT NULL
);
CREATE INDEX ON {{schema}}.audit_log (at);
CREATE INDEX ON {{schema}}.audit_log (actor_worker_id);
"""

Row: TypeAlias = tuple[Any, ...]

_SUBJECTS = (
    "Payment is late",
    "Cannot log in",
    "Question about guidelines",
    "Wrong country",
    "Close my account",
)
_ACTIONS = ("login", "unit.submitted", "unit.skipped", "payment.requested", "profile.changed")
_DETAILS = ("from the web", "from the phone", "queue: labels", "queue: reviews", "second try")
_STATES = ("assigned", "started", "submitted", "accepted", "rejected")


def quoted(identifier: str) -> str:
    """An identifier as SQL takes it literally."""
    return '"' + identifier.replace('"', '""') + '"'


async def create(pool: Pool, schema: str = "public") -> None:
    """Makes the tables; fails where they exist already.

    Args:
        pool: Connected to the platform's database.
        schema: Is made where it is missing.
    """
    await pool.execute(SCHEMA.format(schema=quoted(schema)))


async def is_there(pool: Pool, schema: str = "public") -> bool:
    """Whether a platform that was made here is there.

    Raises:
        PermissionError: There is one, but it was not made here.
    """
    name = f"{quoted(schema)}.contributors"
    there = await pool.fetchval("SELECT to_regclass($1) IS NOT NULL", name)
    comment = await pool.fetchval("SELECT obj_description(to_regclass($1), 'pg_class')", name)
    if there and comment != MARKER:
        raise PermissionError(f"{name} was not made by devstack and will not be dropped")
    return bool(there)


async def drop(pool: Pool, schema: str = "public") -> None:
    """Drops the platform's tables, and its schema unless that is ``public``."""
    tables = ", ".join(f"{quoted(schema)}.{table}" for table in COLUMNS)
    await pool.execute(f"DROP TABLE IF EXISTS {tables}")
    if schema != "public":
        await pool.execute(f"DROP SCHEMA IF EXISTS {quoted(schema)}")


async def load(pool: Pool, people: Sequence[Person], size: Size, schema: str = "public", seed: int = SEED) -> None:
    """Fills the tables, each by one COPY.

    Args:
        pool: Connected to the platform's database.
        people: The contributors.
        size: Says how many rows.
        schema: Where the tables are.
        seed: The same seed makes the same rows.
    """
    random = Random(f"postgres {seed}")
    workers = [person for person in people if person.worker_id is not None]
    contents = {
        "contributors": _contributors(people),
        "jobs": _jobs(size.jobs, random, seed),
        "job_mappings": _job_mappings(size, workers, random),
        "contributor_devices": _devices(size.devices, people, random),
        "payments": _payments(size.payments, workers, random),
        "support_tickets": _tickets(size.tickets, people, random),
        "audit_log": _audit_log(size.audit_rows, workers, random),
    }
    async with pool.acquire() as connection, connection.transaction():
        for table, rows in contents.items():
            columns = COLUMNS[table].split()
            await connection.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
    for table in COLUMNS:
        await pool.execute(f"ANALYZE {quoted(schema)}.{table}")


def in_turn(people: Sequence[Person], count: int, random: Random) -> Iterator[Person]:
    """Yields everybody once, as far as the count goes, then whoever comes up."""
    yield from people[:count]
    for _ in range(count - len(people)):
        yield random.choice(people)


def _contributors(people: Sequence[Person]) -> Iterator[Row]:
    for person in people:
        yield (
            person.contributor_id,
            person.email,
            person.worker_id,
            person.full_name,
            person.country,
            person.status,
            person.created_at,
            person.last_activity_at,
            person.project_count,
        )


def job_secret(job: int, seed: int = SEED) -> str:
    """What a job's address proves itself by."""
    return hashlib.blake2b(f"job {job} {seed}".encode(), digest_size=12).hexdigest()


def _jobs(count: int, random: Random, seed: int) -> Iterator[Row]:
    for number in range(count):
        kind = random.choice(("Label", "Transcribe", "Translate", "Compare", "Rate"))
        title = f"{kind} round {chr(65 + number % 26)}"
        yield title, f"project-{random.choice(PROJECTS)}", job_secret(FIRST_JOB + number, seed)


def _job_mappings(size: Size, workers: Sequence[Person], random: Random) -> Iterator[Row]:
    """Everybody who works is in the first job; the other mappings are drawn."""
    for number, person in enumerate(in_turn(workers, size.job_mappings, random)):
        job = FIRST_JOB + random.randrange(size.jobs)
        state = random.choice(_STATES)
        if number < len(workers):
            job, state = FIRST_JOB, "assigned"
        yield job, person.contributor_id, state, _moment(random)


def _devices(count: int, people: Sequence[Person], random: Random) -> Iterator[Row]:
    for person in in_turn(people, count, random):
        yield person.contributor_id, f"fp:{random.getrandbits(64):016x}", _address(random), _moment(random)


def _payments(count: int, workers: Sequence[Person], random: Random) -> Iterator[Row]:
    for person in in_turn(workers, count, random):
        iban = f"XX00TEST{random.randrange(10**12):012d}" if random.random() < 0.6 else None
        amount = Decimal(random.randint(100, 90_000)) / 100
        currency = random.choice(("EUR", "USD"))
        yield (
            person.contributor_id,
            spelled(person, random),
            person.full_name,
            iban,
            amount,
            currency,
            _moment(random),
        )


def _tickets(count: int, people: Sequence[Person], random: Random) -> Iterator[Row]:
    for person in in_turn(people, count, random):
        email = spelled(person, random)
        typed = f" {email} " if random.random() < 0.03 else email
        body = f"{prose(random)} Please answer to {email}. Regards, {person.full_name}"
        yield typed, person.full_name, random.choice(_SUBJECTS), body


def _audit_log(count: int, workers: Sequence[Person], random: Random) -> Iterator[Row]:
    for person in in_turn(workers, count, random):
        actor = person.worker_id if random.random() < 0.95 else None
        address = _address(random) if actor is not None and random.random() < 0.7 else None
        yield _moment(random), actor, address, random.choice(_ACTIONS), random.choice(_DETAILS)


def spelled(person: Person, random: Random) -> str:
    """A person's email as a form may have taken it: mostly as stored, sometimes in lower or upper case."""
    draw = random.random()
    return person.email.upper() if draw < 0.02 else person.email.lower() if draw < 0.1 else person.email


def _address(random: Random) -> str:
    """An address of the ranges that are reserved for documentation."""
    return f"{random.choice(('192.0.2', '198.51.100', '203.0.113'))}.{random.randint(1, 254)}"


def _moment(random: Random) -> datetime:
    return TODAY - timedelta(seconds=random.randint(0, 700 * 86_400))
