"""Planting: one row of the canary in every table of the data map, written as any application writes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiochclient.exceptions import ChClientError

from activities.canary.person import NAME, Canary
from activities.contract import Finding, Planted, Seed, Seeds
from activities.errors import CriticalError, translated, unknown
from activities.identities import IdentityKind
from activities.masking import CONSTANT, Strategy
from activities.rules import FieldRule
from activities.stores.clickhouse import masking
from activities.stores.clickhouse.catalogue import Catalogue, resolve_patterns
from activities.stores.clickhouse.cluster import quote
from activities.stores.clickhouse.connection import PLACE, Client, translate
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.expressions import Path
from activities.stores.clickhouse.fields import Table, TableField
from activities.stores.clickhouse.mutations import Mutations
from activities.stores.clickhouse.schema import Schema
from activities.stores.clickhouse.shapes import ArrayOf, Leaf, MapOf, Shape, TupleOf, parse
from activities.stores.clickhouse.staging import Staging

WIDE = 64
"""Bits of a number whose mask is nobody else's, as good as certainly."""

_PLAIN = ("MergeTree", "ReplicatedMergeTree", "SharedMergeTree")
"""Engines that never merge two rows into one."""

_KINDS = tuple(IdentityKind)


@dataclass(frozen=True)
class _Value:
    """What is planted in a field.

    Args:
        held: A text or a number.
        own: All that it may read later, of which nobody else has any; empty where that is not certain.
    """

    held: str | int
    own: list[str]


class ClickHousePlanter:
    """Plants in ClickHouse; see `activities.contract.Planter` for the verbs.

    Args:
        client: The client, shared.
        data_map: Table patterns and their fields.
    """

    def __init__(self, client: Client, data_map: ClickHouseMap) -> None:
        self._client = client
        self._data_map = data_map

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles one row a table; tables get none whose masked row nothing would tell from others' afterwards."""
        found = Seeds()
        with translated(PLACE, translate):
            schema = await Schema.read(self._client)
            catalogue = resolve_patterns(schema, self._data_map)
            for table in catalogue.tables.values():
                values = dict(_values(table, canary))
                own = {name: value.own for name, value in values.items() if value.own}
                if (why := _unfit(schema, catalogue, table.name, own)) is not None:
                    found.missed.append(Finding(table.name, *why))
                    continue
                row = json.dumps(_row(schema, table, values), ensure_ascii=False)
                found.seeds.append(Seed(table.name, {"row": row, "own": own}))
        return found

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Inserts the rows, unless an earlier attempt did; views pass them on."""
        planted = Planted()
        with translated(PLACE, translate):
            tables = resolve_patterns(await Schema.read(self._client), self._data_map).tables
            for seed in seeds:
                table, own = tables[seed.place], seed.record["own"]
                if not await self._count(table, own):
                    try:
                        await self._client.insert_json(quote(table.name), seed.record["row"])
                    except ChClientError as error:
                        refused = translate(error) or unknown(table.name, error)
                        if not isinstance(refused, CriticalError):
                            raise
                        planted.missed.append(Finding(table.name, f"refuses the row: {refused.what}", refused.remedy))
                        continue
                if rows := await self._count(table, own):
                    planted.places[table.name] = rows
                else:
                    what = "takes the canary's row away by itself, by its engine or a TTL"
                    planted.missed.append(Finding(table.name, what, "Nothing to mend."))
        return planted

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Deletes the rows that hold a value of the canary's or its mask, by one mutation a table."""
        stays: list[Finding] = []
        with translated(PLACE, translate):
            tables = resolve_patterns(await Schema.read(self._client), self._data_map).tables
            known = json.dumps([seed.record["own"] for seed in seeds])
            staging = Staging(self._client, f"canary-{hashlib.sha256(known.encode()).hexdigest()[:12]}")
            for place in dict.fromkeys(seed.place for seed in seeds):
                if (table := tables.get(place)) is None:
                    continue
                own: dict[str, list[str]] = {}
                for seed in seeds:
                    for name, values in seed.record["own"].items() if seed.place == place else ():
                        if name in table.fields:
                            own.setdefault(name, []).extend(values)
                if await self._count(table, own):
                    await self._delete(table, own, staging)
                    if left := await self._count(table, own):
                        what = f"{left:,} rows of the canary are there again"
                        stays.append(Finding(table.name, what, "Stop what writes them, then delete them by hand."))
            await staging.drop()
        return stays

    async def _delete(self, table: Table, own: Mapping[str, Sequence[str]], staging: Staging) -> None:
        """Deletes rows by values that nobody else has: the canary's own, and their tokens under its batch's key."""
        mutations = Mutations(self._client, table.name, staging, _silent)
        await mutations.finish_own()
        await staging.add([(table.label(name), value, "") for name, values in own.items() for value in values])
        tests = {name: masking.Masks(staging.table).test(table.label(name)) for name in own}
        await mutations.run(
            f"ALTER TABLE {quote(table.name)}{self._client.cluster.on} "
            f"DELETE WHERE {masking.row_condition(table, list(own), tests)} "
            "SETTINGS allow_nondeterministic_mutations = 1"
        )

    async def _count(self, table: Table, own: Mapping[str, Sequence[str]]) -> int:
        sent = [(table.label(name), value) for name, values in own.items() for value in values]
        async for (counted,) in self._client.select(masking.count(table, list(own)), sent):
            return int(counted)
        return 0


def _silent(_place: str, _done: int) -> None:
    """Nobody has to be told of the parts of so small a mutation."""


def _values(table: Table, canary: Canary) -> Iterator[tuple[str, _Value]]:
    """A value of each field that has one kind of value; places in a JSON text are filled with the row."""
    for name, each in table.fields.items():
        if each.inside:
            text = json.dumps(_nested({path: _text(rule, canary) for path, rule in each.inside.items()}))
            yield name, _Value(text, [])
            continue
        leaf, kinds = each.leaf, each.rule.holds
        if leaf.bits:
            value = canary.identity(kinds or (IdentityKind.WORKER_ID, IdentityKind.CONTRIBUTOR_ID))
            own = canary.own_number(value, leaf.bits, signed=leaf.signed) if value is not None else None
            if value is not None and own is not None:
                yield name, _Value(int(value), own if leaf.bits == WIDE and each.holds else [])
        elif leaf.text and (held := _text(each.rule, canary)) is not None and _is_room(leaf, held):
            own = [text for text in canary.own(held, kinds or _KINDS) if text != CONSTANT]
            yield name, _Value(held, own if _is_told_apart(each) else [])


def _is_room(leaf: Leaf, text: str) -> bool:
    return not leaf.width or len(text.encode()) <= leaf.width


def _is_told_apart(each: TableField) -> bool:
    """Whether nobody else has what a field holds of the canary, before and after."""
    return each.holds and each.rule.mask in (Strategy.TOKEN, Strategy.TEXT)


def _text(rule: FieldRule, canary: Canary) -> str | None:
    if rule.beside is not None:
        return NAME
    return canary.text(rule.holds) if rule.mask is Strategy.TEXT else canary.identity(rule.holds)


def _unfit(schema: Schema, catalogue: Catalogue, name: str, own: Collection[str]) -> tuple[str, str] | None:
    """Why the canary has no row in a table, and what could be done; None where it has one."""
    if not own:
        return "has no field by which the canary's masked row could be told from others", "Nothing to mend."
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        if (each := waiting.pop()) in seen:
            continue
        seen.add(each)
        table = catalogue.tables.get(each)
        if table is None:
            return f"is read by a view that writes into {each}, where the canary's row would stay", "Map that table."
        texts = {field.column for field in table.fields.values() if _is_told_apart(field) and field.leaf.text}
        if schema.engine(each) not in _PLAIN and not texts & schema.keys(each):
            which = "merges rows" if each == name else f"feeds {each}, which merges rows"
            return f"{which} by a key without identities: the canary's could touch others'", "Nothing to mend."
        waiting += [schema.target(view) or view for view in schema.readers(each)]
    return None


def _row(schema: Schema, table: Table, values: Mapping[str, _Value]) -> dict[str, Any]:
    columns = schema.columns[table.name]
    by_column: dict[str, tuple[Shape, dict[Path, str | int]]] = {}
    for name, value in values.items():
        each = table.fields[name]
        by_column.setdefault(each.column, (each.shape, {}))[1][each.path] = value.held
    row: dict[str, Any] = {column: _shaped(shape, held) for column, (shape, held) in by_column.items()}
    for column in columns.keys() - row.keys():  # arrays of a Nested are of one length
        if (nested := column.rpartition(".")[0]) and any(each.rpartition(".")[0] == nested for each in by_column):
            row[column] = _shaped(parse(columns[column]["type"]), {})
    now = datetime.now(UTC)
    for column, known in columns.items():
        # the default, 1970, lies in a partition of its own, and behind every TTL
        if column not in row and known["kind"] == "" and "Date" in known["type"]:
            if known["type"] in ("Date", "Date32", "Nullable(Date)"):
                row[column] = now.strftime("%Y-%m-%d")
            elif known["type"].removeprefix("Nullable(").startswith("DateTime"):
                row[column] = now.strftime("%Y-%m-%d %H:%M:%S")
    if "CollapsingMergeTree" in schema.engine(table.name):
        row |= dict.fromkeys(schema.merged_by(table.name) & columns.keys() - row.keys(), 1)
    return row


def _shaped(shape: Shape, held: Mapping[Path, str | int]) -> Any:
    """A column's value, with what is held at some paths in it; all else is empty."""
    match shape:
        case ArrayOf(of=of):
            return [_shaped(of, held)]
        case TupleOf(names=names, of=elements):
            parts = {name: (of, _below(held, name)) for name, of in zip(names, elements, strict=True)}
            if names[0] == "1":
                return [_shaped(of, inner) for of, inner in parts.values()]
            return {name: _shaped(of, inner) for name, (of, inner) in parts.items() if inner}
        case MapOf(value=of):
            if () not in held:
                return {name: _shaped(of, _below(held, name)) for name in dict.fromkeys(path[0] for path in held)}
            if "value" in shape.masked:
                return {NAME if _is_text(shape.key) else "0": _shaped(of, held)}
            return {str(held[()]): _shaped(of, {})}
        case _:
            return held.get((), _empty(shape))


def _below(held: Mapping[Path, str | int], name: str) -> dict[Path, str | int]:
    return {path[1:]: value for path, value in held.items() if path[:1] == (name,)}


def _empty(leaf: Leaf) -> Any:
    return None if leaf.nullable else "" if leaf.text else 0


def _is_text(shape: Shape) -> bool:
    return isinstance(shape, Leaf) and shape.text


def _nested(values: Mapping[Path, str | None]) -> dict[str, Any]:
    """Values at paths, as one object."""
    document: dict[str, Any] = {}
    for path, value in values.items():
        node = document
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return document
