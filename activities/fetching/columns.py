"""The columns that a fetch reads as the catalogue has them, and whether the data map fits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activities.datamap import DataMap
from activities.errors import CriticalError
from activities.fetching.data_map import FetchMap, Projects
from activities.fetching.messages import Criteria
from activities.stores.postgres.catalogue import Column, Family, Table, quote, read_tables, read_unique_indices
from activities.stores.postgres.data_map import table_name, written

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

MOMENTS = ("timestamp with time zone", "timestamp without time zone", "date")
"""Types that say when."""

COMPARABLE = (Family.TEXT, Family.INTEGER, Family.NUMERIC, Family.UUID)
"""What an id may be."""


@dataclass(frozen=True)
class Layout:
    """Tables and columns of a fetch, each of which is there.

    Args:
        fetch: The data map's table.
        identity: The identity table.
        emails: Its columns of addresses.
        worker_ids: Its columns of worker ids.
        identity_id: Its column with the id.
        activity: The table that says who is inactive; may be the same.
        id: Its column with the id.
        status: Its status.
        last_activity: Its moment of the last activity.
        created: Its moment of joining.
        projects: The other table whose rows are projects, if they are counted there.
        holds: Whether there is a table of legal holds.
    """

    fetch: FetchMap
    identity: Table
    emails: tuple[Column, ...]
    worker_ids: tuple[Column, ...]
    identity_id: Column
    activity: Table
    id: Column
    status: Column
    last_activity: Column
    created: Column | None
    projects: Table | None
    holds: bool


async def read(connection: Connection, data_map: DataMap, criteria: Criteria) -> Layout:
    """Reads the catalogue.

    Args:
        connection: PostgreSQL.
        data_map: Names tables and columns.
        criteria: Whom to fetch.

    Raises:
        CriticalError: The data map does not fit; names each key that is wrong.
    """
    fetch, identity = data_map.fetch, data_map.identity
    if fetch is None:
        raise CriticalError("data map", "has no table [fetch]", "Say in it where status and last activity stand.")
    reader = _Reader()
    try:
        identity_place = written(*table_name(identity.table))
    except ValueError as error:
        raise CriticalError("data map", f"identity.table: {error}", "Correct the data map.") from None
    activity_place = fetch.table or identity_place
    elsewhere = fetch.projects if criteria.bounds_projects else None
    places = {identity_place, activity_place, *([elsewhere.table] if elsewhere and elsewhere.table else [])}
    tables = await read_tables(connection, places)
    identities = reader.table("identity.table", identity_place, tables)
    activity = reader.table("fetch.table", activity_place, tables)
    layout = Layout(
        fetch,
        identities,
        tuple(reader.column("identity.emails", identities, name) for name in identity.emails),
        tuple(reader.column("identity.worker_ids", identities, name) for name in identity.worker_ids),
        reader.column("identity.id", identities, identity.id),
        activity,
        reader.column("fetch.id" if fetch.id else "identity.id", activity, fetch.id or identity.id),
        reader.column("fetch.status", activity, fetch.status),
        reader.column("fetch.last_activity", activity, fetch.last_activity),
        reader.column("fetch.created", activity, fetch.created) if fetch.created else None,
        reader.projects(elsewhere, criteria, activity, tables),
        await connection.fetchval("SELECT to_regclass('erasure.holds') IS NOT NULL"),
    )
    if not reader.faults:
        await _check(connection, layout, criteria, reader)
    if reader.faults:
        remedy = "Correct the data map, or the database."
        raise CriticalError("data map", "; ".join(reader.faults), remedy)
    return layout


_NOWHERE = Table("", 0, "", "", "r", False, (), (), {})
_NOTHING = Column("", "text", "text", False, Family.TEXT, None, False, False, False, (), ())


class _Reader:
    """Looks up what the data map names, and gathers what is wrong."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def table(self, key: str, place: str, tables: dict[str, Table]) -> Table:
        if place not in tables:
            self.faults.append(f"{key}: there is no table {place}, or it may not be seen")
        return tables.get(place, _NOWHERE)

    def column(self, key: str, table: Table, name: str) -> Column:
        found = table.columns.get(name)
        if table is not _NOWHERE and found is None:
            self.faults.append(f"{key}: {table.place} has no column {name}")
        return found or _NOTHING

    def projects(
        self, projects: Projects | None, criteria: Criteria, activity: Table, tables: dict[str, Table]
    ) -> Table | None:
        if not criteria.bounds_projects:
            return None
        if projects is None:
            self.faults.append("fetch.projects: is not said, so that nobody's projects can be counted")
            return None
        if projects.column is not None:
            column = self.column("fetch.projects", activity, projects.column)
            if column is not _NOTHING and (column.array or column.family not in (Family.INTEGER, Family.NUMERIC)):
                self.faults.append(f"fetch.projects: {column.name} is {column.type}, no number")
            return None
        assert projects.table is not None, "the data map names one or the other"
        table = self.table("fetch.projects.table", projects.table, tables)
        self.column("fetch.projects.by", table, projects.by or "")
        self.column("fetch.projects.count", table, projects.count or "")
        return table


async def _check(connection: Connection, layout: Layout, criteria: Criteria, reader: _Reader) -> None:
    """Checks what can be said only once everything is there."""
    say = reader.faults.append
    for key, table, column in (
        ("fetch.id", layout.activity, layout.id),
        ("identity.id", layout.identity, layout.identity_id),
    ):
        unique = [index for index in await read_unique_indices(connection, [table]) if index.predicate is None]
        if not any(index.expressions in ((column.name,), (quote(column.name),)) for index in unique):
            say(f"{key}: no unique index on {table.place} ({column.name}) says that nobody has two rows")
    if layout.activity == layout.identity and layout.id != layout.identity_id:
        say(f"fetch.id: {layout.id.name} is not identity.id, though both name the same table")
    ids = [("identity.id", layout.identity_id)]
    if layout.projects is not None and layout.fetch.projects is not None:
        ids.append(("fetch.projects.by", layout.projects.columns[layout.fetch.projects.by or ""]))
    for key, column in (("fetch.id", layout.id), *ids):
        if column.array or column.family not in COMPARABLE or column.family is not layout.id.family:
            say(f"{key}: {column.name} is {column.type}, which cannot be compared with {layout.id.type}")
    for key, moment in (("fetch.last_activity", layout.last_activity), ("fetch.created", layout.created)):
        if moment is not None and moment.type not in MOMENTS:
            say(f"{key}: {moment.name} is {moment.type}; it has to be one of {', '.join(MOMENTS)}")
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1)", layout.fetch.timezone
    ):
        say(f"fetch.timezone: PostgreSQL knows no time zone {layout.fetch.timezone}")
    status = layout.status
    if status.array or not await connection.fetchval("SELECT pg_input_is_valid($1, $2)", criteria.status, status.type):
        say(f"fetch.status: {status.name} is {status.type}, and cannot be {criteria.status}")
