"""The scanners, one module a store. A module here that names a ``KIND`` is one: there is no list to keep."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from activities.verification.contract import AnyScannerKind


@cache
def kinds() -> dict[str, AnyScannerKind]:
    """Every scanner of this package, by name."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {module.KIND.name: module.KIND for module in modules if hasattr(module, "KIND")}
