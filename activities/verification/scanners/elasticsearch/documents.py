"""Every value of a document, with the field that it stands in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from activities.verification.needles import Needles
from activities.verification.tally import Tally, without_values

LARGE = 1 << 64
"""No id is a number of this size."""

KNOWN = 10_000
"""Names of fields that are kept as known to hold no identity."""


class Documents:
    """Looks through pages of documents of one index.

    Args:
        index: The index.
        needles: What is looked for.
    """

    def __init__(self, index: str, needles: Needles) -> None:
        self._index = index
        self._needles = needles
        self.binary: frozenset[str] = frozenset()
        """Fields whose value is base64."""
        self._clean: set[str] = set()
        self._names: dict[str, str] = {}
        self.tally = Tally(needles)

    def look(self, hits: Sequence[Mapping[str, Any]]) -> None:
        """Looks through a page of documents, as a search answers with them."""
        texts: list[str] = []
        places: list[str] = []
        records: list[int] = []
        for hit in hits:
            self.tally.records += 1
            known = len(texts)
            for place, text in self._values(hit):
                texts.append(text)
                places.append(f"{self._index}: {place}")
            records += [self.tally.records] * (len(texts) - known)
        self.tally.bytes += sum(map(len, texts))
        self.tally.look(texts, places, records)

    def look_at_settings(self, said: Mapping[str, Any]) -> None:
        """Looks through what the cluster says of the index itself: its aliases, its mapping, its settings."""
        for part in said:
            for _, text in self._leaves(said[part], "", ""):
                if not text.isdecimal():  # a limit or a time, and nobody's id
                    self.tally.examine(text, f"{self._index}: its {part}", 0)

    def _values(self, hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield "_id", str(hit["_id"])
        if (routing := hit.get("_routing")) is not None:
            yield "_routing", str(routing)
        yield from self._leaves(hit.get("_source") or {}, "", "")
        for path, values in hit.get("fields", {}).items():
            yield from self._leaves(values, path, self._shown(path))

    def _leaves(self, value: Any, path: str, shown: str) -> Iterator[tuple[str, str]]:
        """Every value below a path, with that path as it may be shown."""
        if isinstance(value, str):
            yield shown, value
            if path in self.binary:
                yield shown, _unpacked(value)
        elif isinstance(value, Mapping):
            for key, member in value.items():
                if key not in self._clean:
                    yield from self._key(key, shown)
                below = self._shown(key)
                yield from self._leaves(
                    member, f"{path}.{key}" if path else key, f"{shown}.{below}" if shown else below
                )
        elif isinstance(value, list):
            for each in value:
                yield from self._leaves(each, path, shown)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield shown, str(value)
        elif isinstance(value, Decimal) and abs(value) < LARGE and value == value.to_integral_value():
            yield shown, str(int(value))

    def _key(self, key: str, shown: str) -> Iterator[tuple[str, str]]:
        """The name of a field may itself be an identity."""
        if self._needles.find(key):
            yield f"{shown} (names of fields)" if shown else "(names of fields)", key
        elif len(self._clean) < KNOWN:
            self._clean.add(key)

    def _shown(self, key: str) -> str:
        """The name of a field as it may be shown: a part that may be a value is not."""
        shown = self._names.get(key)
        if shown is None:
            if len(self._names) >= KNOWN:
                self._names.clear()
            shown = self._names[key] = without_values(key, self._needles, ".")
        return shown


def _unpacked(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return value
