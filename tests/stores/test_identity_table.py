"""The identity table, in the real PostgreSQL."""

from __future__ import annotations

from activities.contract import Contributor
from activities.datamap import IdentityTable
from activities.identity_table import Guess, guess, look_up
from activities.suspicion import Suspicion
from tests.stores.postgres_schema import Database


async def test_identities_are_known_as_they_are_stored_and_masks_and_blanks_are_nobodys(db: Database) -> None:
    await db.run("""
        CREATE TABLE people (id bigint PRIMARY KEY, email text, other text, worker_id text);
        INSERT INTO people VALUES (12, ' Ann@X.io', 'ANN@x.io', ' w-12'), (13, 'DELETED_USER', E' \\t', '')
    """)
    table = IdentityTable(table=db.place("people"), id="id", emails=("email", "other"), worker_ids=("worker_id",))
    assert await look_up(db.pool, table, ["12", "13", "14", "x'y", "99999999999999999999"]) == {
        "12": Contributor("12", (" Ann@X.io", "ANN@x.io"), (" w-12",)),
        "13": Contributor("13"),
    }
    assert await look_up(db.pool, IdentityTable(table=table.table, id="id"), ["12"]) == {"12": Contributor("12")}


async def test_the_identity_table_is_guessed_by_its_addresses_and_by_who_refers_to_it(db: Database) -> None:
    await db.run("""
        CREATE TABLE people (id int PRIMARY KEY, "eMail" text, email_verified boolean, worker_id bigint, boss int
                             REFERENCES people);
        CREATE TABLE one (id int PRIMARY KEY, who int REFERENCES people);
        CREATE TABLE two (id int PRIMARY KEY, who int REFERENCES people, made_by int REFERENCES people);
        CREATE TABLE firms (id int PRIMARY KEY, mail text);
        CREATE TABLE sites (id int PRIMARY KEY, firm int REFERENCES firms);
        CREATE TABLE lonely (id int PRIMARY KEY, email text);
        CREATE TABLE jobs (id int PRIMARY KEY);
        CREATE TABLE parts (id int PRIMARY KEY, job int REFERENCES jobs)
    """)
    found = await guess(db.pool, Suspicion(look=[f"postgres {db.schema}.*"]))
    assert found == [
        Guess(IdentityTable(table=db.place("people"), id="id", emails=("eMail",), worker_ids=("worker_id",)), 3),
        Guess(IdentityTable(table=db.place("firms"), id="id", emails=("mail",)), 1),
    ]
