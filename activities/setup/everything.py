"""All checks, in the order in which they are shown."""

from __future__ import annotations

from pathlib import Path

from activities import stores
from activities.datamap import DataMap, DataMapError
from activities.setup.configuration import DataMapCheck
from activities.setup.contract import Check
from activities.setup.identities import IdentitiesCheck, OwnSchemaCheck
from activities.setup.installation import PackagesCheck, PythonCheck
from activities.setup.platform_api import PlatformApiCheck
from activities.setup.stores import StoreCheck
from activities.setup.temporal import TemporalCheck, WorkersCheck
from activities.setup.vault import VaultCheck, VaultKeyCheck


def checks(config: Path) -> list[Check]:
    """Every check; without a data map that can be read, those of what can be reached all the same.

    Args:
        config: The data map's file.
    """
    try:
        data_map = DataMap.read(config)
    except DataMapError:  # told by its own check
        data_map = None
    kinds = stores.kinds()
    order = dict.fromkeys([*(data_map.policy.order if data_map else []), *kinds])
    return [
        PythonCheck(),
        PackagesCheck(),
        DataMapCheck(config),
        VaultKeyCheck(),
        VaultCheck(),
        *([IdentitiesCheck(data_map)] if data_map else []),
        OwnSchemaCheck(),
        *(StoreCheck(kinds[name], data_map) for name in order),
        TemporalCheck(),
        WorkersCheck(list(kinds)),
        *([PlatformApiCheck(data_map)] if data_map else []),
    ]
