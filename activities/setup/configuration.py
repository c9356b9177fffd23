"""The data map: read, and validated by each store's own model."""

from __future__ import annotations

from pathlib import Path

from activities.datamap import DataMap
from activities.setup.contract import Result, State


class DataMapCheck:
    """The data map's file.

    Args:
        path: The file.
    """

    name = "data map"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self) -> Result:
        """Reads it."""
        data_map = DataMap.read(self._path)
        return Result(State.OK, f"{len(data_map.tables)} stores")
