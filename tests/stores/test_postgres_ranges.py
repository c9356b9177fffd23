"""Big tables without an index are read in ranges of their key in PostgreSQL, on the real server."""

from __future__ import annotations

import asyncio
from typing import Any

from activities.contract import Recovery, Tally
from activities.stores.postgres.ranges import Ranges
from activities.vault import BatchVault
from tests.stores.postgres_schema import ANN, Database, SliceOf, back_up_and_erase, tallies

RANGES = Ranges(above=150, rows=7)

# in the order of the key the first row of each range is Ann's, and the last one; in events so is what comes behind
TABLES = """
    CREATE TABLE visits (site text, id int, worker text, email text, note text, PRIMARY KEY (site, id));
    CREATE TABLE events (LIKE visits INCLUDING ALL) PARTITION BY RANGE (site);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('b');
    CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('b') TO ('c');
    CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('c') TO (MAXVALUE);
    CREATE TABLE logs (LIKE visits);
    CREATE TABLE turned (LIKE visits); CREATE UNIQUE INDEX ON turned (site DESC, id);
    CREATE TABLE few (LIKE visits INCLUDING ALL);
    INSERT INTO visits (site, id, note)
        SELECT (ARRAY['a', 'B b', 'b', 'ä,"(', ''])[1 + n % 5], n * 7 % 1000 - 500, 'n ' || n
        FROM generate_series(1, 175) AS n;
    UPDATE visits AS v SET worker = CASE WHEN place % 7 IN (0, 1) THEN 'w-12' ELSE 'w-123' END
        FROM (SELECT site, id, row_number() OVER (ORDER BY site, id) AS place FROM visits) AS p
        WHERE (v.site, v.id) = (p.site, p.id);
    UPDATE visits SET email = ' ANN@x.io' WHERE site = 'a' AND worker = 'w-123' AND id < 0;
    CREATE INDEX ON visits ((lower(btrim(email, E' \\t\\n\\r\\f\\x0b')) COLLATE "C"));
    INSERT INTO events SELECT * FROM visits; INSERT INTO events VALUES ('zz', -1, 'w-12'), ('zz', 0, 'w-12');
    INSERT INTO logs SELECT * FROM visits; INSERT INTO turned SELECT * FROM visits;
    INSERT INTO few SELECT * FROM visits LIMIT 100;
    ANALYZE visits, events, logs, turned, few;
"""

DELETED = ("visits", "logs", "turned", "few")
BY_WORKER = {"by": "worker", "holds": "worker_id"}
ENTRIES: Any = {
    "mask": [{"table": "events", **BY_WORKER, "columns": {"worker": "token", "note": "constant"}}],
    "delete": [
        *({"table": table, **BY_WORKER} for table in DELETED),
        {"table": "visits", "by": "email", "holds": "email"},
    ],
}


async def dump(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(await db.rows(table), key=repr) for table in ("events", *DELETED)}


async def test_ranges_find_the_same_rows_as_one_statement_and_tell_of_each(
    db: Database, slice_of: SliceOf, vault: BatchVault, beats: list[tuple[str, int]]
) -> None:
    await db.run(TABLES)
    before, part = await dump(db), slice_of(ANN)
    results: list[Any] = []
    told: list[dict[str, list[int]]] = []
    for name, store in (("000000", db.store(**ENTRIES)), ("000001", db.store(ranges=RANGES, **ENTRIES))):
        object.__setattr__(part, "name", name)
        beats.clear()
        impact = await store.preview(part)
        told.append({table: [done for place, done in beats if place == db.place(table)] for table in before})
        erased = await back_up_and_erase(store, part, vault)
        results.append((impact, erased, await dump(db)))
        assert (await store.preview(part)).records == 0
        restored = await store.restore(part, vault)
        assert restored.total == Recovery(impact.records, restored=impact.records)
        assert await dump(db) == before
    assert results[0] == results[1]

    _, erased, after = results[1]
    anns = {table: [row for row in rows if row[2] == "w-12"] for table, rows in before.items()}
    anns["visits"] += [row for row in before["visits"] if row[3]]
    neighbours = {table: [row for row in rows if row not in anns[table]] for table, rows in before.items()}
    assert {table: after[table] for table in DELETED} == {table: neighbours[table] for table in DELETED}
    assert [row for row in after["events"] if row[2] == "w-123"] == neighbours["events"]
    assert erased == {table: Tally(len(rows), len(rows)) for table, rows in anns.items()}
    assert len(anns["events"]) == 52

    found = {table: [len(rows)] for table, rows in anns.items()}
    assert told[0] == found
    ranges = list(range(7, 7 * 26 + 1, 7))  # 25 are full; the last has what came behind them
    # logs has no key, that of turned is in another order than its columns are, and few is no big table
    assert told[1] == {**found, "visits": ranges + found["visits"], "events": ranges + found["events"]}
    notes = {note.place: "in one statement" in note.what for note in (await store.probe()).notes}
    assert notes == {db.place(f"{table}.worker"): table == "logs" for table in before}


async def test_what_others_write_between_two_ranges_is_found_as_it_is_by_then(
    db: Database, slice_of: SliceOf, vault: BatchVault
) -> None:
    """The erasure waits in a range for a row that another transaction holds; rows of later ranges change and move."""
    await db.run(TABLES)
    store, part = db.store(ranges=RANGES, delete=[{"table": "visits", **BY_WORKER}]), slice_of(ANN)
    await store.back_up(part, vault)
    anns = [row for row in await db.rows("visits") if row[2] == "w-12"]
    place = "SELECT site, id FROM visits ORDER BY site, id OFFSET {} LIMIT 1"
    async with db.pool.acquire() as other, other.transaction():
        await other.execute(f"SET LOCAL search_path = {db.schema}")
        await other.execute(f"UPDATE visits SET note = 'held' WHERE (site, id) = ({place.format(14)})")
        erasure = asyncio.create_task(store.erase(part, vault))
        blocked = "SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
        while not await db.pool.fetch(blocked, other.get_server_pid()):  # noqa: ASYNC110 - the server is waited for
            await asyncio.sleep(0.02)
        await db.run(f"UPDATE visits SET note = 'moved' WHERE (site, id) = ({place.format(160)})")
        await db.run("INSERT INTO visits VALUES ('zz', 1, 'w-12', NULL, 'new')")
    assert tallies(await erasure)["visits"].changed == len(anns) + 1
    assert not [row for row in await db.rows("visits") if row[2] == "w-12"]
    kept = [
        record["row"]["note"]
        for name in await vault.names("pre-image/postgres/000000/later/")
        async for _, record in vault.records(name)
    ]
    assert sorted(kept) == ["held", "moved", "new"]
    assert (await store.restore(part, vault)).warnings == []
    notes = [row[4] for row in await db.rows("visits") if not str(row[4]).startswith("n ")]
    assert (len(await db.rows("visits")), sorted(notes)) == (176, ["held", "moved", "new"])
