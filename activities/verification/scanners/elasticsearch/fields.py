"""Which fields a document's ``_source`` does not show, and how they are read all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from activities.contract import Finding

DOC_VALUES = {"keyword", "constant_keyword", "byte", "short", "integer", "long", "unsigned_long", "ip"}
"""Types whose doc values are the values themselves."""

SHORT_TEXTS = {"keyword", "constant_keyword"}

HARMLESS = {
    "alias",  # another field's name
    "boolean",
    "dense_vector",
    "double",
    "float",
    "half_float",
    "rank_feature",
    "rank_features",
    "scaled_float",
    "sparse_vector",
    "token_count",
}
"""Types that can hold no identity."""

MOST = 100
"""Fields whose doc values one search answers with; default of ``index.max_docvalue_fields_search``."""

REINDEX = "Reindex it with the whole _source, or delete it; then verify again."


@dataclass(frozen=True)
class Unshown:
    """The fields of one index that ``_source`` does not show.

    Args:
        doc_values: Fields that are read out of the index's columns.
        stored: Fields that are stored by themselves.
        binary: Fields whose value is base64, shown or not.
        not_proven: What cannot be read at all, or not as it was written.
    """

    doc_values: list[str]
    stored: list[str]
    binary: frozenset[str]
    not_proven: list[Finding]


def unshown(index: str, settings: Mapping[str, Any], mapping: Mapping[str, Any]) -> Unshown:
    """Reads an index's settings and mapping.

    Args:
        index: Its name.
        settings: Its settings below ``index``.
        mapping: Its mapping.
    """
    source = mapping.get("_source", {})
    mode = str(settings.get("mapping", {}).get("source", {}).get("mode") or source.get("mode") or "")
    fields = list(_fields(mapping, "", nested=False))
    binary = frozenset(field.path for field in fields if field.spec["type"] == "binary")
    not_proven = []
    if mode == "synthetic" or (not mode and settings.get("mode") in ("logsdb", "time_series")):
        what = "its _source is synthetic: documents are put together anew and not shown as they were written"
        not_proven.append(Finding(index, what, "Reindex it with index.mapping.source.mode: stored; then verify again."))
    is_off = mode == "disabled" or source.get("enabled") is False
    shown = _Filter(source.get("includes", ()), source.get("excludes", ()))
    hidden = [field for field in fields if is_off or not shown.shows(field.path)]
    doc_values: list[str] = []
    stored: list[str] = []
    for field in hidden:
        columns, kept, whole = _ways(field)
        if columns and len(doc_values) + len(columns) > MOST:
            columns, whole = [], bool(kept) and whole
        doc_values += columns
        stored += kept
        if not whole:
            what = f"the field {field.path} ({field.spec['type']}) is not in _source and cannot be read otherwise"
            not_proven.append(Finding(f"{index}: {field.path}", what, REINDEX))
    return Unshown(doc_values, stored, binary, not_proven)


@dataclass(frozen=True)
class _Field:
    path: str
    spec: Mapping[str, Any]
    nested: bool


def _fields(node: Mapping[str, Any], path: str, *, nested: bool) -> Iterator[_Field]:
    for name, spec in node.get("properties", {}).items():
        member = f"{path}.{name}" if path else name
        kind = spec.get("type", "object")
        if kind in ("object", "nested", "passthrough"):
            yield from _fields(spec, member, nested=nested or kind == "nested")
        else:
            yield _Field(member, spec, nested)


def _ways(field: _Field) -> tuple[list[str], list[str], bool]:
    """How a hidden field is read: by columns, as stored, and whether that is all that is kept of it."""
    flavours = {field.path: field.spec}
    flavours |= {f"{field.path}.{name}": spec for name, spec in field.spec.get("fields", {}).items()}
    columns, stored = [], []
    whole = not any(_is_kept(spec) for spec in flavours.values())
    for path, spec in flavours.items():
        if field.nested:  # a search answers with columns of whole documents, not of the objects nested in them
            continue
        if spec.get("store") is True:
            stored.append(path)
            whole = True
        elif spec["type"] in DOC_VALUES and spec.get("doc_values", True) is not False:
            columns.append(path)
            # a normalizer changes what is kept, and where one flavour ignores what is too long, another may not
            own = path == field.path or spec.get("ignore_above") is None
            whole = whole or (own and not spec.get("normalizer"))
    return columns, stored, whole


def _is_kept(spec: Mapping[str, Any]) -> bool:
    """Whether anything is kept of a flavour of a field that is not in ``_source``, and may be an identity."""
    if spec["type"] in HARMLESS:
        return False
    has_columns = spec["type"] not in ("text", "match_only_text", "binary", "search_as_you_type")
    indexed = spec.get("index", True) is not False and spec["type"] != "binary"
    columns = spec.get("doc_values", has_columns) is True
    return indexed or columns or spec.get("store") is True


class _Filter:
    """What ``_source`` keeps, by ``includes`` and ``excludes``: a pattern stands for all that is below it too."""

    def __init__(self, includes: Any, excludes: Any) -> None:
        self._includes = [_pattern(each) for each in _listed(includes)]
        self._excludes = [_pattern(each) for each in _listed(excludes)]

    def shows(self, path: str) -> bool:
        included = not self._includes or any(pattern.match(path) for pattern in self._includes)
        return included and not any(pattern.match(path) for pattern in self._excludes)


def _listed(patterns: Any) -> list[str]:
    return [patterns] if isinstance(patterns, str) else [*patterns]


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, glob.split("*"))) + r"(?:\..*)?\Z", re.DOTALL)
