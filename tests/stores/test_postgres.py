"""PostgreSQL, on the real server: each test has a schema of its own."""

from __future__ import annotations

import asyncio
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from pydantic import SecretStr, ValidationError

from activities.contract import Contributor, Tally
from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.masking import is_mask
from activities.stores.postgres import KIND, PostgresSettings, connect, translate
from activities.stores.postgres.catalogue import quote
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.postgres_schema import ANN, BOB, EXACT, ROWS, Database, SliceOf, back_up_and_erase, tallies

if TYPE_CHECKING:
    pass


async def pre_images(vault: BatchVault, below: str = "pre-image/postgres/") -> list[tuple[str, dict[str, Any]]]:
    return [
        (place.partition(".")[2], record["row"])
        for name in await vault.names(below)
        async for place, record in vault.records(name)
    ]


async def later(vault: BatchVault) -> list[tuple[str, dict[str, Any]]]:
    return await pre_images(vault, "pre-image/postgres/000000/later/")


async def test_rows_are_masked_and_deleted_as_the_data_map_says(
    filled: Database, slice_of: SliceOf, vault: BatchVault, beats: list[tuple[str, int]]
) -> None:
    erased = await back_up_and_erase(filled.store(), slice_of(ANN, BOB), vault)
    token = vault.masker.token
    assert await filled.everything() == {
        "contributors": [ROWS["contributors"][2]],
        "jobs": [ROWS["jobs"][3]],
        "payments": [
            (1, token("12"), token("ann@x.io"), "DELETED_USER", None, 10),
            (2, token("12"), token("Ann@x.io"), "DELETED_USER", None, 20),
            (3, token("b'o\"b\\"), token("bob@x.io"), "DELETED_USER", None, 30),
            *ROWS["payments"][3:],
        ],
        "tickets": [(1, token(" ANN@X.io\t"), "DELETED_USER"), *ROWS["tickets"][1:]],
        "audit": [
            (1, token("w-12"), None),
            *[(number, worker, ip_address(ip)) for number, worker, ip in ROWS["audit"][1:3]],
            (4, token("100%_*?[a]\n"), None),
            (5, "100%_*?[a]", ip_address("10.0.0.5")),
        ],
    }
    assert erased == {
        "payments": Tally(3, 3),
        "tickets": Tally(1, 1),
        "audit": Tally(2, 2),
        "jobs": Tally(3, 3),
        "contributors": Tally(2, 2),
    }
    assert {place.partition(".")[2] for place, _ in beats} == set(ROWS)


async def test_a_second_run_changes_nothing(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    store, part = filled.store(), slice_of(ANN, BOB)
    first = await back_up_and_erase(store, part, vault)
    after, names = await filled.everything(), await vault.names("pre-image/")
    second = tallies(await store.erase(part, vault))
    assert second == {table: Tally(already_clean=tally.matched) for table, tally in first.items()}
    assert await filled.everything() == after
    assert await vault.names("pre-image/") == names
    assert (await store.preview(part)).records == 0


async def test_a_preview_counts_and_writes_nothing(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    before = await filled.everything()
    impact = await filled.store().preview(slice_of(ANN, BOB))
    assert impact.places == {
        filled.place(table): count
        for table, count in {"payments": 3, "tickets": 1, "audit": 2, "jobs": 3, "contributors": 2}.items()
    }
    assert await filled.everything() == before
    assert await vault.names("") == []


async def test_a_back_up_is_written_once(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    store, part = filled.store(), slice_of(ANN)
    first = await store.back_up(part, vault)
    assert first.places[filled.place("jobs")] == 2
    await filled.run("DELETE FROM jobs")
    assert await store.back_up(part, vault) == first
    assert len(await vault.names("pre-image/")) == 1


async def test_without_a_back_up_nothing_is_written(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    before = await filled.everything()
    with pytest.raises(CriticalError, match="has no back-up"):
        await filled.store().erase(slice_of(ANN), vault)
    assert await filled.everything() == before


async def test_what_appears_or_changes_after_the_back_up_gets_its_own_pre_image(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(), slice_of(ANN)
    await store.back_up(part, vault)
    await filled.run("INSERT INTO jobs VALUES (9, '12'); UPDATE payments SET amount = 99 WHERE id = 2")
    erased = tallies(await store.erase(part, vault))
    assert sorted(await later(vault)) == [
        ("jobs", {"id": "9", "contributor_id": "12"}),
        ("payments", {"id": "2", "payee": "12", "email": "Ann@x.io", "name": "Ann", "iban": None, "amount": "99"}),
    ]
    assert erased["jobs"] == Tally(3, 3)
    assert await filled.rows("jobs") == ROWS["jobs"][2:]


async def test_an_erasure_that_fails_writes_nothing_and_ends_the_same_when_run_again(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await filled.everything()
    await store.back_up(part, vault)
    await filled.run(
        "CREATE TABLE badges (id int PRIMARY KEY, owner text CONSTRAINT badge_owner REFERENCES contributors)"
    )
    await filled.run("INSERT INTO badges VALUES (1, '12')")
    badges = {"table": "badges", "by": "owner", "holds": "worker_id"}  # finds nothing: the ids are not worker ids
    wrong = filled.store(
        delete=[badges, {"table": "jobs", "by": "contributor_id"}, {"table": "contributors", "by": "id"}]
    )
    await filled.run("INSERT INTO jobs VALUES (9, '12')")
    with pytest.raises(CriticalError) as failure:
        await wrong.erase(part, vault)
    assert "badge_owner" in str(failure.value)
    assert "12" not in str(failure.value).replace(filled.schema, "")
    assert await filled.everything() == {**before, "jobs": [*ROWS["jobs"], (9, "12")]}
    await filled.run("DROP TABLE badges")
    assert tallies(await store.erase(part, vault))["jobs"] == Tally(4, 4)
    assert await filled.rows("contributors") == ROWS["contributors"][2:]
    assert await later(vault) == [("jobs", {"id": "9", "contributor_id": "12"})]


async def test_the_latest_of_several_pre_images_is_what_was_overwritten(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """A row changes, an attempt keeps that and is cut, the row changes back: it has to be kept once more."""
    store, part = filled.store(delete=[{"table": "audit", "by": "worker", "holds": "worker_id"}]), slice_of(ANN)
    await store.back_up(part, vault)
    await filled.run("UPDATE audit SET ip = '10.9.9.9' WHERE id = 1")
    await _refuse_changes(filled, "audit")
    with pytest.raises(CriticalError, match="trigger"):
        await store.erase(part, vault)
    await filled.run("DROP TRIGGER refuse ON audit; UPDATE audit SET ip = '10.0.0.1' WHERE id = 1")
    await store.erase(part, vault)
    seen = [
        (record["at"], record["row"]["ip"])
        for name in await vault.names("pre-image/")
        async for _, record in vault.records(name)
    ]
    assert [ip for _, ip in sorted(seen)] == ["10.0.0.1/32", "10.9.9.9/32", "10.0.0.1/32"]


async def _refuse_changes(db: Database, table: str) -> None:
    await db.run(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no, ann@x.io stays'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )


async def test_a_connection_cut_in_the_middle_is_transient_and_leaves_nothing_half_done(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await filled.everything()
    await store.back_up(part, vault)
    async with filled.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(f"SELECT FROM {filled.schema}.contributors WHERE id = '12' FOR UPDATE")
        blocked = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
        erasure = asyncio.create_task(store.erase(part, vault))
        while not (pids := await filled.pool.fetch(blocked, other.get_server_pid())):  # noqa: ASYNC110 - the server is waited for
            await asyncio.sleep(0.02)
        await filled.pool.execute("SELECT pg_terminate_backend($1)", pids[0]["pid"])
        with pytest.raises(TransientError):
            await erasure
        await transaction.rollback()
    assert await filled.everything() == before
    await store.erase(part, vault)
    assert await filled.rows("jobs") == ROWS["jobs"][3:]


async def test_two_slices_that_share_rows_wait_for_each_other(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    entries: dict[str, Any] = {"mask": [{"table": "payments", "by": "payee", "columns": {"name": "constant"}}]}
    entries["mask"] += [{"table": "payments", "by": "email", "holds": "email", "columns": {"email": "token"}}]
    one, two = slice_of(Contributor("12")), slice_of(Contributor("x", ("ANN@x.io",)))
    object.__setattr__(two, "name", "000001")
    store = filled.store(**entries)
    for part in (one, two):
        await store.back_up(part, vault)
    await asyncio.gather(*(store.erase(part, vault) for part in (one, two, one, two)))
    rows = await filled.rows("payments")
    assert [(row[2], row[3]) for row in rows[:2]] == [
        (vault.masker.token("ann@x.io"), "DELETED_USER"),
        (vault.masker.token("Ann@x.io"), "DELETED_USER"),
    ]


async def test_a_pre_image_reads_back_to_the_very_same_row(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run(EXACT)
    before = await db.rows("exact")
    store = db.store(delete=[{"table": "exact", "by": "worker", "holds": "worker_id"}])
    await back_up_and_erase(store, slice_of(ANN), vault)
    assert await db.rows("exact") == []
    [(_, row)] = await pre_images(vault)
    assert (row["nothing"], row["word"], "twice" in row) == (None, "NULL", False)
    names = ", ".join(map(quote, row))
    types = {
        found["attname"]: found["type"]
        for found in await db.pool.fetch(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = $1::regclass",
            db.place("exact"),
        )
    }
    values = ", ".join(f"${number}::text::{types[name]}" for number, name in enumerate(row, start=1))
    await db.pool.execute(f"INSERT INTO {db.place('exact')} ({names}) VALUES ({values})", *row.values())
    assert await db.rows("exact") == before


async def test_a_pre_image_says_what_was_done_to_its_row(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await filled.store().back_up(slice_of(ANN), vault)
    records = [record async for _, record in vault.records("pre-image/postgres/000000")]
    assert [(record["key"], record["id"], record["does"]) for record in records] == [
        *[
            (["id"], [n], {"mask": {"payee": "token", "email": "token", "name": "constant", "iban": "null"}})
            for n in "12"
        ],
        (["id"], ["1"], {"mask": {"email": "token", "body": "constant"}}),
        (["id"], ["1"], {"mask": {"worker": "token", "ip": "null"}}),
        *[(["id"], [n], {"delete": True}) for n in ("1", "2", "12")],
    ]


# by type: what is stored, and what is left
ID_COLUMNS = {
    "bigint": (["12", "3", "-12"], ["-12", "3"]),
    "smallint": (["12", "13"], ["13"]),
    "numeric": (["12.00", "12.01"], ["12.01"]),
    "uuid": (
        ["a81bc81b-dead-4e5d-abff-90865d1e13b1", "b81bc81b-dead-4e5d-abff-90865d1e13b1"],
        ["b81bc81b-dead-4e5d-abff-90865d1e13b1"],
    ),
    "text": (["12", "123", "12 ", "a\\b", "'"], ["12 ", "123", "a\\b"]),
    "varchar(9)": (["AB", "ab"], ["AB"]),
    "char(9)": (["AB", "ab"], ["AB"]),
    "short_id": (["AB", "ab"], ["AB"]),
}
WANTED_IDS = ["abc", "12", "0b11", "012", "1e3", "NaN", "70000", "9" * 20, "%", "_", "'", "\0", "\ud800", "ab"]
WANTED_IDS += ["A81BC81B-DEAD-4E5D-ABFF-90865D1E13B1", "a81bc81b-dead-4e5d-abff-90865d1e13b1", "b81bc81b"]


async def test_ids_match_exactly_whatever_the_columns_type(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run("CREATE DOMAIN any_id AS varchar(8) NOT NULL; CREATE DOMAIN short_id AS any_id CHECK (VALUE <> '')")
    for number, (type_, (stored, _)) in enumerate(ID_COLUMNS.items()):
        values = ", ".join(f"('{value.replace(chr(39), chr(39) * 2)}'::{type_}, {n})" for n, value in enumerate(stored))
        await db.run(
            f"CREATE TABLE ids{number} (id {type_}, n int PRIMARY KEY); INSERT INTO ids{number} VALUES {values}"
        )
    store = db.store(delete=[{"table": f"ids{number}", "by": "id"} for number in range(len(ID_COLUMNS))])
    await back_up_and_erase(store, slice_of(*map(Contributor, WANTED_IDS)), vault)
    for number, (_, left) in enumerate(ID_COLUMNS.values()):
        found = await db.pool.fetch(f'SELECT id::text FROM {db.place(f"ids{number}")} ORDER BY id::text COLLATE "C"')
        assert [row["id"] for row in found] == left


async def test_a_type_that_ignores_case_does_not_make_ids_equal(
    db: Database, stack: HasEnv, slice_of: SliceOf, vault: BatchVault
) -> None:
    """The extension citext, whose library the embedded server lacks, in so far as it matters here."""
    await db.run(
        """
        CREATE TYPE citext;
        CREATE FUNCTION citextin(cstring) RETURNS citext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
        CREATE FUNCTION citextout(citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
        CREATE TYPE citext (INPUT = citextin, OUTPUT = citextout, LIKE = text, CATEGORY = 'S');
        CREATE CAST (citext AS text) WITHOUT FUNCTION AS IMPLICIT;
        CREATE CAST (text AS citext) WITHOUT FUNCTION AS ASSIGNMENT;
        CREATE FUNCTION same(citext, citext) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
            AS 'SELECT lower($1::text) = lower($2::text)';
        CREATE OPERATOR = (LEFTARG = citext, RIGHTARG = citext, FUNCTION = same);
        CREATE TABLE ids (n int PRIMARY KEY, worker citext); INSERT INTO ids VALUES (1, 'W-12'), (2, 'w-12');
        """
    )
    dsn, columns = stack.env["ERASURE_POSTGRES__DSN"], {"worker": "token"}
    async with asyncpg.create_pool(dsn, min_size=0, server_settings={"search_path": db.schema}) as pool:
        assert await pool.fetchval("SELECT count(*) FROM ids WHERE worker = 'w-12'::citext") == 2
        store = db.store(pool, mask=[{"table": "ids", "by": "worker", "holds": "worker_id", "columns": columns}])
        await back_up_and_erase(store, slice_of(ANN), vault)
        rows = await pool.fetch("SELECT worker::text FROM ids ORDER BY n")
    assert [row["worker"] for row in rows] == ["W-12", vault.masker.token("w-12")]


async def test_emails_match_without_regard_to_case_and_blanks(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run("CREATE TABLE mails (id int PRIMARY KEY, email text)")
    stored = [
        "ANN@X.IO",
        " ann@x.io",
        "Ann@x.io\r\n",
        "BÜRO@x.io",
        "notann@x.io",
        "ann@x.io.uk",
        "ann@x_io",
        "a nn@x.io",
    ]
    async with db.pool.acquire() as connection:
        rows = list(enumerate(stored))
        await connection.copy_records_to_table("mails", schema_name=db.schema, records=rows)
    store = db.store(delete=[{"table": "mails", "by": "email", "holds": "email"}])
    await back_up_and_erase(store, slice_of(ANN, Contributor("b", (" büro@X.io ",))), vault)
    assert [row[1] for row in await db.rows("mails")] == stored[4:]


async def test_a_blank_value_or_a_mask_is_nobodys_identity(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run("CREATE TABLE ids (id text, n int PRIMARY KEY); INSERT INTO ids VALUES ('', 1), ('DELETED_USER', 2)")
    store = db.store(
        delete=[{"table": "ids", "by": "id", "holds": kind} for kind in ("contributor_id", "email", "worker_id")]
    )
    nobody = Contributor("DELETED_USER", ("", " "), ("", vault.masker.token("x")))
    assert (await back_up_and_erase(store, slice_of(nobody), vault))["ids"] == Tally()


async def test_no_mask_is_masked_again_when_several_entries_find_a_row(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """One entry's mask must not hide the row from the other entry, nor be masked by it."""
    await db.run("CREATE TABLE logs (id int PRIMARY KEY, email text, worker text, name text)")
    await db.run(
        "INSERT INTO logs VALUES (1, 'ann@x.io', 'w-12', 'Ann'), (2, 'ann@x.io', 'other', 'O'), (3, NULL, 'w-12', NULL)"
    )
    store = db.store(
        mask=[
            {"table": "logs", "by": "worker", "holds": "worker_id", "columns": {"worker": "token", "email": "token"}},
            {"table": "logs", "by": "email", "holds": "email", "columns": {"email": "token", "name": "constant"}},
        ]
    )
    erased = await back_up_and_erase(store, slice_of(ANN), vault)
    token = vault.masker.token
    assert await db.rows("logs") == [
        (1, token("ann@x.io"), token("w-12"), "DELETED_USER"),
        (2, token("ann@x.io"), "other", "DELETED_USER"),
        (3, None, token("w-12"), None),
    ]
    assert erased["logs"] == Tally(3, 3)
    assert len(await pre_images(vault)) == 3


async def test_a_row_that_still_says_whose_it_is_is_masked_once(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        "CREATE TABLE notes (id int PRIMARY KEY, owner bigint, text text); INSERT INTO notes VALUES (1, 12, 'Ann')"
    )
    store = db.store(mask=[{"table": "notes", "by": "owner", "columns": {"text": "token"}}])
    assert (await back_up_and_erase(store, slice_of(ANN), vault))["notes"] == Tally(1, 1)
    assert (tallies(await store.erase(slice_of(ANN), vault)))["notes"] == Tally(already_clean=1)
    [(_, _, text)] = await db.rows("notes")
    assert text == vault.masker.token("Ann")
    assert is_mask(text)


async def test_a_table_can_be_both_masked_and_deleted_from(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run('CREATE TABLE "Messages.all" (id int PRIMARY KEY, sender text, recipient text)')
    await db.run("""INSERT INTO "Messages.all" VALUES (1, '12', 'x'), (2, 'x', '12'), (3, '12', '12'), (4, 'x', 'x')""")
    store = db.store(
        delete=[{"table": '"Messages.all"', "by": "sender"}],
        mask=[{"table": '"Messages.all"', "by": "recipient", "columns": {"recipient": "token", "sender": "token"}}],
    )
    await back_up_and_erase(store, slice_of(ANN), vault)
    token = vault.masker.token
    assert await db.rows('"Messages.all"') == [(2, token("x"), token("12")), (4, "x", "x")]


async def test_a_foreign_key_that_is_masked_with_null_lets_its_parent_go(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run("CREATE TABLE people (id text PRIMARY KEY, referred_by text REFERENCES people)")
    await db.run("CREATE TABLE bills (id int PRIMARY KEY, payer text REFERENCES people)")
    await db.run(
        "INSERT INTO people VALUES ('12', NULL), ('123', '12'); INSERT INTO bills VALUES (1, '12'), (2, '123')"
    )
    store = db.store(
        delete=[{"table": "people", "by": "id"}],
        mask=[
            {"table": "bills", "by": "payer", "columns": {"payer": "null"}},
            {"table": "people", "by": "referred_by", "columns": {"referred_by": "null"}},
        ],
    )
    await back_up_and_erase(store, slice_of(ANN), vault)
    assert await db.rows("bills") == [(1, None), (2, "123")]
    assert await db.rows("people") == [("123", None)]


async def test_partitioned_tables_and_tables_without_a_key_are_erased(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE events (day date, id int, worker text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
        CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
        INSERT INTO events VALUES ('2024-01-05', 1, 'w-12'), ('2024-02-05', 1, 'w-12'), ('2024-02-05', 2, 'w-123');
        CREATE TABLE links (worker text, job int);
        INSERT INTO links VALUES ('w-12', 1), ('w-12', 1), ('w-12', NULL), ('w-123', 1);
        """
    )
    store = db.store(
        delete=[{"table": "links", "by": "worker", "holds": "worker_id"}],
        mask=[{"table": "events", "by": "worker", "holds": "worker_id", "columns": {"worker": "token"}}],
    )
    part = slice_of(ANN)
    await store.back_up(part, vault)
    await db.run("INSERT INTO links VALUES ('w-12', 1)")
    erased = tallies(await store.erase(part, vault))
    assert erased == {"events": Tally(2, 2), "links": Tally(4, 4)}
    assert await db.rows("links") == [("w-123", 1)]
    assert [row[2] for row in await db.rows("events")] == [vault.masker.token("w-12")] * 2 + ["w-123"]
    assert await later(vault) == [("links", {"worker": "w-12", "job": "1"})]


async def test_rows_that_a_cascade_would_take_without_a_pre_image_stop_the_slice(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await filled.run(
        """
        CREATE TABLE shifts (id int PRIMARY KEY, who text,
                             job int CONSTRAINT shift_job REFERENCES jobs ON DELETE CASCADE);
        INSERT INTO shifts VALUES (1, '12', 1), (2, NULL, 2);
        """
    )
    shifts, jobs = {"table": "shifts", "by": "who"}, {"table": "jobs", "by": "contributor_id"}
    store, part = filled.store(delete=[shifts, jobs]), slice_of(ANN)
    await store.back_up(part, vault)
    with pytest.raises(CriticalError, match="shift_job"):
        await store.erase(part, vault)
    assert len(await filled.rows("shifts")) == 2
    await filled.run("UPDATE shifts SET who = '12'")
    await store.erase(part, vault)
    assert (await filled.rows("shifts"), await filled.rows("jobs")) == ([], ROWS["jobs"][2:])


async def test_a_trigger_may_touch_the_parent_but_not_keep_rows(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await filled.run(
        f"""
        CREATE FUNCTION recount() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE {filled.schema}.contributors SET name = name || '!' WHERE id = OLD.contributor_id;
            RETURN NULL; END $$;
        CREATE TRIGGER recount AFTER DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION recount();
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER keep BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION keep();
        """
    )
    store, part, before = filled.store(), slice_of(ANN), await filled.everything()
    await store.back_up(part, vault)
    with pytest.raises(CriticalError, match="tickets: a trigger or rule kept 1 row"):
        await store.erase(part, vault)
    assert await filled.everything() == before
    await filled.run("DROP TRIGGER keep ON tickets")
    await store.erase(part, vault)
    assert await filled.rows("contributors") == sorted(ROWS["contributors"][1:])


async def test_thousands_of_rows_pass_in_pages(
    db: Database, slice_of: SliceOf, vault: BatchVault, beats: list[tuple[str, int]]
) -> None:
    await db.run(
        """
        CREATE TABLE bills (id int PRIMARY KEY, payer text, email text, name text);
        INSERT INTO bills SELECT n, 'c' || n % 1000, n || '@x.io', 'Name ' || n FROM generate_series(1, 6000) AS n;
        CREATE INDEX ON bills (payer);
        """
    )
    columns = {"payer": "token", "email": "token", "name": "constant"}
    store = db.store(mask=[{"table": "bills", "by": "payer", "columns": columns}])
    part = slice_of(*(Contributor(f"c{number}") for number in range(500)))
    erased = await back_up_and_erase(store, part, vault)
    assert erased["bills"] == Tally(3000, 3000)
    rows = await db.rows("bills")
    token = vault.masker.token
    assert all(
        row[1:] == (token(f"c{row[0] % 1000}"), token(f"{row[0]}@x.io"), "DELETED_USER")
        if row[0] % 1000 < 500
        else row[1:] == (f"c{row[0] % 1000}", f"{row[0]}@x.io", f"Name {row[0]}")
        for row in rows
    )
    assert len(beats) >= 6


async def test_the_probe_finds_nothing_wrong_with_a_data_map_that_fits(filled: Database) -> None:
    await filled.run(
        "CREATE INDEX ON payments (payee); CREATE INDEX ON audit (worker);"
        "CREATE INDEX ON tickets (lower(btrim(email, E' \\t\\n\\r\\f\\x0b')))"
    )
    health = await filled.store().probe()
    assert health.version.startswith("18")
    assert health.places == sorted(filled.place(table) for table in ROWS)
    assert health.problems == []
    assert health.warnings == []
    [tickets] = health.notes
    assert tickets.place == filled.place("tickets.email")
    await filled.pool.execute(tickets.remedy)
    assert (await filled.store().probe()).notes == []


MISFITS = """
    CREATE TABLE people (id text PRIMARY KEY, email text NOT NULL UNIQUE, code varchar(30), born date,
                         initial text GENERATED ALWAYS AS (left(email, 1)) STORED, tags text[], nick text, doc jsonb,
                         codes varchar(9)[], size smallint, number int);
    CREATE UNIQUE INDEX one_nick ON people (lower(nick));
    CREATE TABLE jobs (id int PRIMARY KEY, owner text CONSTRAINT job_owner REFERENCES people);
    CREATE TABLE shifts (id int PRIMARY KEY, owner text CONSTRAINT shift_owner REFERENCES people ON DELETE CASCADE);
    CREATE TABLE badges (id int PRIMARY KEY, owner text CONSTRAINT badge_owner REFERENCES people ON DELETE SET NULL);
    CREATE TABLE loose (owner text, note text CHECK (note <> 'DELETED_USER'));
    CREATE TABLE base (id text PRIMARY KEY); CREATE TABLE heir (extra text) INHERITS (base);
    CREATE VIEW seen AS SELECT * FROM people;
"""


@pytest.mark.parametrize(
    ("entries", "places", "words"),
    [
        ({"delete": [("nowhere", "id")]}, ["nowhere"], "no such table"),
        ({"delete": [("loose", "nobody")]}, ["loose.nobody"], "no such column"),
        ({"delete": [("seen", "id")]}, ["seen"], "view"),
        ({"delete": [("base", "id")]}, ["base"], "inherit"),
        (
            {"delete": [("people", "id")]},
            ["badges", "jobs", "shifts"],
            "badge_owner job_owner shift_owner would refuse",
        ),
        (
            {"delete": [("shifts", "owner"), ("badges", "owner"), ("people", "id"), ("jobs", "owner")]},
            ["jobs"],
            "job_owner",
        ),
        ({"mask": [("people", "born", {"nick": "token"})]}, ["people.born"], "cannot be compared"),
        ({"mask": [("people", "doc", {"nick": "token"})]}, ["people.doc"], "cannot be compared path in JSON"),
        ({"mask": [("people", "id", {"doc": "token"})]}, ["people.doc"], "is of type jsonb Name a path in it"),
        ({"mask": [("people", "id", {"nick.x": "token"})]}, ["people.nick.x"], "no such column"),
        ({"mask": [("people", "id", {"codes": "token"})]}, ["people.codes"], "too narrow 39"),
        ({"mask": [("people", "id", {"size": "token", "number": "constant"})]}, ["people.number"], "cannot hold"),
        ({"mask": [("people", "id", {"nobody": "token"})]}, ["people.nobody"], "no such column"),
        ({"mask": [("people", "id", {"email": "null"})]}, ["people.email"], "NOT NULL"),
        ({"mask": [("people", "id", {"email": "constant"})]}, ["people.email"], "unique index people_email_key"),
        ({"mask": [("people", "id", {"nick": "constant"})]}, ["people.nick"], "unique index one_nick"),
        ({"mask": [("people", "id", {"code": "token"})]}, ["people.code"], "too narrow 39"),
        ({"mask": [("people", "id", {"born": "constant"})]}, ["people.born"], "date"),
        ({"mask": [("people", "id", {"initial": "token"})]}, ["people.initial"], "generated"),
        ({"mask": [("people", "id", {"id": "token"})]}, ["people.id"], "badge_owner job_owner shift_owner"),
        ({"mask": [("jobs", "owner", {"owner": "token"})]}, ["jobs.owner"], "job_owner"),
        ({"mask": [("loose", "owner", {"owner": "token"})]}, ["loose"], "primary key"),
    ],
)
async def test_the_probe_names_what_does_not_fit_and_no_verb_starts(
    db: Database,
    slice_of: SliceOf,
    entries: dict[str, list[tuple[Any, ...]]],
    places: list[str],
    words: str,
) -> None:
    await db.run(MISFITS)
    named: dict[str, Any] = {
        verb: [{"table": table, "by": by, **({"columns": rest[0]} if rest else {})} for table, by, *rest in listed]
        for verb, listed in entries.items()
    }
    store = db.store(**named)
    health = await store.probe()
    assert sorted({finding.place for finding in health.problems}) == [db.place(place) for place in places]
    assert all(word in " ".join(map(str, health.problems)) for word in words.split())
    with pytest.raises(CriticalError):
        await store.preview(slice_of(ANN))


async def test_the_probe_warns_of_checks_and_notes_missing_indices(db: Database) -> None:
    await db.run(MISFITS)
    await db.run("ALTER TABLE loose ADD id int PRIMARY KEY")
    store = db.store(
        mask=[{"table": "loose", "by": "owner", "columns": {"note": "constant"}}],
        delete=[{"table": table, "by": "owner"} for table in ("jobs", "shifts", "badges")]
        + [{"table": "people", "by": "id"}],
    )
    health = await store.probe()
    assert health.problems == []
    assert {finding.place for finding in health.warnings} == {
        db.place(place) for place in ("loose.note", "jobs", "shifts", "badges")
    }
    assert {finding.place for finding in health.notes} == {
        db.place(place) for place in ("loose.owner", "jobs.owner", "shifts.owner", "badges.owner")
    }


async def test_each_right_that_a_run_and_its_rollback_need_is_named_and_to_grant_these_is_enough(
    filled: Database, stack: HasEnv, slice_of: SliceOf, vault: BatchVault
) -> None:
    """With numbered and generated columns, a trigger, and a foreign key to a table that is not mapped."""
    role = f"r_{secrets.token_hex(6)}"
    await filled.run(
        f"""
        CREATE ROLE {role};
        CREATE TABLE projects (id int PRIMARY KEY); INSERT INTO projects VALUES (1);
        ALTER TABLE jobs ADD project int NOT NULL DEFAULT 1 REFERENCES projects, ADD serial serial,
            ADD number int GENERATED ALWAYS AS IDENTITY, ADD twice int GENERATED ALWAYS AS (id * 2) STORED;
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'x'; RETURN NEW; END $$;
        CREATE TRIGGER stamp BEFORE INSERT ON contributors FOR EACH ROW EXECUTE FUNCTION stamp();
        ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
        """
    )
    before = {table: await filled.rows(table) for table in ("jobs", "contributors", "payments", "audit")}
    dsn = stack.env["ERASURE_POSTGRES__DSN"]
    try:
        async with asyncpg.create_pool(dsn, min_size=0, server_settings={"role": role}) as pool:
            store = filled.store(pool)
            with pytest.raises(CriticalError, match="a right is missing"):
                await store.back_up(slice_of(ANN), vault)
            granted: list[str] = []
            while remedies := [each.remedy for each in (await store.probe()).problems if "GRANT" in each.remedy]:
                assert not set(remedies) & set(granted)
                granted += remedies
                await filled.run("; ".join(f"{remedy} TO {role}" for remedy in dict.fromkeys(remedies)))
            assert [(each.place, each.what) for each in (await store.probe()).problems] == [
                (filled.place("tickets"), "row-level security hides rows from this role")
            ]
            with pytest.raises(CriticalError, match="row-level security"):
                await store.preview(slice_of(ANN))
            await filled.run("ALTER TABLE tickets DISABLE ROW LEVEL SECURITY")
            assert (await store.probe()).problems == []
            await back_up_and_erase(store, slice_of(ANN, BOB), vault)
            assert (await store.restore(slice_of(ANN, BOB), vault)).warnings == []
        assert {table: await filled.rows(table) for table in before} == before
        kinds = {" ".join(remedy.split()[1:2]) for remedy in granted}
        assert kinds == {"USAGE", "SELECT", "UPDATE", "DELETE", "INSERT"}
        assert f'GRANT SELECT ON "{filled.schema}"."projects"' in granted
        assert not [remedy for remedy in granted if "projects" in remedy and "SELECT" not in remedy]
    finally:
        await filled.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_probe_refuses_a_read_only_server(filled: Database, stack: HasEnv, slice_of: SliceOf) -> None:
    async with asyncpg.create_pool(
        stack.env["ERASURE_POSTGRES__DSN"], min_size=0, server_settings={"default_transaction_read_only": "on"}
    ) as pool:
        health = await filled.store(pool).probe()
        assert [finding.what for finding in health.problems] == ["the server is read-only"]
        with pytest.raises(TransientError, match="read-only"):
            await filled.store(pool).preview(slice_of())


@pytest.mark.parametrize(
    ("dsn", "kind", "words"),
    [
        ("postgresql://eve@127.0.0.1:1/x", TransientError, "cannot be reached: connection refused"),
        ("mysql://eve@127.0.0.1:1/x", CriticalError, "ERASURE_POSTGRES__DSN"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_told_in_our_words(
    db: Database, dsn: str, kind: type[ErasureError], words: str
) -> None:
    async with connect(PostgresSettings(dsn=SecretStr(dsn))) as pool:
        with pytest.raises(kind, match=words) as failure:
            await db.store(pool, delete=[{"table": "t", "by": "id"}]).probe()
    assert "eve" not in str(failure.value)


async def test_a_missing_database_is_critical(db: Database, stack: HasEnv) -> None:
    async with asyncpg.create_pool(stack.env["ERASURE_POSTGRES__DSN"], database="nowhere", min_size=0) as pool:
        with pytest.raises(CriticalError, match="no such database"):
            await db.store(pool, delete=[{"table": "t", "by": "id"}]).probe()


@pytest.mark.parametrize(
    ("sql", "kind", "words"),
    [
        ("INSERT INTO jobs VALUES (1, 'ann@x.io')", CriticalError, "jobs: constraint jobs_pkey"),
        ("INSERT INTO jobs VALUES (9, 'ann@x.io')", CriticalError, "jobs: constraint jobs_contributor_id_fkey"),
        ("UPDATE jobs SET contributor_id = NULL", CriticalError, "jobs: constraint NOT NULL of contributor_id"),
        ("UPDATE payments SET name = 'ann@x.io, who is far too long'", CriticalError, "too narrow"),
        ("UPDATE jobs SET id = 'ann@x.io'::text", CriticalError, "type cannot hold"),
        ('SELECT "ann@x.io" FROM jobs', CriticalError, "a column is not there"),
        ('SELECT FROM "ann@x.io"', CriticalError, "a table is not there"),
        ("SELECT 'ann@x.io'::int", CriticalError, "unexpected asyncpg"),
        ("DO $$ BEGIN RAISE EXCEPTION 'ann@x.io'; END $$", CriticalError, "a trigger"),
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(5), 'ann@x.io'", TransientError, "cancelled"),
        ("SELECT pg_terminate_backend(pg_backend_pid()), 'ann@x.io'", TransientError, "connection is closed"),
        ("SET LOCAL lock_timeout = 20; SELECT 'ann@x.io' FROM tickets FOR UPDATE", TransientError, "locked"),
    ],
)
async def test_the_servers_errors_are_told_without_a_value(
    filled: Database, sql: str, kind: type[ErasureError], words: str
) -> None:
    async with filled.pool.acquire() as other, other.transaction():
        await other.execute(f"SELECT FROM {filled.schema}.tickets FOR UPDATE")
        with pytest.raises(kind, match=words) as failure, translated("postgres", translate):
            await filled.run(sql)
    assert "ann@x.io" not in str(failure.value)
    assert failure.value.__cause__ is None


async def test_a_deadlock_is_transient(filled: Database) -> None:
    async def lock(tables: list[str], ready: asyncio.Barrier) -> None:
        async with filled.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '10ms'")
            for table in tables:
                await connection.execute(f"LOCK TABLE {filled.schema}.{table}")
                if table == tables[0]:
                    await ready.wait()

    ready = asyncio.Barrier(2)
    both = [lock(["jobs", "audit"], ready), lock(["audit", "jobs"], ready)]
    failures = [failure for failure in await asyncio.gather(*both, return_exceptions=True) if failure]
    assert [str(translate(failure)) for failure in failures if isinstance(failure, Exception)] == [
        "postgres: a deadlock with another transaction. It is tried again."
    ]


@pytest.mark.parametrize(
    ("table_map", "words"),
    [
        ({}, "names no table"),
        ({"delete": [{"table": "people", "by": "id"}]}, "name schema and table"),
        ({"delete": [{"table": "a.b", "by": "id", "holds": "phone"}]}, "worker_id"),
        ({"delete": [{"table": "a.b", "by": "id"}, {"table": '"a"."b"', "by": "id"}]}, "named twice"),
        ({"mask": [{"table": "a.b", "by": "id", "columns": {}}]}, "at least 1"),
        ({"mask": [{"table": "a.b", "by": "id", "columns": {"x": "remove"}}]}, "not for columns"),
        ({"mask": [{"table": "a.b", "by": "id", "columns": {"x": "text"}}]}, "not for columns"),
        (
            {
                "mask": [
                    {"table": "a.b", "by": by, "columns": {"x": mask}} for by, mask in (("x", "token"), ("y", "null"))
                ]
            },
            "two different ways",
        ),
    ],
)
def test_a_data_map_that_cannot_be_done_is_refused(table_map: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        KIND.data_map.model_validate(table_map)
