"""Reads ClickHouse: every column of every table that can hold an identity, in every row that is on its disks.

tables   which tables there are, and what of them no query reads
columns  which columns of a table are looked at, and as which text
rows     the rows of a table, as they come
scanner  reads a table
"""

from __future__ import annotations

from activities.stores.clickhouse.connection import ClickHouseSettings, Client
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.verification.contract import ScannerKind
from activities.verification.scanners.clickhouse.scanner import ClickHouseScanner


def _open(client: Client, _: ClickHouseSettings) -> ClickHouseScanner:
    return ClickHouseScanner(client)


def _mapped(data_map: ClickHouseMap) -> list[str]:
    return list(data_map.root)


KIND: ScannerKind[Client, ClickHouseMap, ClickHouseSettings] = ScannerKind(
    name="clickhouse", open=_open, mapped=_mapped
)
