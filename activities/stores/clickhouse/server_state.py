"""What else goes on in the server: mutations that ours would wait for, and room for the parts that it writes anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from activities.contract import Finding
from activities.stores.clickhouse.connection import Client, error_code
from activities.stores.clickhouse.mutations import MAX_PENDING, unfinished

ROOM = """
    SELECT p.host AS host, p.disk AS disk, any(d.free) AS free, max(p.largest) AS largest, sum(p.whole) AS whole
    FROM (
        SELECT hostName() AS host, disk_name AS disk, table, max(bytes_on_disk) AS largest, sum(bytes_on_disk) AS whole
        FROM {parts} WHERE active AND database = {database} GROUP BY host, disk, table
    ) AS p
    INNER JOIN (SELECT hostName() AS host, name AS disk, unreserved_space AS free FROM {disks}) AS d
        ON d.host = p.host AND d.disk = p.disk
    WHERE has({tables}, p.table) GROUP BY p.host, p.disk ORDER BY p.host, p.disk
"""
"""By disk: what is free, the largest part, and all parts of the tables: replaced ones stay for eight minutes."""


@dataclass(frozen=True)
class State:
    """What was found.

    Args:
        problems: What forbids to start.
        notes: What costs time.
    """

    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


async def look(client: Client, tables: Collection[str]) -> State:
    """Looks at what a mutation of some tables would meet.

    Args:
        client: The client.
        tables: The tables to be masked.
    """
    state = State()
    for table in tables:
        waiting = await unfinished(client, table)
        if failing := [row for row in waiting if row["reason"]]:
            what = f"a mutation of it fails again and again (code {error_code(failing[0]['reason'])})"
            remedy = f"It blocks every later one: mend its cause, or KILL MUTATION {failing[0]['mutation']}."
            state.problems.append(Finding(table, what, remedy))
        elif len(waiting) > MAX_PENDING:
            what = f"has {len(waiting)} unfinished mutations"
            state.problems.append(Finding(table, what, "Wait for them, or kill what cannot finish."))
        elif waiting:
            what = f"has {len(waiting)} unfinished mutations"
            state.notes.append(Finding(table, what, "The erasure's own waits for them."))
    if tables:
        for row in await client.fetch(_room(client), database=client.database, tables=sorted(tables)):
            for is_full, found in of_disk(row):
                (state.problems if is_full else state.notes).append(found)
    return state


def _room(client: Client) -> str:
    return ROOM.replace("{parts}", client.cluster.system("parts")).replace("{disks}", client.cluster.system("disks"))


def of_disk(row: Mapping[str, Any]) -> Iterator[tuple[bool, Finding]]:
    """What is to be said of a disk, and whether that forbids to start.

    Args:
        row: Of `ROOM`.
    """
    place = f"clickhouse disk {row['disk']} of {row['host']}"
    free, largest, whole = (f"{row[name] / 2**20:,.1f} MiB" for name in ("free", "largest", "whole"))
    if row["free"] < row["largest"]:
        what = f"has {free} free, and the largest part to be written anew takes {largest}"
        yield True, Finding(place, what, "Make room there.")
    elif row["free"] < row["whole"]:
        what = f"has {free} free, and all parts of the tables to be masked take {whole}"
        yield False, Finding(place, what, "Make room: replaced parts stay for eight minutes beside the new ones.")
