"""ClickHouse's part of the data map."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel, ValidationInfo, field_validator, model_validator

from activities.masking import Strategy
from activities.rules import Field, FieldRule

REVERSIBLE = (Strategy.TOKEN, Strategy.TEXT)
"""Masks that stand for one value each."""


class ClickHouseMap(RootModel[dict[str, dict[str, Field]]]):
    """Table patterns, each with its fields.

    A field is a column, or what lies in one: ``who.email`` is an element of a tuple, an entry of a map, or a place in
    a text that is JSON; arrays are looked through.
    """

    @model_validator(mode="before")
    @classmethod
    def _names_no_connection(cls, table: Any) -> Any:
        for key in ("port_forward", "ssh_tunnel"):
            if isinstance(table, dict) and key in table:
                raise ValueError(f"{key} is no table: set ERASURE_CLICKHOUSE__{key.upper()}__... in the environment")
        return table

    @field_validator("root")
    @classmethod
    def _can_be_undone(
        cls, root: dict[str, dict[str, FieldRule]], info: ValidationInfo
    ) -> dict[str, dict[str, FieldRule]]:
        reversible = (info.context or {}).get("rollback", True)
        for pattern, rules in root.items():
            for name, rule in rules.items():
                if reversible and rule.mask not in REVERSIBLE:
                    raise ValueError(
                        f'{pattern}.{name}: mask = "{rule.mask}" cannot be undone in ClickHouse. '
                        "Use a token, or say rollback = false for the whole store"
                    )
                if rule.beside is not None and (rule.beside not in rules or rules[rule.beside].beside is not None):
                    raise ValueError(f"{pattern}.{name}: `beside` has to name a column here that holds an identity")
        return root
