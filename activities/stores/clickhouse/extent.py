"""How far the erasure in a table would reach: a mutation writes every part that it touches anew, as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from activities.contract import Extent
from activities.stores.clickhouse.connection import Client
from activities.stores.clickhouse.fields import Table

PARTS = """
    SELECT concat(hostName(), ' ', name) AS id, rows, bytes_on_disk AS bytes, data_uncompressed_bytes AS plain
    FROM {parts} WHERE database = {database} AND table = {table} AND active
"""


async def of(client: Client, table: Table, rows: Mapping[str, int]) -> Extent:
    """How far it would reach in one table.

    Args:
        client: The client.
        table: The table.
        rows: Rows to be masked by part, as ``host part``; not empty.
    """
    query = PARTS.replace("{parts}", client.cluster.system("parts"))
    parts = {row["id"]: row for row in await client.fetch(query, database=client.database, table=table.name)}
    touched = {*parts} & {*rows}
    if table.rewritten or len(touched) < len(rows):  # parts that were merged meanwhile: it may be any of them
        touched = {*parts}
    held = [row for row in parts.values() if row["rows"]]
    average = sum(row["plain"] for row in held) / max(1, sum(row["rows"] for row in held))
    return Extent(round(average * sum(rows.values())), len(touched), sum(parts[each]["bytes"] for each in touched))
