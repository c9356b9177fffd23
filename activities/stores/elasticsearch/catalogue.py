"""Elasticsearch's catalogue: the indices behind a pattern, their mappings, and what forbids to work on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Finding
from activities.masking import TOKEN_LENGTH, Strategy
from activities.rules import FieldRule
from activities.stores.elasticsearch.documents import ElasticsearchMap, Numbers, Rules, WholeNumber

TEXT_TYPES = {"keyword", "wildcard", "text", "match_only_text", "search_as_you_type", "completion", "flattened"}
"""Field types that take a mask's text."""

WHOLE_NUMBERS = {
    "short": WholeNumber(16),
    "integer": WholeNumber(32),
    "long": WholeNumber(64),
    "unsigned_long": WholeNumber(64, signed=False),
}
"""Field types that take a mask's number."""

BLOCKS = ("write", "read_only", "read_only_allow_delete", "read")
MAX_TERMS = 65_536
"""Default of ``index.max_terms_count``."""


@dataclass(frozen=True)
class MappedField:
    """One field of a mapping.

    Args:
        path: Its dotted path.
        spec: Its entry in the mapping.
        nested: The innermost object of type ``nested`` that it is in.
    """

    path: str
    spec: Mapping[str, Any]
    nested: str | None

    @property
    def type(self) -> str:
        """Elasticsearch's type."""
        return str(self.spec["type"])


@dataclass
class FieldMappings:
    """The fields of one index.

    Args:
        fields: By dotted path.
        unindexed: Objects whose unknown members are kept in the document but not indexed.
        objects: Every object by dotted path, the document itself as ``""``.
        computed: Fields that a search computes, whatever the document holds under the same name.
    """

    fields: dict[str, MappedField] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    unindexed: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, mapping: Mapping[str, Any]) -> FieldMappings:
        """Reads an index's mapping."""
        mappings = cls()
        mappings._read_object(mapping, "", None, "true")
        mappings.computed |= mapping.get("runtime", {}).keys()
        return mappings

    def _read_object(self, node: Mapping[str, Any], path: str, nested: str | None, dynamic: str) -> None:
        dynamic = str(node.get("dynamic", dynamic)).lower()
        self.objects.add(path)
        # a runtime field is computed when it is searched, perhaps by a script: it proves nothing about the document
        if dynamic in ("false", "runtime") or node.get("enabled") is False:
            self.unindexed.add(path)
        for name, spec in node.get("properties", {}).items():
            member = f"{path}.{name}" if path else name
            kind = spec.get("type", "object")
            if kind in ("object", "nested", "passthrough"):
                self._read_object(spec, member, member if kind == "nested" else nested, dynamic)
            else:
                self.fields[member] = MappedField(member, spec, nested)

    def get(self, path: str) -> MappedField | None:
        """The field of a path."""
        return self.fields.get(path)

    def may_hide(self, path: str) -> bool:
        """Whether documents may hold a field that is not in the mapping, and that no search would find."""
        if path in self.objects:
            return True
        parts = path.split(".")
        parents = [".".join(parts[:length]) for length in range(len(parts))]
        if any(parent in self.fields for parent in parents):
            return True
        return next(parent for parent in reversed(parents) if parent in self.objects) in self.unindexed


@dataclass(frozen=True)
class Index:
    """One concrete index, with the rules of every pattern that names it.

    Args:
        name: Its name.
        status: ``open`` or ``close``.
        health: ``green``, ``yellow`` or ``red``; none while it is closed.
        settings: The settings below ``index``.
        mapping: The mapping.
        rules: The fields to mask.
    """

    name: str
    status: str
    health: str | None
    settings: Mapping[str, Any]
    mapping: Mapping[str, Any]
    rules: dict[str, FieldRule]

    @cached_property
    def fields(self) -> FieldMappings:
        """The mapping's fields."""
        return FieldMappings.read(self.mapping)

    @cached_property
    def numbers(self) -> Numbers:
        """The fields to mask that hold whole numbers."""
        types = {path: mapped.type for path in self.rules if (mapped := self.fields.get(path)) is not None}
        return {path: WHOLE_NUMBERS[kind] for path, kind in types.items() if kind in WHOLE_NUMBERS}

    @property
    def max_terms(self) -> int:
        """How many values one ``terms`` query may have."""
        return int(self.settings.get("max_terms_count", MAX_TERMS))

    @property
    def standard_analyzer(self) -> bool:
        """Whether a field without an analyzer of its own is analyzed by the standard one."""
        return not {"default", "standard"} & set(self.settings.get("analysis", {}).get("analyzer", {}))

    @property
    def _source_mode(self) -> str:
        """How documents are kept: ``stored``, ``synthetic`` or ``disabled``."""
        by_default = "synthetic" if self.settings.get("mode") in ("logsdb", "time_series") else "stored"
        said = self.settings.get("mapping", {}).get("source", {}).get("mode")
        return str(said or self.mapping.get("_source", {}).get("mode", by_default))

    def is_plain(self, normalizer: str | None) -> bool:
        """Whether a normalizer lowers letters and strips blanks at most, so that what it makes can be compared."""
        if normalizer in (None, "lowercase"):
            return True
        analysis = self.settings.get("analysis", {})
        known = analysis.get("normalizer", {}).get(normalizer, {})
        filters = known.get("filter", [])
        names = {filters} if isinstance(filters, str) else {*filters}
        return not known.get("char_filter") and names <= {"lowercase", "trim"} - analysis.get("filter", {}).keys()

    def obstacles(self) -> Iterator[Finding]:
        """What forbids to write in it now."""
        if self.status != "open":
            yield Finding(self.name, "the index is closed", "Open it, or delete it if it is not needed.")
            return
        if self.health == "red":
            yield Finding(self.name, "the index is red: shards are missing", "Bring its shards back first.")
        blocks = self.settings.get("blocks", {})
        if found := [block for block in BLOCKS if str(blocks.get(block)) == "true"]:
            yield Finding(
                self.name,
                f"the index is blocked by {', '.join(f'index.blocks.{block}' for block in found)}",
                "Lift the block for the time of the erasure.",
            )

    def problems(self) -> Iterator[Finding]:
        """What forbids to erase in it."""
        yield from self.obstacles()
        if self.status != "open":
            return
        stored = self.mapping.get("_source", {})
        mode = self._source_mode
        if mode == "disabled" or stored.get("enabled") is False or stored.get("includes") or stored.get("excludes"):
            yield Finding(
                self.name,
                "its mapping keeps no whole _source, so a document cannot be written back without loss",
                "Reindex it with the whole _source, or delete it.",
            )
        if mode == "synthetic":
            yield Finding(
                self.name,
                "its _source is synthetic: a document is not read as it was written, so none could be put back exactly",
                "Reindex it into one with index.mapping.source.mode: stored.",
            )
        if self.settings.get("mode") == "time_series":
            yield Finding(self.name, "documents of a time series cannot be rewritten", "Erase there by hand.")
        for path, rule in self.rules.items():
            if (mapped := self.fields.get(path)) is not None:
                yield from self._field_problems(mapped, rule)

    def _field_problems(self, mapped: MappedField, rule: FieldRule) -> Iterator[Finding]:
        place = f"{self.name} {mapped.path}"
        if mapped.type == "alias":
            yield Finding(
                place,
                f"is an alias of {mapped.spec.get('path')}, documents do not hold it",
                "Name the field itself in the data map.",
            )
        elif rule.mask is Strategy.TOKEN and mapped.type in WHOLE_NUMBERS:
            return
        elif mapped.type not in TEXT_TYPES and rule.mask not in (Strategy.NULL, Strategy.REMOVE):
            yield Finding(
                place, f"is of type {mapped.type} and cannot hold a mask's text", 'Use mask = "null" or "remove" there.'
            )

    def warnings(self) -> Iterator[Finding]:
        """What a report should say of it."""
        if str(self.settings.get("final_pipeline", "_none")) != "_none":
            yield Finding(
                self.name,
                "it has a final ingest pipeline, which also runs over every masked document",
                "Check that the pipeline neither adds personal data nor fails on masks.",
            )
        for path, rule in self.rules.items():
            mapped = self.fields.get(path)
            short = mapped is not None and int(mapped.spec.get("ignore_above", TOKEN_LENGTH)) < TOKEN_LENGTH
            if short and rule.mask is Strategy.TOKEN:
                yield Finding(
                    f"{self.name} {path}",
                    f"ignore_above is below {TOKEN_LENGTH}, so masks are stored but cannot be searched for",
                    f"Raise ignore_above to {TOKEN_LENGTH}.",
                )


async def resolve(client: AsyncElasticsearch, data_map: ElasticsearchMap) -> dict[str, list[Index]]:
    """The concrete indices behind each pattern; aliases and data streams are resolved.

    Hidden and closed indices are among them: an index that a pattern names is never passed over in silence.
    """
    return {pattern: await _resolve(client, pattern, rules) for pattern, rules in data_map.root.items()}


async def _resolve(client: AsyncElasticsearch, pattern: str, rules: Rules) -> list[Index]:
    catalogue = await client.indices.get(
        index=pattern,
        expand_wildcards="all",
        ignore_unavailable=True,
        allow_no_indices=True,
        features=["mappings", "settings"],
    )
    if not catalogue.body:
        return []
    states = await client.cat.indices(index=pattern, expand_wildcards="all", format="json", h="index,status,health")
    state: dict[str, Any] = {row["index"]: row for row in states.body if isinstance(row, dict)}
    return [
        Index(
            name=name,
            status=state.get(name, {}).get("status", "open"),
            health=state.get(name, {}).get("health"),
            settings=entry["settings"]["index"],
            mapping=entry.get("mappings", {}),
            rules=dict(rules),
        )
        for name, entry in catalogue.body.items()
    ]


def merge(resolved: Mapping[str, list[Index]]) -> list[Index]:
    """Each index once, sorted by name, with the rules of every pattern that names it; the later pattern's counts."""
    merged: dict[str, Index] = {}
    for found in resolved.values():
        for index in found:
            earlier = merged[index.name].rules if index.name in merged else {}
            merged[index.name] = replace(index, rules={**earlier, **index.rules})
    return [merged[name] for name in sorted(merged)]
