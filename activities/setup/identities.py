"""Who exists, and who must not be erased: the identity table, and the tool's own schema, both in PostgreSQL."""

from __future__ import annotations

from activities import identity_table
from activities.contract import Finding
from activities.datamap import DataMap
from activities.holds import PLACE, Holds
from activities.settings import load
from activities.setup.contract import Result, State
from activities.stores.postgres import PostgresSettings, connect


class IdentitiesCheck:
    """The table that identities are resolved from.

    Args:
        data_map: Names it.
    """

    name = "identity table"

    def __init__(self, data_map: DataMap) -> None:
        self._table = data_map.identity

    async def run(self) -> Result:
        """Resolves nobody, by the query of a batch."""
        async with connect(load(PostgresSettings)) as pool:
            await identity_table.look_up(pool, self._table, [])
        return Result(State.OK, self._table.table)


class OwnSchemaCheck:
    """The tool's own schema, where legal holds are kept."""

    name = "own schema"

    async def run(self) -> Result:
        """Places a hold, and lifts it, in a transaction that is rolled back."""
        async with connect(load(PostgresSettings)) as pool:
            if await Holds(pool).probe():
                return Result(State.OK, "erasure")
        what = "it is not there yet: no legal hold can be placed by a user who may not make schemas"
        return Result(State.WARNED, findings=[Finding(PLACE, what, "Make it with --fix, or by the first hold.")])

    async def fix(self) -> str | None:
        """Makes it."""
        async with connect(load(PostgresSettings)) as pool:
            await Holds(pool).make()
        return "made the schema erasure"
