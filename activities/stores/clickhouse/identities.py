"""The identities that the data map's columns hold, whoever's they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from activities.contract import Sighting
from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.stores.clickhouse import masking
from activities.stores.clickhouse.connection import Client, text_of
from activities.stores.clickhouse.fields import Table, TableField
from activities.stores.clickhouse.json_text import NotJSONError
from activities.stores.clickhouse.json_text import values as json_values

PAGE = 2_000
"""Values a page."""

SPILL = "SETTINGS max_bytes_before_external_group_by = 1073741824"
"""Distinct values beyond a gigabyte are told apart on the server's disk."""


async def identities(client: Client, table: Table) -> AsyncGenerator[Sighting]:
    """Yields the distinct values of each column of a table in which the data map says that identities stand.

    Args:
        client: The client.
        table: The table.
    """
    for each in table.fields.values():
        if not each.holds:
            continue
        page: list[str] = []
        async with aclosing(client.select(f"{masking.distinct(table, each)} {SPILL}", ())) as rows:
            async for (value,) in rows:
                page.append(text_of(value))
                if len(page) >= PAGE:
                    for sighting in _sightings(table, each, page):
                        yield sighting
                    page = []
        for sighting in _sightings(table, each, page):
            yield sighting


def _sightings(table: Table, each: TableField, page: list[str]) -> list[Sighting]:
    place = f"{table.name}.{each.name}"
    if not each.inside:
        return [Sighting(place, each.rule.holds, page, are_texts=each.rule.mask is Strategy.TEXT)]
    found: dict[tuple[tuple[IdentityKind, ...], bool], list[str]] = {}
    for document in page:
        try:
            pieces = json_values(document)
        except NotJSONError:
            continue
        for piece in pieces:
            rule = each.inside.get(piece.names)
            if rule is None or rule.beside is not None or piece.is_name or isinstance(piece.held, bool):
                continue
            if isinstance(piece.held, str | int):
                found.setdefault((rule.holds, rule.mask is Strategy.TEXT), []).append(str(piece.held))
    return [Sighting(place, kinds, values, are_texts=texts) for (kinds, texts), values in found.items()]
