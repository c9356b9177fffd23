"""The drift gate: what a store's own catalogue holds that the data map does not name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, RootModel

from activities import toml_text
from activities.contract import AnyStoreKind, Finding, Health, Store, Suspect
from activities.datamap import DataMap


async def check(name: str, store: Store, data_map: DataMap) -> Health:
    """A store's probe, with what its survey suspects.

    Args:
        name: The store's name.
        store: The store.
        data_map: Says where to look, and whether a suspect forbids to start.

    Raises:
        ErasureError: It cannot be known.
    """
    health = await store.probe()
    return judged(name, health, await store.survey(data_map.suspicion), data_map)


def nothing(kind: AnyStoreKind) -> BaseModel:
    """A data map that names nothing of a store: in a file it would be a mistake, for a first look it is the truth.

    Args:
        kind: The store.
    """
    empty: Any = {} if issubclass(kind.data_map, RootModel) else ()
    required = [name for name, field in kind.data_map.model_fields.items() if field.is_required()]
    made: BaseModel = kind.data_map.model_construct(**dict.fromkeys(required, empty))
    return made


def judged(name: str, health: Health, suspects: list[Suspect], data_map: DataMap) -> Health:
    """The health with each suspect as a problem, or as a warning where the policy is to warn.

    Args:
        name: The store's name.
        health: What the probe found.
        suspects: What the survey found.
        data_map: Has the policy.
    """
    drift = [finding(name, suspect) for suspect in suspects]
    if data_map.drift.policy == "warn":
        return replace(health, warnings=[*health.warnings, *drift])
    return replace(health, problems=[*health.problems, *drift])


def finding(name: str, suspect: Suspect) -> Finding:
    """A suspect in words, with both ways to answer it.

    Args:
        name: The store's name.
        suspect: The suspect.
    """
    full = f"{name} {suspect.place}"
    where = f": {toml_text.place(name, suspect.entry)}" if suspect.entry else ""
    ignored = toml_text.value(re.sub(r"([\[?*])", r"[\1]", full))
    return Finding(
        full,
        f"is not in the data map: {suspect.why}",
        f"Name it there{where}. Or, where it holds nobody's data, add {ignored} to drift.ignore.",
    )
