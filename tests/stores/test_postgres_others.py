"""What others write before and after an erasure in PostgreSQL stays theirs, on the real server."""

from __future__ import annotations

import pytest

from activities.contract import Recovery
from activities.errors import CriticalError
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
