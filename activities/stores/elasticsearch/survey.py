"""The survey: fields named after identities, or whose values look like some, that the data map does not name.

Names come out of the mappings, values out of a few of each index's newest and oldest documents; a field that few of
these have is asked for by itself. Indices that are named alike are told as one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Heartbeat, Suspect
from activities.errors import TransientError
from activities.identities import IdentityKind
from activities.stores.elasticsearch.catalogue import TEXT_TYPES, FieldMappings, MappedField, merge, resolve
from activities.stores.elasticsearch.connection import PLACE
from activities.stores.elasticsearch.documents import ElasticsearchMap, Json, Rules
from activities.stores.elasticsearch.search import INTEGERS, Query
from activities.suspicion import SAMPLE, Suspicion

NAMES_AT_ONCE = 3_000
"""Characters of index names in one request's address; a cluster allows 4,096 in all."""

DOCUMENTS_AT_ONCE = 400
"""Documents in one answer, at most."""

TEXT = 10_000
"""Characters of one value that are looked at."""

RARE = 200
"""Fields of one group of indices that are asked for by themselves, at most."""

EACH = 20
"""Documents that such a field is sampled in."""

KIN = 3
"""How many indices that differ in their last word only are told as one: ``project-alpha``, ``project-beta``, ..."""

_TYPES = TEXT_TYPES | INTEGERS.keys() | {"completion"}
"""Types that can hold an identity."""

_NUMBER = re.compile(r"\d")


@dataclass
class _Found:
    """What is known of one field in a group of indices.

    Args:
        mapped: Its mapping, where it has one.
        indices: Those that have it.
        values: Some of its values, as text.
        is_text: Whether one of them is no number.
    """

    mapped: MappedField | None = None
    indices: set[str] = field(default_factory=set)
    values: list[str] = field(default_factory=list)
    is_text: bool = False


@dataclass
class _Group:
    """Indices that a data map names together, or would.

    Args:
        pattern: By what.
        rules: What the data map says already, by index.
        fields: What it does not, by path.
        keys: Objects whose members are named after people, with the kind of identity, and the indices that have them.
        bare: Indices without any field that the data map names for them.
        filled: Indices with documents.
    """

    pattern: str
    rules: dict[str, Rules] = field(default_factory=dict)
    fields: dict[str, _Found] = field(default_factory=dict)
    keys: dict[tuple[str, IdentityKind], set[str]] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)


class Survey:
    """Looks for what a data map does not name.

    Args:
        client: The client.
        data_map: What is named already.
        suspicion: What to look for, and where.
        heartbeat: Told of every group of indices.
    """

    def __init__(
        self, client: AsyncElasticsearch, data_map: ElasticsearchMap, suspicion: Suspicion, heartbeat: Heartbeat
    ) -> None:
        self._client = client
        self._data_map = data_map
        self._suspicion = suspicion
        self._heartbeat = heartbeat
        self._streams: dict[str, str] = {}

    async def run(self) -> list[Suspect]:
        """The suspects, by place."""
        suspects: list[Suspect] = []
        for group in await self._groups():
            size = max(5, SAMPLE // (2 * len(group.rules)))
            for names in _chunks(sorted(group.rules), max(1, DOCUMENTS_AT_ONCE // (2 * size))):
                await self._sample(group, names, size)
            await self._ask_for_rare(group)
            suspects += self._judge(group)
            self._heartbeat(group.pattern, 0)
        return sorted(suspects, key=lambda suspect: suspect.place)

    async def _groups(self) -> list[_Group]:
        """Every index of the data map, and every other one that is neither hidden nor a system's, by its mapping."""
        resolved = await resolve(self._client, self._data_map)
        first = {index.name: pattern for pattern in reversed(resolved) for index in resolved[pattern]}
        others = await self._others(first)
        groups: dict[str, _Group] = {}
        for index in merge(resolved):
            if self._may_watch(index.name):
                group = groups.setdefault(first[index.name], _Group(first[index.name]))
                self._read(group, index.name, index.rules, index.fields)
                holding = [path for path, rule in index.rules.items() if rule.holds]
                if not any(index.fields.get(path) or index.fields.may_hide(path) for path in holding):
                    group.bare.add(index.name)
        for pattern, names in others.items():
            group = groups.setdefault(pattern, _Group(pattern))
            for some in _lines(names):
                found = await self._client.indices.get(
                    index=some, features=["mappings"], expand_wildcards="all", ignore_unavailable=True
                )
                for name, entry in found.body.items():
                    self._read(group, name, {}, FieldMappings.read(entry.get("mappings", {})))
        return [group for group in groups.values() if group.rules]

    async def _others(self, known: Mapping[str, str]) -> dict[str, list[str]]:
        """The names of the other indices, by the pattern that would name them."""
        answer = await self._client.indices.resolve_index(name="*", expand_wildcards=["open", "closed"])
        self._streams = {
            name: stream["name"] for stream in answer["data_streams"] for name in _as_list(stream["backing_indices"])
        }
        names = [index["name"] for index in answer["indices"] if not index["name"].startswith(".")]
        families: dict[str, list[str]] = {}
        for name in (*names, *self._streams):
            if name not in known and self._may_watch(name):
                families.setdefault(_family([self._streams.get(name, name)]), []).append(name)
        by_pattern: dict[str, list[str]] = {}
        for members in families.values():
            shown = sorted({self._streams.get(name, name) for name in members})
            by_pattern[_family(shown) if len(shown) > 1 else shown[0]] = members
        kin = Counter(_kin(pattern) for pattern in by_pattern)
        found: dict[str, list[str]] = {}
        for pattern, members in by_pattern.items():
            found.setdefault(f"{_kin(pattern)}*" if kin[_kin(pattern)] >= KIN else pattern, []).extend(members)
        return found

    def _may_watch(self, name: str) -> bool:
        """Whether an index has to be looked at, for one of its fields at least."""
        look = [f"{glob.partition(': ')[0]}*" for glob in self._suspicion.look]
        return replace(self._suspicion, look=look).watches(PLACE, f"{self._streams.get(name, name)}: ")

    def _read(self, group: _Group, name: str, rules: Rules, fields: FieldMappings) -> None:
        group.rules[name] = rules
        computed = {path for each in fields.fields.values() for path in _as_list(each.spec.get("copy_to", []))}
        for path, mapped in fields.fields.items():
            if "@" in path and (found := self._suspicion.by_content([path])):
                group.keys.setdefault(("*", found[0]), set()).add(name)
            elif (
                mapped.type in _TYPES
                and path not in computed
                and (known := _meet(group, name, path)) is not None
                and known.mapped is None
            ):
                known.mapped = mapped

    async def _sample(self, group: _Group, names: Sequence[str], size: int) -> None:
        """Looks at the newest and the oldest documents of some indices."""
        searches: list[dict[str, Any]] = []
        for name in names:
            for order in ("desc", "asc"):
                searches += [_header([name]), {"size": size, "sort": [{"_seq_no": order}]}]
        await self._look(group, searches)

    async def _ask_for_rare(self, group: _Group) -> None:
        """Looks at documents that have a field of which few values were seen."""
        searches: list[dict[str, Any]] = []
        for path, found in group.fields.items():
            mapped = found.mapped
            if mapped is None or len(found.values) >= EACH or len(searches) >= 2 * RARE:
                continue
            query: Query = {"exists": {"field": path}}
            if mapped.nested:
                query = {"nested": {"path": mapped.nested, "query": query}}
            searches += [_header(sorted(found.indices)[:SAMPLE]), {"size": EACH, "query": query, "_source": [path]}]
        for some in _chunks(searches, 2 * (DOCUMENTS_AT_ONCE // EACH)):
            await self._look(group, some)

    async def _look(self, group: _Group, searches: Sequence[dict[str, Any]]) -> None:
        """An index that cannot be searched, since it is closed or red, is known by its mapping."""
        answer = await self._client.msearch(searches=searches, filter_path="responses.hits.hits,responses.status")
        for response in answer["responses"]:
            if response["status"] == 429:
                raise TransientError(
                    group.pattern, "the cluster is too busy to be looked at", "Wait; it is tried again."
                )
            for hit in response.get("hits", {}).get("hits", []):
                group.filled.add(hit["_index"])
                self._walk(group, hit["_index"], hit.get("_source"), "")

    def _walk(self, group: _Group, index: str, value: Json, path: str) -> None:
        if isinstance(value, list):
            for element in value[:SAMPLE]:
                self._walk(group, index, element, path)
        elif isinstance(value, dict):
            for key, member in value.items():
                if found := self._suspicion.by_content([key]):
                    group.keys.setdefault((f"{path}.*" if path else "*", found[0]), set()).add(index)
                else:
                    self._walk(group, index, member, f"{path}.{key}" if path else key)
        elif isinstance(value, str | int) and not isinstance(value, bool):
            known = _meet(group, index, path)
            if known is not None and len(known.values) < SAMPLE:
                known.values.append(str(value)[:TEXT])
                known.is_text |= isinstance(value, str)

    def _judge(self, group: _Group) -> Iterator[Suspect]:
        """What is suspect of a group."""
        for path, found in group.fields.items():
            place = self._place(group, found.indices, path)
            if place is not None and (why := self._why(path, found)) is not None:
                yield Suspect(place, why[0], {group.pattern: {path: why[1]}})
        for (path, kind), indices in group.keys.items():
            if (place := self._place(group, indices, path)) is not None:
                yield Suspect(place, f"fields are named by {kind} there, which no erasure can mask", {})
        for name in sorted(group.bare & group.filled):
            if self._suspicion.watches(PLACE, name):
                yield Suspect(name, f"it has none of the fields that are named for {group.pattern}", {})

    def _why(self, path: str, found: _Found) -> tuple[str, str | dict[str, str]] | None:
        """Why a field is suspect, and which rule would fit."""
        kind_named = self._named(path, found)
        content = self._suspicion.by_content(found.values)
        if content is not None and (kind_named is None or not content[1]):
            kind, inside = content
            why = f"its texts hold {kind}" if inside else f"its values look like {kind}"
        elif kind_named is not None:
            kind, inside = kind_named, content is not None
            why = f"it is named after {kind}"
        else:
            return None
        if inside:
            return why, {"holds": kind.value, "mask": "text"}
        return why, kind.value

    def _named(self, path: str, found: _Found) -> IdentityKind | None:
        kind = self._suspicion.by_name(path)
        if kind is None:  # worker.id
            kind = self._suspicion.by_name("_".join(path.split(".")[-2:]))
            return None if kind is IdentityKind.EMAIL else kind
        is_text = found.is_text if found.mapped is None else found.mapped.type not in INTEGERS
        return kind if is_text or kind is not IdentityKind.EMAIL else None

    def _place(self, group: _Group, indices: set[str], path: str) -> str | None:
        """The place of a field, or of one that several indices have; none where nobody wants to know."""
        of_all = f"{group.pattern}: {path}"
        if not replace(self._suspicion, look=("*",)).watches(PLACE, of_all):
            return None
        shown = {self._streams.get(name, name) for name in indices}
        watched = [place for name in shown if self._suspicion.watches(PLACE, place := f"{name}: {path}")]
        return of_all if len(watched) > 1 else next(iter(watched), None)


def _meet(group: _Group, index: str, path: str) -> _Found | None:
    """What is known of a field; nothing of one that the data map names, or that lies in an object that it names."""
    rules = group.rules.get(index, {})
    parts = path.split(".")
    if any(".".join(parts[:length]) in rules for length in range(1, len(parts) + 1)):
        return None
    found = group.fields.setdefault(path, _Found())
    found.indices.add(index)
    return found


def _family(names: Sequence[str]) -> str:
    """A pattern for indices that differ in numbers only: ``logs-2024.01.31`` and ``logs-3f9a`` are ``logs-*``.

    What is the same in all of them up to a word that is no number stays as it is.
    """
    parts = [re.split(r"([-_.])", name) for name in names]
    same = takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False))
    words = [place for place, each in enumerate(same) if place % 2 == 0 and not _NUMBER.search(each[0])]
    kept = words[-1] + 1 if words and len(names) > 1 else 1
    rest = ["*" if _NUMBER.search(part) else part for part in parts[0][kept:]]
    return "".join(parts[0][:kept]) + re.sub(r"\*([-_.]\*)+", "*", "".join(rest))


def _kin(name: str) -> str:
    """What an index is called before its last word."""
    return name[: -len(re.split(r"[-_.]", name)[-1])]


def _header(names: Sequence[str]) -> dict[str, Any]:
    return {"index": list(names), "ignore_unavailable": True, "expand_wildcards": "all"}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _lines(names: Sequence[str]) -> Iterator[str]:
    """The names, separated by commas, in pieces that fit into a request's address."""
    line = ""
    for name in names:
        if line and len(line) + len(name) > NAMES_AT_ONCE:
            yield line
            line = ""
        line += f",{name}" if line else name
    if line:
        yield line


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
