"""What ClickHouse's own catalogue holds and the data map does not name, on the real server."""

from __future__ import annotations

from collections.abc import Callable

from activities.contract import Contributor, Slice, Suspect
from activities.drift import nothing
from activities.identities import IdentityKind
from activities.stores import clickhouse
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.store import ClickHouseStore
from activities.suspicion import Suspicion
from activities.vault import BatchVault
from tests.stores.clickhouse_database import Database

SUSPICION = Suspicion({IdentityKind.WORKER_ID: r"w-\d+"})
ADDRESS, WORKER = "it holds what looks like an address", "it holds what looks like a worker id"


async def test_columns_named_like_identities_or_holding_them_are_suspect_unless_they_are_named(
    database: Database, slice_of: Callable[..., Slice], vault: BatchVault
) -> None:
    await database.run(
        """CREATE TABLE unit_metrics (
            n UInt32, email String, at DateTime, payee_email String, who Tuple(a String, worker_id UInt64),
            list Array(LowCardinality(String)), attrs Map(String, String), note String, workers UInt16, plain String,
            low String MATERIALIZED lower(email), nested Nested(mail String)
        ) ENGINE = MergeTree ORDER BY n""",
        "INSERT INTO unit_metrics (n, email, who, list, attrs, note, plain) VALUES (1, 'a@x.io', ('', 1), "
        f"['w-1', 'w-2'], {{'m': 'no', 'x': 'b@x.io'}}, 'ask c@x.io', 'DELETED_USER-{'a' * 26}')",
        "CREATE TABLE other (n UInt32, mail Nullable(String)) ENGINE = TinyLog",
        "CREATE MATERIALIZED VIEW mv ENGINE = MergeTree ORDER BY n AS SELECT n, email AS e FROM unit_metrics",
        "INSERT INTO unit_metrics (n, email) VALUES (2, 'a@x.io')",
        "CREATE TABLE erasure_other_masks (email String) ENGINE = MergeTree ORDER BY email",
        "CREATE VIEW v AS SELECT email FROM unit_metrics",
    )
    store = database.store({"unit_*": {"email": "email", "attrs.m": "email", "gone": "email"}})
    suspects = {suspect.place: suspect for suspect in await store.survey(SUSPICION)}
    said = "texts in it hold what looks like an address"
    text = {"holds": ["email"], "mask": "text"}
    expected = [
        Suspect("mv.e", ADDRESS, {"mv": {"e": "email"}}),
        Suspect("other.mail", "it is named like an address", {"other": {"mail": "email"}}),
        Suspect("unit_metrics.attrs", ADDRESS, {"unit_*": {"attrs": "email"}}),
        Suspect("unit_metrics.list", WORKER, {"unit_*": {"list": "worker_id"}}),
        Suspect("unit_metrics.nested.mail", "it is named like an address", {"unit_*": {"nested.mail": "email"}}),
        Suspect("unit_metrics.note", said, {"unit_*": {"note": text}}),
        Suspect("unit_metrics.payee_email", "it is named like an address", {"unit_*": {"payee_email": "email"}}),
        Suspect(
            "unit_metrics.who.worker_id", "it is named like a worker id", {"unit_*": {"who.worker_id": "worker_id"}}
        ),
    ]
    assert [suspects[place] for place in sorted(suspects)] == expected
    watched = await store.survey(Suspicion(SUSPICION.patterns, ["clickhouse unit_*"], ["clickhouse *.note"]))
    assert {suspect.place for suspect in watched} == {each.place for each in expected[2:] if each.place[-5:] != ".note"}

    empty = nothing(clickhouse.KIND)
    assert isinstance(empty, ClickHouseMap)
    drafted = await ClickHouseStore(database.client, empty, database.heartbeat).survey(SUSPICION)
    assert {"unit_metrics.email", "mv.e", "other.mail"} < {suspect.place for suspect in drafted}
    entries: dict[str, dict[str, object]] = {}
    for suspect in drafted:
        if not suspect.place.startswith("other"):
            for table, fields in suspect.entry.items():
                entries.setdefault(table, {}).update(fields)
    finished = ClickHouseStore(database.client, ClickHouseMap.model_validate(entries), database.heartbeat)
    assert (await finished.probe()).problems == []
    assert {suspect.place for suspect in await finished.survey(SUSPICION)} == {"other.mail"}
    people = slice_of(Contributor("1", ("a@x.io", "b@x.io", "c@x.io"), ("w-1", "w-2", "1")))
    await finished.back_up(people, vault)
    await finished.erase(people, vault)
    assert await database.texts("SELECT count() FROM unit_metrics WHERE toString(tuple(*)) LIKE '%@x.io%'") == ["(0)"]
