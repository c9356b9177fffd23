"""ClickHouse, on the real server: each test has a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from activities.contract import Contributor, Heartbeat, Recovery, Slice, Tally
from activities.errors import CriticalError, TransientError
from activities.masking import is_mask
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.store import ClickHouseStore
from activities.vault import BatchVault
from tests.bench import HasEnv
from tests.stores.clickhouse_database import ANN, BOB, MAP, METRICS, OURS, ROWS, Database


@pytest.fixture
def both(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN, BOB)


async def test_identities_are_masked_and_neighbours_stay_untouched(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    before = await database.rows()
    store = database.store()

    assert (await store.preview(both)).places == {"metrics": 4}
    assert (await store.back_up(both, vault)).places == {"metrics": 4}
    assert await database.rows() == before, "a back-up writes nothing"
    erased = await store.erase(both, vault)

    after = await database.rows()
    assert {n: row for n, row in after.items() if n not in OURS} == {
        n: row for n, row in before.items() if n not in OURS
    }
    token = vault.masker.token
    worker = token("100%_*?[a]\n\t'{x}")
    assert after[1] == (token("Ann@x.io"), "0", token("w-12"), token("Ann"), 10)
    assert after[2] == (token(" ANN@X.IO\t"), "0", token("w-12"), token("Ann"), 20)
    assert after[3] == (token("bob@x.io"), "0", worker, token("Bob"), 30)
    assert after[8] == (token("ann@x.io"), "1", "", "", 80)
    assert erased.places == {"metrics": Tally(matched=4, changed=4)}
    assert erased.warnings == []
    assert (await store.preview(both)).places == {"metrics": 0}


async def test_a_second_run_changes_nothing_and_says_so(database: Database, both: Slice, vault: BatchVault) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    after = await database.rows()
    mutations = len(await database.mutations())

    assert (await store.erase(both, vault)).places == {"metrics": Tally(already_clean=4)}
    assert await database.rows() == after
    assert len(await database.mutations()) == mutations, "nothing to do starts no mutation"


async def test_a_batch_costs_one_mutation_a_table_and_leaves_no_identity_in_its_text(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    await database.fill("metrics_daily")
    store = database.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)

    mutations = await database.mutations()
    assert sorted(mutation["table"] for mutation in mutations) == ["metrics", "metrics_daily"]
    said = " ".join(mutation["command"] for mutation in mutations).lower()
    assert not [value for value in ("ann@x.io", "w-12", "bob", "100%") if value in said]
    assert await database.tables() == ["metrics", "metrics_daily"], "the staging tables are gone"


async def test_the_back_up_is_the_exact_reverse_of_the_masks(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    before = await database.rows()
    store = database.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)

    reverse: dict[tuple[str, str], str] = {}
    async for _, record in vault.records("pre-image/clickhouse/000000"):
        if "mask" in record:
            reverse[record["column"], record["mask"]] = record["value"]
    restored = {
        n: (
            reverse.get(("email", email), email),
            none,
            reverse.get(("worker_id", worker), worker),
            reverse.get(("name", name), name),
            judgments,
        )
        for n, (email, none, worker, name, judgments) in (await database.rows()).items()
    }
    assert restored == before


async def test_rows_that_came_after_the_back_up_are_masked_and_their_new_spellings_kept_first(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await database.insert([(9, "aNN@x.io", "w-12", "Annie", 90)])
    erased = await store.erase(both, vault)

    assert erased.places == {"metrics": Tally(matched=5, changed=5)}
    later = [
        record["value"]
        for name in await vault.names("pre-image/clickhouse/000000/later/")
        async for _, record in vault.records(name)
    ]
    assert sorted(later) == ["Annie", "aNN@x.io"]
    assert all(is_mask(value) for value in (await database.rows())[9][0:1])


async def test_rows_that_arrive_while_the_mutation_runs_are_caught_by_a_later_pass(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await database.run("SYSTEM STOP MERGES metrics")
    erasing = asyncio.create_task(store.erase(both, vault))
    await database.mutation_starts()
    await database.insert([(9, "ann@x.io", "w-12", "Ann", 90)])
    await database.run("SYSTEM START MERGES metrics")
    erased = await erasing

    assert (await store.preview(both)).places == {"metrics": 0}
    assert erased.places["metrics"].conflicted == 0
    assert len(await database.mutations()) == 2
    assert is_mask((await database.rows())[9][0])


async def test_a_run_that_was_cut_in_the_middle_of_its_mutation_is_taken_up_and_starts_no_second_one(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await database.run("SYSTEM STOP MERGES metrics")
    cut = asyncio.create_task(store.erase(both, vault))
    await database.mutation_starts()
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    again = asyncio.create_task(database.store().erase(both, vault))
    await asyncio.sleep(0.3)
    assert not again.done(), "waits for the mutation that runs already"
    await database.run("SYSTEM START MERGES metrics")
    erased = await again

    assert erased.places["metrics"].already_clean == 4
    assert len(await database.mutations()) == 1
    assert (await store.preview(both)).places == {"metrics": 0}
    assert await database.tables() == ["metrics"]


async def test_a_mutation_that_cannot_finish_is_killed_and_named(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    # a check that the masked row cannot pass makes ClickHouse fail the mutation again and again
    await database.run(
        "ALTER TABLE metrics ADD COLUMN length UInt8 MATERIALIZED if(n = 3, throwIf(length(email) > 20), 0)"
    )
    with pytest.raises(CriticalError, match=r"metrics: its mutation fails with code 395 and was killed") as raised:
        await store.erase(both, vault)
    assert "bob" not in str(raised.value)
    assert not [mutation for mutation in await database.mutations() if not mutation["is_done"]]


async def test_too_many_unfinished_mutations_forbid_the_start(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await database.run("SYSTEM STOP MERGES metrics")
    for number in range(21):
        await database.run(f"ALTER TABLE metrics UPDATE judgments = {number} WHERE n = 0")
    (problem,) = (await store.probe()).problems
    assert (problem.place, problem.what) == ("metrics", "has 21 unfinished mutations")
    with pytest.raises(TransientError, match="21 unfinished mutations wait already"):
        await store.erase(both, vault)
    await database.run("SYSTEM START MERGES metrics")


async def test_a_rollback_puts_back_exactly_what_was_there(database: Database, both: Slice, vault: BatchVault) -> None:
    await database.fill()
    before = await database.rows()
    store = database.store()
    await store.back_up(both, vault)
    await database.insert([(9, "aNN@x.io", "w-12", "Annie", 90)])
    await store.erase(both, vault)
    await database.insert([(10, "new@x.io", "w-77", "New", 91)])

    restored = await store.restore(both, vault)

    assert await database.rows() == before | {
        9: ("aNN@x.io", "0", "w-12", "Annie", 90),
        10: ("new@x.io", "0", "w-77", "New", 91),
    }
    assert restored.places == {"metrics": Recovery(found=5, restored=5)}
    assert restored.warnings == []
    assert len(await database.mutations()) == 2, "one there, one back"
    assert (await store.restore(both, vault)).places == {"metrics": Recovery(found=4, intact=4)}
    assert await database.tables() == ["metrics"]


async def test_a_rollback_in_the_middle_of_the_mutation_stops_it_and_undoes_its_parts(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    before = await database.rows()
    store = database.store()
    await store.back_up(both, vault)
    await database.run("SYSTEM STOP MERGES metrics")
    cut = asyncio.create_task(store.erase(both, vault))
    await database.mutation_starts()
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    restored = await store.restore(both, vault)
    await database.run("SYSTEM START MERGES metrics")
    await asyncio.sleep(0.5)

    assert restored.places == {"metrics": Recovery(found=4, intact=4)}
    assert await database.rows() == before
    assert await database.tables() == ["metrics"]


async def test_a_rollback_without_a_back_up_does_nothing(database: Database, both: Slice, vault: BatchVault) -> None:
    await database.fill()
    assert (await database.store().restore(both, vault)).places == {}
    assert await database.mutations() == []


async def test_a_rollback_keeps_what_was_written_over_a_mask_since(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    before = await database.rows()
    store = database.store()
    await store.back_up(both, vault)
    await store.erase(both, vault)
    await database.run("ALTER TABLE metrics UPDATE name = 'Renamed' WHERE n = 1 SETTINGS mutations_sync = 1")
    await store.restore(both, vault)
    assert await database.rows() == before | {1: (*before[1][:3], "Renamed", before[1][4])}


async def test_a_purge_removes_the_staging_tables_that_a_cut_run_left(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.fill()
    store = database.store()
    await store.back_up(both, vault)
    await database.run("SYSTEM STOP MERGES metrics")
    cut = asyncio.create_task(store.erase(both, vault))
    await database.mutation_starts()
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    await database.run("SYSTEM START MERGES metrics")
    assert len(await database.tables()) == 2
    assert (await store.purge(both, vault)).places == {"staging tables": 1}
    assert await database.tables() == ["metrics"]


async def test_nothing_is_erased_without_a_back_up(database: Database, both: Slice, vault: BatchVault) -> None:
    await database.fill()
    before = await database.rows()
    with pytest.raises(CriticalError, match="has no back-up"):
        await database.store().erase(both, vault)
    assert await database.rows() == before
    assert await database.tables() == ["metrics"]


async def test_a_materialized_view_is_followed_to_the_table_that_keeps_its_rows(
    database: Database, both: Slice, vault: BatchVault
) -> None:
    await database.run(METRICS.replace("{table}", "kept_elsewhere"))
    await database.run(METRICS.replace("{table}", "metrics"))
    await database.run("CREATE MATERIALIZED VIEW metrics_mv TO kept_elsewhere AS SELECT * FROM metrics")
    await database.run(
        "CREATE MATERIALIZED VIEW metrics_inner_mv ENGINE = MergeTree ORDER BY n AS SELECT * FROM metrics"
    )
    await database.insert(ROWS)
    store = database.store()
    health = await store.probe()
    assert health.problems == []
    assert {"metrics", "kept_elsewhere"} < set(health.places)
    assert len(health.places) == 3, "the view's inner table as well"
    await store.back_up(both, vault)
    erased = await store.erase(both, vault)
    assert {tally.changed for tally in erased.places.values()} == {4}
    assert is_mask((await database.rows("metrics_inner_mv"))[1][0])
    assert is_mask((await database.rows("kept_elsewhere"))[1][0])


@pytest.mark.parametrize(
    ("table", "place", "what"),
    [
        ("n UInt32, email UInt64) ENGINE = MergeTree ORDER BY n", "metrics.email", "is of type UInt64"),
        ("n UInt32, email FixedString(9)) ENGINE = MergeTree ORDER BY n", "metrics.email", r"FixedString\(9\)"),
        ("n UInt32, email String MATERIALIZED 'a') ENGINE = MergeTree ORDER BY n", "metrics.email", "MATERIALIZED"),
        ("email String) ENGINE = TinyLog", "metrics", "has engine TinyLog, which cannot be mutated"),
    ],
)
async def test_the_probe_names_what_cannot_be_masked(database: Database, table: str, place: str, what: str) -> None:
    await database.run(f"CREATE TABLE metrics ({table}")
    (problem,) = (await database.store({"metrics": {"email": "email"}}).probe()).problems
    assert problem.place == place
    assert pytest.raises(AssertionError, match=what).matches(AssertionError(problem.what)), problem.what
    assert problem.remedy


@pytest.mark.parametrize(
    ("table", "place", "what"),
    [
        (None, "metrics*", "names no table"),
        ("metrics (n UInt32) ENGINE = MergeTree ORDER BY n", "metrics", "has none of the columns"),
        ("metrics (email String) ENGINE = Memory", "metrics", "has engine Memory"),
    ],
)
async def test_the_probe_warns_of_places_without_effect(
    database: Database, table: str | None, place: str, what: str
) -> None:
    if table:
        await database.run(f"CREATE TABLE {table}")
    health = await database.store().probe()
    assert [warning.place for warning in health.warnings] == [place]
    assert what in health.warnings[0].what
    assert health.version.startswith("26.")


async def test_a_server_that_is_away_is_transient_and_a_database_that_is_not_there_critical(
    stack: HasEnv, both: Slice, heartbeat: Heartbeat
) -> None:
    data_map = ClickHouseMap.model_validate(MAP)
    async with connect(ClickHouseSettings(url="http://127.0.0.1:1/", database="default")) as client:
        with pytest.raises(TransientError, match="clickhouse: cannot be reached"):
            await ClickHouseStore(client, data_map, heartbeat).preview(both)
    url = stack.env["ERASURE_CLICKHOUSE__URL"]
    async with connect(ClickHouseSettings(url=url, database="not_there")) as client:
        with pytest.raises(CriticalError, match="the database does not exist"):
            await ClickHouseStore(client, data_map, heartbeat).preview(both)


@pytest.mark.parametrize(
    "rules",
    [
        {"email": {"holds": "email", "mask": "constant"}},
        {"email": {"holds": "email", "mask": "null"}},
        {"name": {"beside": "worker_id"}},
        {"email": "phone"},
    ],
)
def test_a_rule_that_could_not_be_undone_or_means_nothing_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClickHouseMap.model_validate({"metrics": rules})


async def test_ten_thousand_identities_travel_apart_from_the_query(
    database: Database, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await database.run(METRICS.replace("{table}", "metrics"))
    await database.run(
        "INSERT INTO metrics SELECT number, concat('user', toString(number), '@x.io'), "
        "concat('w', toString(number)), 'Some Body', 1 FROM numbers(20000)"
    )
    crowd = slice_of(*(Contributor(str(n), (f"USER{n}@x.io",), (f"w{n}",)) for n in range(10_000)))
    store = database.store()
    assert (await store.back_up(crowd, vault)).places == {"metrics": 10_000}
    assert (await store.erase(crowd, vault)).places == {"metrics": Tally(matched=10_000, changed=10_000)}
    (row,) = await database.client.fetch(
        "SELECT countIf(startsWith(email, 'DELETED_USER')) AS masked, uniqExact(email) AS distinct, "
        "countIf(email = concat('user', toString(n), '@x.io')) AS kept FROM metrics"
    )
    assert row == {"masked": 10_000, "distinct": 20_000, "kept": 10_000}
    assert (await store.restore(crowd, vault)).places == {"metrics": Recovery(10_000, 10_000)}
    (row,) = await database.client.fetch(
        "SELECT countIf(email = concat('user', toString(n), '@x.io') AND worker_id = concat('w', toString(n)) "
        "AND name = 'Some Body') AS same FROM metrics"
    )
    assert row == {"same": 20_000}
