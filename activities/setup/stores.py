"""Each store, by its own probe: what it needs, and which rights it tries, is the store's own knowledge."""

from __future__ import annotations

from activities import drift
from activities.contract import AnyStoreKind
from activities.datamap import DataMap
from activities.settings import load
from activities.setup.contract import Result, State


class StoreCheck:
    """One store; ClickHouse also its tunnel, which is opened for as long as the check runs.

    Args:
        kind: The store.
        data_map: Says what is asked of it; None where it cannot be read: then the store is only reached.
    """

    def __init__(self, kind: AnyStoreKind, data_map: DataMap | None) -> None:
        self.name = kind.name
        self._kind = kind
        self._data_map = data_map

    async def run(self) -> Result:
        """Probes it."""
        settings = load(self._kind.settings)
        if self._data_map is None:
            table = drift.nothing(self._kind)
        elif self.name in self._data_map.tables:
            table = self._data_map.tables[self.name]
        else:
            return Result(State.UNUSED)
        async with self._kind.connect(settings) as client:
            return Result.of(await self._kind.open(client, table, lambda _place, _done: None).probe())
