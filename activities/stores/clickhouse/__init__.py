"""ClickHouse: one mutation a table a batch, joined with the batch's values; masks are reversible tokens.

connection   settings, client, errors
catalogue    which tables a pattern names, which of them can be mutated, and what forbids it
masking      the SQL that finds, masks and unmasks the rows of one table
mutations    starts one, waits for exactly that one, kills what cannot finish
staging      the batch's own tables
store        the verbs
"""

from __future__ import annotations

from activities.contract import StoreKind
from activities.stores.clickhouse.catalogue import ClickHouseMap
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.store import ClickHouseStore

KIND = StoreKind(
    name="clickhouse",
    unit="batch",
    data_map=ClickHouseMap,
    settings=ClickHouseSettings,
    connect=connect,
    open=ClickHouseStore,
)
