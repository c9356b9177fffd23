"""What others write before and after an erasure in PostgreSQL stays theirs, on the real server."""

from __future__ import annotations

import pytest

from activities.contract import Recovery
from activities.errors import CriticalError, TransientError
from activities.vault import BatchVault
from tests.stores.postgres_schema import ANN, BOB, Database, SliceOf


async def test_what_others_removed_before_the_erasure_does_not_come_back(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """Nor what they removed after an attempt at the erasure that was undone; nor rows without a key."""
    await filled.run(
        """
        CREATE TABLE links (worker text, job int); INSERT INTO links VALUES ('w-12', 1), ('w-12', 1), ('w-12', 2);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON jobs FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION refuse();
        """
    )
    store = filled.store(
        delete=[
            {"table": "links", "by": "worker", "holds": "worker_id"},
            {"table": "jobs", "by": "contributor_id"},
            {"table": "contributors", "by": "id"},
        ]
    )
    part = slice_of(ANN, BOB)
    await store.back_up(part, vault)
    await filled.run("DELETE FROM jobs WHERE id = 1; DELETE FROM links WHERE ctid = '(0,1)'")
    with pytest.raises(CriticalError, match="trigger"):
        await store.erase(part, vault)
    await filled.run("ALTER TABLE jobs DISABLE TRIGGER refuse; DELETE FROM jobs WHERE id = 3")
    await filled.run("DELETE FROM contributors WHERE id NOT IN (SELECT contributor_id FROM jobs)")
    before = {table: await filled.rows(table) for table in ("links", "jobs", "contributors")}
    assert (await store.erase(part, vault)).total.changed == 4
    restored = await store.restore(part, vault)
    assert {table: await filled.rows(table) for table in before} == before
    assert restored.places == {
        filled.place("links"): Recovery(3, restored=2, conflicted=1),
        filled.place("jobs"): Recovery(3, restored=1, conflicted=2),
        filled.place("contributors"): Recovery(2, restored=1, conflicted=1),
    }
    assert {finding.place for finding in restored.warnings} == set(restored.places)
    again = await store.restore(part, vault)
    assert (again.total.restored, {table: await filled.rows(table) for table in before}) == (0, before)


async def test_a_null_or_constant_that_others_wrote_is_not_taken_for_our_mask(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    await db.run(
        """
        CREATE TABLE notes (id int PRIMARY KEY, who text, name text, phone text, mail text, n int DEFAULT 0);
        INSERT INTO notes SELECT n, '12', 'Ann', n::text, CASE WHEN n > 5 THEN 'ann@x.io' END
            FROM generate_series(1, 7) AS n;
        """
    )
    columns = {"name": "constant", "phone": "null", "mail": "token"}
    store, part = db.store(mask=[{"table": "notes", "by": "who", "columns": columns}]), slice_of(ANN)
    await store.back_up(part, vault)
    await db.run("UPDATE notes SET name = 'DELETED_USER', phone = NULL WHERE id = 1")  # nothing is left to mask
    await store.erase(part, vault)
    await db.run(
        """
        UPDATE notes SET phone = 'new' WHERE id IN (2, 6); UPDATE notes SET phone = NULL WHERE id IN (2, 6);
        UPDATE notes SET name = 'Bob' WHERE id = 3; UPDATE notes SET name = 'DELETED_USER' WHERE id = 3;
        UPDATE notes SET n = 1 WHERE id = 7;
        """
    )
    restored = await store.restore(part, vault)
    assert restored.total == Recovery(7, restored=4, conflicted=3)
    masked = ("DELETED_USER", None, None, 0)
    assert await db.rows("notes") == [
        (1, "12", *masked),  # theirs before the erasure
        (2, "12", *masked),  # written since: nothing tells whose it is
        (3, "12", *masked),
        (4, "12", "Ann", "4", None, 0),
        (5, "12", "Ann", "5", None, 0),
        (6, "12", "Ann", "6", "ann@x.io", 0),  # the token beside it tells that the row is as the erasure left it
        (7, "12", "Ann", "7", "ann@x.io", 1),
    ]
    assert (await store.restore(part, vault)).total == Recovery(7, intact=4, conflicted=3)


async def test_what_triggers_write_while_rows_are_erased_is_erased_too_and_a_restless_one_stops_the_slice(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """An audit of deletions holds what was deleted; one that is switched off does nothing."""
    await filled.run(
        f"""
        CREATE TABLE trail (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, worker text, old text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO {filled.schema}.trail (worker, old) VALUES (OLD.id, OLD.email); RETURN OLD; END $$;
        CREATE TRIGGER note AFTER DELETE ON contributors FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER off AFTER DELETE ON contributors FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE contributors DISABLE TRIGGER off;
        CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO {filled.schema}.trail (worker, old) VALUES (OLD.worker, OLD.old); RETURN OLD; END $$;
        CREATE TRIGGER restless AFTER UPDATE ON trail FOR EACH ROW EXECUTE FUNCTION again();
        """
    )
    store = filled.store(
        delete=[{"table": "jobs", "by": "contributor_id"}, {"table": "contributors", "by": "id"}],
        mask=[{"table": "trail", "by": "worker", "columns": {"worker": "token", "old": "token"}}],
    )
    part, before = slice_of(ANN), await filled.everything()
    await store.back_up(part, vault)
    with pytest.raises(CriticalError, match="one of note, restless"):
        await store.erase(part, vault)
    assert (await filled.everything(), await filled.rows("trail")) == (before, [])
    await filled.run("DROP TRIGGER restless ON trail")
    erased = await store.erase(part, vault)
    assert {place.partition(".")[2]: tally.changed for place, tally in erased.places.items()} == {
        "trail": 1,
        "jobs": 2,
        "contributors": 1,
    }
    [row] = await filled.rows("trail")
    assert row[1:] == (vault.masker.token("12"), vault.masker.token("Ann@x.io"))
    assert (await store.restore(part, vault)).total == Recovery(4, restored=4)
    assert await filled.everything() == before


async def test_a_lock_that_others_hold_is_waited_for_briefly_and_its_table_is_named(
    filled: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    store, part = filled.store(lock_timeout=0.05), slice_of(ANN)
    await store.back_up(part, vault)
    async with filled.pool.acquire() as other, other.transaction():
        await other.execute(f"SELECT FROM {filled.place('audit')} FOR UPDATE")
        with pytest.raises(TransientError, match=f"^postgres {filled.place('audit')}: is locked"):
            await store.erase(part, vault)
    await store.erase(part, vault)
    after = await filled.everything()
    async with filled.pool.acquire() as other, other.transaction():
        await other.execute(f"LOCK TABLE {filled.place('jobs')} IN SHARE MODE")
        with pytest.raises(TransientError, match=f"^postgres {filled.place('jobs')}: is locked"):
            await store.restore(part, vault)
    assert await filled.everything() == after
