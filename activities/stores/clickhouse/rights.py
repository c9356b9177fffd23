"""Rights: the server is asked whether its user has each one that an erasure needs; nothing is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from aiochclient.exceptions import ChClientError

from activities.contract import Finding
from activities.stores.clickhouse.cluster import quote
from activities.stores.clickhouse.connection import PLACE, Client, error_code
from activities.stores.clickhouse.fields import Table
from activities.stores.clickhouse.staging import PREFIX

MASKED = ("SELECT", "ALTER UPDATE")
"""On a table whose rows are masked by a mutation."""

REWRITTEN = ("INSERT", "CREATE TABLE", "DROP TABLE", "ALTER SETTINGS", "ALTER DELETE", "ALTER MOVE PARTITION")
"""On a table that is written anew, besides."""

OWN = ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")
"""On the tool's own tables."""

SYNTAX_ERROR = 62


async def check(client: Client, tables: Iterable[Table]) -> tuple[list[Finding], list[Finding]]:
    """The rights that the user lacks, as problems; and a note where the server cannot tell.

    Args:
        client: The client.
        tables: Those to be masked.
    """
    try:
        return [finding async for finding in _missing(client, tables)], []
    except ChClientError as error:
        if error_code(str(error)) != SYNTAX_ERROR:
            raise
        what = "what its user may do is not known: ClickHouse tells that from version 24.11 on"
        return [], [Finding(PLACE, what, "Try the batch on a copy first, or use a newer ClickHouse.")]


async def _missing(client: Client, tables: Iterable[Table]) -> AsyncIterator[Finding]:
    database = quote(client.database)
    needs: dict[str, tuple[str, Sequence[str]]] = {f"{PREFIX}*": (f"{database}.{quote(PREFIX)}*", OWN)}
    for table in tables:
        rights = (*MASKED, *REWRITTEN) if table.rewritten else MASKED
        needs[table.name] = (f"{database}.{quote(table.name)}", rights)
    for place, (target, wanted) in needs.items():
        lacking = [right for right in wanted if await client.ask(f"CHECK GRANT {right} ON {target}") != "1"]
        if lacking:
            listed = ", ".join(lacking)
            yield Finding(place, f"the user lacks {listed}", f"GRANT {listed} ON {target}.")
