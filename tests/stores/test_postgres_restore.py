"""The rollback in PostgreSQL, on the real server: every row as it was, and nothing that others wrote is lost."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from activities.contract import Contributor, Purged, Recovery, Restored
from activities.errors import CriticalError, TransientError
from activities.vault import BatchVault
from devstack.platform.postgres import SCHEMA
from tests.bench import HasEnv
from tests.stores.postgres_schema import ANN, BOB, EXACT, ROWS, Database, SliceOf, back_up_and_erase

COUNTS = {"payments": 3, "tickets": 1, "audit": 2, "jobs": 3, "contributors": 2}


def recoveries(restored: Restored) -> dict[str, Recovery]:
    """The counts by table, without the schema; each of which must add up."""
    for recovery in restored.places.values():
        assert recovery.found == recovery.restored + recovery.intact + recovery.conflicted
    return {place.partition(".")[2]: recovery for place, recovery in restored.places.items()}


def all_restored(counts: dict[str, int]) -> dict[str, Recovery]:
    return {table: Recovery(count, restored=count) for table, count in counts.items()}


def all_intact(counts: dict[str, int]) -> dict[str, Recovery]:
    return {table: Recovery(count, intact=count) for table, count in counts.items()}


def conflicts(restored: Restored) -> dict[str, str]:
    return {finding.place.partition(".")[2]: finding.what.split()[0] for finding in restored.warnings}


async def dump(db: Database) -> dict[str, list[str]]:
    """Every table of the schema, each row as the server writes it."""
    tables = await db.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1", db.schema)
    return {
        name: [row[0] for row in await db.pool.fetch(f'SELECT t::text FROM {db.schema}."{name}" AS t ORDER BY 1')]
        for (name,) in tables
    }


async def test_everything_is_as_it_was_and_a_second_rollback_finds_it_intact(
    filled: Database, slice_of: SliceOf, vault: BatchVault, beats: list[tuple[str, int]]
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await dump(filled)
    await back_up_and_erase(store, part, vault)
    assert await dump(filled) != before
    beats.clear()
    first = await store.restore(part, vault)
    assert await dump(filled) == before
    assert recoveries(first) == all_restored(COUNTS)
    assert first.warnings == []
    assert {place.partition(".")[2] for place, _ in beats} == set(ROWS)
    second = await store.restore(part, vault)
    assert recoveries(second) == all_intact(COUNTS)
    assert await dump(filled) == before
    assert (await store.preview(part)).records == sum(COUNTS.values())


async def test_after_a_rollback_the_slice_can_be_erased_and_rolled_back_again(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await dump(filled)
    await back_up_and_erase(store, part, vault)
    erased = await dump(filled)
    await store.restore(part, vault)
    await store.erase(part, vault)
    assert await dump(filled) == erased
    assert recoveries(await store.restore(part, vault)) == all_restored(COUNTS)
    assert await dump(filled) == before


async def test_what_was_backed_up_and_never_erased_is_intact(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await dump(filled)
    await store.back_up(part, vault)
    assert recoveries(await store.restore(part, vault)) == all_intact(COUNTS)
    assert await dump(filled) == before


async def test_without_a_back_up_nothing_was_touched(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    assert await filled.store().restore(slice_of(ANN), vault) == Restored()


async def test_nothing_is_left_to_purge(filled: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    before = await dump(filled)
    await back_up_and_erase(filled.store(), slice_of(ANN), vault)
    after = await dump(filled)
    assert await filled.store().purge(slice_of(ANN), vault) == Purged()
    assert after.keys() == before.keys()
    assert await dump(filled) == after


async def test_an_erasure_that_was_cut_is_rolled_back_as_far_as_it_came(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """A row that a cut attempt kept besides is intact, and one that only half the data map reached comes back."""
    store, part = filled.store(), slice_of(ANN, BOB)
    await store.back_up(part, vault)
    await filled.run("INSERT INTO jobs VALUES (9, '12')")
    before = await dump(filled)
    await filled.run("CREATE TABLE badges (owner text REFERENCES contributors); INSERT INTO badges VALUES ('12')")
    with pytest.raises(CriticalError):
        await store.erase(part, vault)
    await filled.run("DROP TABLE badges")
    half = filled.store(delete=[{"table": "jobs", "by": "contributor_id"}])
    await half.erase(part, vault)
    restored = recoveries(await store.restore(part, vault))
    assert restored["jobs"] == Recovery(4, restored=4)
    assert restored["contributors"] == Recovery(2, intact=2)
    assert await dump(filled) == before


async def test_a_lost_or_foreign_pre_image_stops_before_anything_is_written(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(), slice_of(ANN)
    await back_up_and_erase(store, part, vault)
    after = await dump(filled)
    receipt = await vault.receipt("pre-image/postgres/000000")
    assert receipt is not None
    await vault.put_sealed(f"pre-image/postgres/000000/{receipt.parts[0].key}", b'{"p": "x", "r": {}}\n')
    with pytest.raises(CriticalError, match="not what was written"):
        await store.restore(part, vault)
    assert await dump(filled) == after


async def test_the_platform_comes_back_with_its_numbers(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    """Identity columns get their numbers back, and the sequences go on where they were."""
    await db.run(SCHEMA.format(schema=db.schema))
    await db.run(
        """
        INSERT INTO contributors (id, email, worker_id, full_name, country, status, created_at)
        SELECT n, n || '@x.io', 'w-' || n, 'Name', 'XX', 'ACTIVE', '2024-02-29 23:59:59.123456+05'
        FROM generate_series(1, 20) AS n;
        INSERT INTO jobs (title, project, secret) VALUES ('a', 'b', 'c');
        INSERT INTO job_mappings (job_id, contributor_id, state, assigned_at)
        SELECT j.id, n, '', now() FROM jobs j, generate_series(1, 20) AS n;
        INSERT INTO contributor_devices (contributor_id, fingerprint, ip, seen_at)
        SELECT n, '', '10.0.0.1', now() FROM generate_series(1, 20) AS n;
        INSERT INTO payments (contributor_id, payee_email, payee_name, payee_iban, amount, currency, paid_at)
        SELECT n, n || '@x.io', '', NULLIF(n, 3), 1.50, 'EUR', now() FROM generate_series(1, 20) AS n;
        INSERT INTO support_tickets (requester_email, requester_name, subject, body)
        SELECT n || '@X.io ', 'Name', '', E'\\\\ "x", \t{}\n' FROM generate_series(1, 20) AS n;
        INSERT INTO audit_log (at, actor_worker_id, actor_ip, action, details)
        SELECT now(), 'w-' || n, '10.0.0.0/8', '', '' FROM generate_series(1, 20) AS n;
        """
    )
    store = db.store(
        delete=[
            {"table": "job_mappings", "by": "contributor_id"},
            {"table": "contributor_devices", "by": "contributor_id"},
            {"table": "contributors", "by": "id"},
        ],
        mask=[
            {
                "table": "payments",
                "by": "contributor_id",
                "columns": {
                    "contributor_id": "token",
                    "payee_email": "token",
                    "payee_name": "constant",
                    "payee_iban": "null",
                },
            },
            {
                "table": "support_tickets",
                "by": "requester_email",
                "holds": "email",
                "columns": {"requester_email": "token", "requester_name": "constant", "body": "constant"},
            },
            {
                "table": "audit_log",
                "by": "actor_worker_id",
                "holds": "worker_id",
                "columns": {"actor_worker_id": "token", "actor_ip": "null"},
            },
        ],
    )
    part = slice_of(*(Contributor(str(n), (f"{n}@x.io",), (f"w-{n}",)) for n in range(1, 11)))
    before = await dump(db)
    await back_up_and_erase(store, part, vault)
    restored = await store.restore(part, vault)
    assert await dump(db) == before
    assert restored.total == Recovery(60, restored=60)
    await db.run(
        "INSERT INTO job_mappings (job_id, contributor_id, state, assigned_at) SELECT id, '1', '', now() FROM jobs"
    )
    assert await db.pool.fetchval(f"SELECT max(id) FROM {db.place('job_mappings')}") == 21


async def test_every_type_comes_back_exactly(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run(EXACT)
    await db.run(
        """
        ALTER TABLE exact ADD number_always int GENERATED ALWAYS AS IDENTITY, ADD empty text DEFAULT '',
            ADD bits bit(3) DEFAULT B'101', ADD nested int[] DEFAULT '{{1,2},{3,4}}', ADD pairs pair[];
        UPDATE exact SET pairs = ARRAY[ROW(1, NULL), NULL]::pair[], word = E'a\\\\b\t"\n';
        """
    )
    before, part = await dump(db), slice_of(ANN)
    deleting = db.store(delete=[{"table": "exact", "by": "worker", "holds": "worker_id"}])
    await back_up_and_erase(deleting, part, vault)
    assert (await deleting.restore(part, vault)).total == Recovery(1, restored=1)
    assert await dump(db) == before
    assert (await deleting.restore(part, vault)).total == Recovery(1, intact=1)


async def test_masked_columns_of_every_type_come_back_exactly(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(EXACT)
    before, part = await dump(db), slice_of(ANN)
    nulls = ["number", "real", "flag", "at", "day", "span", "raw", "doc", "plain", "list", "range", "ip", "mood"]
    nulls += ["pair", "fixed", "money"]
    columns = {"worker": "token", "word": "constant", "nothing": "token", **dict.fromkeys(nulls, "null")}
    store = db.store(mask=[{"table": "exact", "by": "worker", "holds": "worker_id", "columns": columns}])
    await back_up_and_erase(store, part, vault)
    assert await dump(db) != before
    assert (await store.restore(part, vault)).total == Recovery(1, restored=1)
    assert await dump(db) == before


async def test_what_others_wrote_since_is_kept_and_reported(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, token = filled.store(), slice_of(ANN, BOB), vault.masker.token
    await back_up_and_erase(store, part, vault)
    await filled.run(
        """
        UPDATE payments SET amount = 11 WHERE id = 1;           -- never ours: stays, and is no conflict
        UPDATE payments SET name = 'new' WHERE id = 2;          -- masked by us, changed since
        DELETE FROM payments WHERE id = 3;                      -- masked by us, gone since
        INSERT INTO contributors VALUES ('12', 'Ann@x.io', 'Ann');   -- made anew, as it was
        INSERT INTO contributors VALUES ('new', 'bob@x.io', 'Bob');  -- has taken Bob's address
        INSERT INTO jobs VALUES (1, '123');                          -- made anew, with other content
        """
    )
    restored = await store.restore(part, vault)
    assert recoveries(restored) == {
        "payments": Recovery(3, restored=1, conflicted=2),
        "tickets": Recovery(1, restored=1),
        "audit": Recovery(2, restored=2),
        "contributors": Recovery(2, intact=1, conflicted=1),
        "jobs": Recovery(3, restored=1, conflicted=2),  # the third belongs to Bob, who cannot come back
    }
    assert conflicts(restored) == {"payments": "2", "contributors": "1", "jobs": "2"}
    assert not re.search(r"ann|bob|12|@", " ".join(map(str, restored.warnings)).replace(filled.schema, ""))
    assert await filled.rows("payments") == [
        (1, "12", "ann@x.io", "Ann", "IBAN 1", 11),
        (2, "12", "Ann@x.io", "new", None, 20),
        *ROWS["payments"][3:],
    ]
    assert await filled.rows("jobs") == [(1, "123"), (2, "12"), (4, "123")]
    assert [row[0] for row in await filled.rows("contributors")] == ["12", "123", "new"]
    after = await dump(filled)
    assert (await store.restore(part, vault)).total == Recovery(11, intact=6, conflicted=5)
    assert await dump(filled) == after
    assert token("12") not in str(after)


async def test_a_masked_value_that_another_row_has_taken_stays_masked(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE logins (id int PRIMARY KEY, email text, active boolean DEFAULT true);
        CREATE UNIQUE INDEX ON logins (lower(email)) WHERE active;
        INSERT INTO logins VALUES (1, 'ann@x.io'), (2, 'bob@x.io');
        """
    )
    store = db.store(mask=[{"table": "logins", "by": "email", "holds": "email", "columns": {"email": "token"}}])
    part = slice_of(ANN, BOB)
    await back_up_and_erase(store, part, vault)
    await db.run("INSERT INTO logins VALUES (3, 'ANN@x.io', true), (4, 'bob@x.io', false)")
    restored = await store.restore(part, vault)
    assert restored.total == Recovery(2, restored=1, conflicted=1)
    assert [row[1] for row in await db.rows("logins")] == [
        vault.masker.token("ann@x.io"),
        "bob@x.io",
        "ANN@x.io",
        "bob@x.io",
    ]


async def test_a_masked_key_comes_back(db: Database, slice_of: SliceOf, vault: BatchVault) -> None:
    await db.run("CREATE TABLE news (email text PRIMARY KEY, n int); INSERT INTO news VALUES ('ann@x.io', 1)")
    store = db.store(mask=[{"table": "news", "by": "email", "holds": "email", "columns": {"email": "token"}}])
    await back_up_and_erase(store, slice_of(ANN), vault)
    assert await db.rows("news") == [(vault.masker.token("ann@x.io"), 1)]
    assert (await store.restore(slice_of(ANN), vault)).total == Recovery(1, restored=1)
    assert await db.rows("news") == [("ann@x.io", 1)]
    assert (await store.restore(slice_of(ANN), vault)).total == Recovery(1, intact=1)


async def test_the_pre_image_taken_at_the_write_counts_not_the_back_ups(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(), slice_of(ANN, BOB)
    await store.back_up(part, vault)
    await filled.run(
        """
        INSERT INTO jobs VALUES (9, '12');
        UPDATE contributors SET name = 'Anna' WHERE id = '12';
        UPDATE payments SET amount = 99, iban = NULL, email = 'ann2@x.io' WHERE id = 1;
        """
    )
    before = await dump(filled)
    await store.erase(part, vault)
    assert recoveries(await store.restore(part, vault)) == all_restored({**COUNTS, "jobs": 4})
    assert await dump(filled) == before


async def test_a_row_that_was_erased_twice_gets_back_what_each_erasure_took(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """The second pre-image holds masks of the first writing; their values are in the first pre-image."""
    owned = {"table": "tickets", "by": "id", "columns": {"email": "token", "body": "constant"}}
    store, part = filled.store(mask=[owned], delete=[{"table": "audit", "by": "id"}]), slice_of(Contributor("1"))
    await back_up_and_erase(store, part, vault)
    await filled.run(
        "UPDATE tickets SET body = 'written since' WHERE id = 1; INSERT INTO audit VALUES (1, 'since', NULL)"
    )
    await store.erase(part, vault)
    assert (await store.restore(part, vault)).total == Recovery(2, restored=2)
    assert (await filled.rows("tickets"))[0] == (1, " ANN@X.io\t", "written since")
    assert (await filled.rows("audit"))[0] == (1, "since", None)


async def test_two_slices_that_share_rows_are_both_rolled_back(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store = filled.store(
        mask=[
            {"table": "payments", "by": "payee", "columns": {"name": "constant"}},
            {"table": "payments", "by": "email", "holds": "email", "columns": {"email": "token"}},
        ]
    )
    one, two = slice_of(Contributor("12")), slice_of(Contributor("x", ("ANN@x.io",)))
    object.__setattr__(two, "name", "000001")
    before = await dump(filled)
    for part in (one, two):
        await store.back_up(part, vault)
    for part in (one, two):
        await store.erase(part, vault)
    for part in (two, one):
        assert (await store.restore(part, vault)).total == Recovery(2, restored=2)
    assert await dump(filled) == before


async def test_rows_that_refer_to_each_other_come_back_parents_first(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """Named against the alphabet; in one table a child may stand before its parent."""
    await db.run(
        """
        CREATE TABLE z (id int PRIMARY KEY, who text, boss int REFERENCES z);
        CREATE TABLE y (id int PRIMARY KEY, who text, z int NOT NULL REFERENCES z ON DELETE CASCADE);
        CREATE TABLE a (id int PRIMARY KEY, who text, y int NOT NULL REFERENCES y);
        CREATE TABLE n (id int PRIMARY KEY, z int REFERENCES z ON DELETE SET NULL, note text);
        INSERT INTO z VALUES (3, '12', NULL), (2, '12', 3), (1, '12', 2), (9, 'x', NULL);
        INSERT INTO y VALUES (1, '12', 1), (2, '12', 2); INSERT INTO a VALUES (1, '12', 1), (2, '12', 2);
        INSERT INTO n VALUES (12, 1, 'n'), (13, 9, 'n');
        """
    )
    store = db.store(
        delete=[{"table": table, "by": "who"} for table in ("a", "y", "z")],
        mask=[{"table": "n", "by": "id", "columns": {"z": "null"}}],
    )
    before, part = await dump(db), slice_of(ANN)
    await back_up_and_erase(store, part, vault)
    assert [len(rows) for rows in (await dump(db)).values()] == [0, 2, 0, 1]
    restored = await store.restore(part, vault)
    assert await dump(db) == before
    assert restored.total == Recovery(8, restored=8)


async def test_rows_whose_parent_others_removed_stay_away_with_all_that_depends_on_them(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE projects (id int PRIMARY KEY);
        CREATE TABLE tasks (id int PRIMARY KEY, who text, project int REFERENCES projects, after int REFERENCES tasks);
        INSERT INTO projects VALUES (1), (2);
        INSERT INTO tasks VALUES (1, '12', 1, NULL), (2, '12', 2, 1), (3, '12', 2, 2), (4, '12', 2, NULL);
        """
    )
    store, part = db.store(delete=[{"table": "tasks", "by": "who"}]), slice_of(ANN)
    await back_up_and_erase(store, part, vault)
    await db.run("DELETE FROM projects WHERE id = 1")
    restored = await store.restore(part, vault)
    assert restored.total == Recovery(4, restored=1, conflicted=3)
    assert await db.rows("tasks") == [(4, "12", 2, None)]


async def test_rows_without_a_key_come_back_as_often_as_they_were(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE links (worker text, job int);
        INSERT INTO links VALUES ('w-12', 1), ('w-12', 1), ('w-12', 1), ('w-12', NULL), ('w-123', 1);
        """
    )
    store, part = db.store(delete=[{"table": "links", "by": "worker", "holds": "worker_id"}]), slice_of(ANN)
    before = await dump(db)
    await back_up_and_erase(store, part, vault)
    await db.run("INSERT INTO links VALUES ('w-12', 1)")
    assert (await store.restore(part, vault)).total == Recovery(4, restored=3, intact=1)
    assert await dump(db) == before
    assert (await store.restore(part, vault)).total == Recovery(4, intact=4)
    assert await dump(db) == before


async def test_partitioned_rows_come_back_to_their_partitions(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE events (day date, id int, worker text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
        CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
        INSERT INTO events VALUES ('2024-01-05', 1, 'w-12'), ('2024-02-05', 1, 'w-12'), ('2024-02-05', 2, 'w-123');
        """
    )
    before, part = await dump(db), slice_of(ANN)
    entry = {"table": "events", "by": "worker", "holds": "worker_id"}
    masking, deleting = db.store(mask=[{**entry, "columns": {"worker": "token"}}]), db.store(delete=[entry])
    await back_up_and_erase(masking, part, vault)
    assert (await masking.restore(part, vault)).total == Recovery(2, restored=2)
    assert await dump(db) == before
    object.__setattr__(part, "name", "000001")
    await back_up_and_erase(deleting, part, vault)
    assert len(await db.rows("events")) == 1
    assert (await deleting.restore(part, vault)).total == Recovery(2, restored=2)
    assert await dump(db) == before


async def test_counters_kept_by_triggers_are_right_and_rows_are_exact(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """A counter elsewhere was lowered by the deletion and is raised again; the one in a row that came back is exact."""
    await filled.run(
        f"""
        CREATE TABLE totals (id int PRIMARY KEY, jobs int); INSERT INTO totals VALUES (1, 4);
        ALTER TABLE contributors ADD jobs int NOT NULL DEFAULT 2;
        CREATE FUNCTION recount() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE step int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END; BEGIN
            UPDATE {filled.schema}.totals SET jobs = jobs + step;
            UPDATE {filled.schema}.contributors SET jobs = jobs + step
                WHERE id = CASE TG_OP WHEN 'INSERT' THEN NEW.contributor_id ELSE OLD.contributor_id END;
            RETURN NULL; END $$;
        CREATE TRIGGER recount AFTER INSERT OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION recount();
        """
    )
    store, part, before = filled.store(), slice_of(ANN, BOB), await dump(filled)
    await back_up_and_erase(store, part, vault)
    restored = await store.restore(part, vault)
    assert await dump(filled) == before
    assert restored.warnings == []


async def test_what_a_trigger_changed_or_kept_out_is_reported(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(), slice_of(ANN, BOB)
    await back_up_and_erase(store, part, vault)
    await filled.run(
        """
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'Changed'; RETURN NEW; END $$;
        CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON contributors FOR EACH ROW EXECUTE FUNCTION shout();
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := 0; RETURN NEW; END $$;
        CREATE TRIGGER stamp BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION keep();
        CREATE TRIGGER keep BEFORE INSERT ON jobs FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION keep();
        """
    )
    restored = await store.restore(part, vault)
    whats = sorted((finding.place.partition(".")[2], finding.what.split(" rows")[0]) for finding in restored.warnings)
    assert whats == [
        ("contributors", "a trigger changed 2"),
        ("jobs", "1"),
        ("payments", "a trigger changed 3"),
        ("tickets", "1"),
        ("tickets", "a trigger changed 1"),
    ]
    assert recoveries(restored)["jobs"] == Recovery(3, restored=2, conflicted=1)
    assert recoveries(restored)["tickets"] == Recovery(1, conflicted=1)
    assert recoveries(restored)["payments"] == Recovery(3, restored=3)


async def test_a_table_that_is_masked_and_deleted_from_comes_back(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE "Messages.all" (id int PRIMARY KEY, sender text, recipient text);
        INSERT INTO "Messages.all" VALUES (1, '12', 'x'), (2, 'x', '12'), (3, '12', '12'), (4, 'x', 'x');
        """
    )
    store = db.store(
        delete=[{"table": '"Messages.all"', "by": "sender"}],
        mask=[{"table": '"Messages.all"', "by": "recipient", "columns": {"recipient": "token", "sender": "token"}}],
    )
    before = await dump(db)
    await back_up_and_erase(store, slice_of(ANN), vault)
    assert (await store.restore(slice_of(ANN), vault)).total == Recovery(3, restored=3)
    assert await dump(db) == before


async def test_columns_added_since_get_their_default_and_lost_ones_stop_the_slice(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(), slice_of(ANN)
    await back_up_and_erase(store, part, vault)
    await filled.run("ALTER TABLE jobs ADD state text NOT NULL DEFAULT 'new'; ALTER TABLE audit DROP ip")
    after = await dump(filled)
    with pytest.raises(CriticalError, match="audit: its columns are not those"):
        await store.restore(part, vault)
    assert await dump(filled) == after
    await filled.run("ALTER TABLE audit ADD ip inet")
    assert (await store.restore(part, vault)).warnings == []
    assert (await filled.rows("jobs"))[:2] == [(1, "12", "new"), (2, "12", "new")]
    await filled.run("DROP TABLE jobs")
    with pytest.raises(CriticalError, match="jobs: is not there any more"):
        await store.restore(part, vault)


async def test_a_rollback_that_is_cut_leaves_nothing_half_done(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part, before = filled.store(), slice_of(ANN, BOB), await dump(filled)
    await back_up_and_erase(store, part, vault)
    after = await dump(filled)
    async with filled.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(f"SELECT FROM {filled.schema}.tickets FOR UPDATE")
        blocked = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
        rollback = asyncio.create_task(store.restore(part, vault))
        while not (pids := await filled.pool.fetch(blocked, other.get_server_pid())):  # noqa: ASYNC110 - the server is waited for
            await asyncio.sleep(0.02)
        await filled.pool.execute("SELECT pg_terminate_backend($1)", pids[0]["pid"])
        with pytest.raises(TransientError):
            await rollback
        await transaction.rollback()
    assert await dump(filled) == after
    await asyncio.gather(store.restore(part, vault), store.restore(part, vault))
    assert await dump(filled) == before


async def test_thousands_of_rows_cost_as_many_statements_as_one(
    db: Database, slice_of: SliceOf, vault: BatchVault, stack: HasEnv
) -> None:
    await db.run(
        """
        CREATE TABLE people (id text PRIMARY KEY, email text UNIQUE);
        CREATE TABLE bills (id int PRIMARY KEY, payer text REFERENCES people, email text, name text);
        CREATE INDEX ON bills (payer);
        CREATE TABLE notes (id int PRIMARY KEY, who text, email text UNIQUE, name text);
        INSERT INTO people SELECT 'c' || n, n || '@x.io' FROM generate_series(0, 9999) AS n;
        INSERT INTO bills SELECT n, 'c' || n % 10000, n || '@x.io', 'Name' FROM generate_series(1, 20000) AS n;
        INSERT INTO notes SELECT n, 'c' || n % 10000, n || '@x.io', 'Name' FROM generate_series(1, 20000) AS n;
        """
    )
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    async def count(connection: Any) -> None:
        connection.add_query_logger(note)

    before = await dump(db)
    async with asyncpg.create_pool(stack.env["ERASURE_POSTGRES__DSN"], min_size=0, setup=count) as pool:
        store = db.store(
            pool,
            delete=[{"table": "bills", "by": "payer"}, {"table": "people", "by": "id"}],
            mask=[{"table": "notes", "by": "who", "columns": {"email": "token", "name": "constant"}}],
        )
        part = slice_of(*(Contributor(f"c{number}") for number in range(5000)))
        await back_up_and_erase(store, part, vault)
        await db.run("UPDATE notes SET name = 'since' WHERE id % 2 = 0; UPDATE notes SET email = id || '@y.io'")
        await store.erase(part, vault)
        sent.clear()
        restored = await store.restore(part, vault)
    assert restored.total.found == 25_000
    assert len(sent) < 60  # for three tables
    after = await dump(db)
    assert (after["people"], after["bills"]) == (before["people"], before["bills"])
    assert len(before["notes"]) == len(after["notes"])
    assert not [row for row in after["notes"] if "DELETED_USER" in row]
