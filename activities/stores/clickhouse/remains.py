"""What keeps values apart from a table's rows: dictionaries, detached and outdated parts, tables of cut batches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiochclient.exceptions import ChClientError

from activities.contract import Finding
from activities.stores.clickhouse.cluster import quote
from activities.stores.clickhouse.connection import Client, error_code
from activities.stores.clickhouse.staging import PREFIX

DICTIONARIES = """
    SELECT t.database AS database, t.name AS name
    FROM system.tables AS t INNER JOIN system.dictionaries AS d ON d.database = t.database AND d.name = t.name
    WHERE t.engine = 'Dictionary' AND has(loading_dependencies_database, {database})
        AND d.status IN ('LOADED', 'LOADED_AND_RELOADING', 'FAILED_AND_RELOADING')
"""
"""Those that read anything of a database: a table may be read by way of a view."""

OUTDATED = "SELECT table, count() AS parts FROM {parts} WHERE database = {database} AND NOT active GROUP BY table"

DETACHED = "SELECT table, count() AS parts FROM {parts} WHERE database = {database} GROUP BY table"

LEFT_OVER = "SELECT name FROM system.tables WHERE database = {database} AND startsWith(name, {prefix}) ORDER BY name"


async def reload_dictionaries(client: Client) -> list[Finding]:
    """Makes loaded dictionaries read their tables again.

    Args:
        client: The client.

    Returns:
        Dictionaries that could not be loaded again, and so go on answering with what was there.
    """
    findings: list[Finding] = []
    for row in await client.fetch(DICTIONARIES, database=client.database):
        name = f"{quote(row['database'])}.{quote(row['name'])}"
        try:
            await client.execute(f"SYSTEM RELOAD DICTIONARY{client.cluster.on} {name}")
        except ChClientError as error:
            what = f"this dictionary could not be loaded again (code {error_code(str(error))})"
            remedy = f"It answers with what was there before: SYSTEM RELOAD DICTIONARY {name}."
            findings.append(Finding(f"{row['database']}.{row['name']}", what, remedy))
    return findings


async def detached_parts(client: Client, tables: Collection[str]) -> list[Finding]:
    """Parts that no query reads and no mutation changes."""
    remedy = "Attach them before the erasure, or drop them: ALTER TABLE ... DROP DETACHED PART."
    return [
        Finding(row["table"], f"{row['parts']:,} detached parts may hold plain values", remedy)
        for row in await client.fetch(
            DETACHED.replace("{parts}", client.cluster.system("detached_parts")), database=client.database
        )
        if row["table"] in tables
    ]


async def outdated_parts(client: Client, tables: Collection[str]) -> list[Finding]:
    """Parts that were replaced and are not removed yet."""
    remedy = "ClickHouse removes them by itself after old_parts_lifetime, eight minutes unless set otherwise."
    return [
        Finding(row["table"], f"{row['parts']:,} outdated parts may still hold plain values", remedy)
        for row in await client.fetch(
            OUTDATED.replace("{parts}", client.cluster.system("parts")), database=client.database
        )
        if row["table"] in tables
    ]


async def _parts(client: Client, query: str, source: str, tables: Collection[str]) -> list[dict[str, Any]]:
    rows = await client.fetch(query.replace("{parts}", client.cluster.system(source)), database=client.database)
    return [row for row in rows if row["table"] in tables]


async def left_over(client: Client) -> list[Finding]:
    """Tables of this tool: of batches that run, or that were cut for good."""
    rows = await client.fetch(LEFT_OVER, database=client.database, prefix=PREFIX)
    remedy = "It is dropped when its batch ends; where there is no such batch any more, drop it by hand."
    return [Finding(row["name"], "is a table of this tool, of another batch", remedy) for row in rows]
