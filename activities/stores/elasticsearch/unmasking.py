"""What a rollback makes of one document: our masks go, whatever else it holds by now stays. Pure: knows no server.

Three states meet: the pre-image, what masking makes of it, and the document as it is now. A token says by itself what
it stands for, wherever it is; a constant, a null or a removed value only where its surroundings still tell its place.
Where two slices removed elements of one array that stood side by side, both come back, but their order may be lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from activities.identities import IdentitySet
from activities.masking import CONSTANT, TOKEN, Masker, Strategy
from activities.stores.elasticsearch.documents import DocumentMask, Json, Numbers, Rules, text_of

CANDIDATES = 32
"""With how many masked elements one changed element of an array is compared."""

_CONSTANT = text_of(CONSTANT)
_Known = Mapping[tuple[str, str], Json]
_Site = tuple[str, str]


@dataclass(frozen=True)
class Unmasked:
    """A document after its rollback.

    Args:
        source: Its ``_source`` as it shall be; the very same object where nothing has to change.
        whole: Whether every value that was masked is in it.
    """

    source: dict[str, Json]
    whole: bool


class Unmask:
    """Takes a slice's masks out of documents.

    Args:
        rules: The fields.
        identities: Whom the slice masks.
        masker: Computes the tokens.
        numbers: Fields whose tokens are numbers.
    """

    def __init__(self, rules: Rules, identities: IdentitySet, masker: Masker, numbers: Numbers) -> None:
        self._numbers = numbers
        self._written, self._marked = _Recalling(masker), _Recalling(masker)
        self._mask = DocumentMask(rules, identities, self._written, numbers)
        # with a token at every place that is masked, whatever by, a document keeps its shape and tells those places
        marks = {
            path: rule if rule.mask is Strategy.TEXT else rule.model_copy(update={"mask": Strategy.TOKEN})
            for path, rule in rules.items()
        }
        self._mark = DocumentMask(marks, identities, self._marked, numbers)
        self._beside = {path: rule.beside for path, rule in rules.items() if rule.beside is not None}

    def __call__(self, old: dict[str, Json], now: dict[str, Json], writes: int) -> Unmasked:
        """Takes the masks of one pre-image out of a document.

        Args:
            old: The pre-image.
            now: The document as it is.
            writes: How often it was written since, by its version; less than one where it was made anew.
        """
        self._written.clear()
        masked = self._mask(old)
        if same(now, old):
            return Unmasked(now, whole=True)
        numbers = self._written.numbers
        found, now = now, _respelled(now, self._numbers, numbers, "")
        if same(now, masked):
            return Unmasked(old, whole=True)
        if writes == 1:
            return Unmasked(found, whole=True)  # the one write was not ours: the erasure never came this far
        before = text_of(old)
        tokens = {token for token in self._written.values if token not in before}
        merge = _Merge(tokens, self._beside, _may_lack(tokens, before, masked, now, default=writes > 1))
        known, alike = self._known(old, tokens)
        new: dict[str, Json] = merge.value(old, masked, now, "")
        if tokens:
            new = _sweep(new, known, alike, {token: self._written.values[token] for token in tokens}, "")
        whole = not Counter(self._sites(old)) - Counter(self._sites(new))
        new = _respelled(new, self._numbers, {token: number for number, token in numbers.items()}, "")
        return Unmasked(found if same(new, found) else new, whole)

    def _sites(self, document: dict[str, Json]) -> Iterator[_Site]:
        """Yields each value that an erasure masks in a document: its path, and itself as text."""
        for path, value, mark in _differences(document, self._marks(document), ""):
            if mark in self._marked.values:
                yield path, text_of(value)
            else:
                there = Counter(TOKEN.findall(str(value)))
                made = Counter(TOKEN.findall(mark)) - there
                yield from ((path, text_of(self._marked.values[token])) for token in made.elements())

    def _marks(self, document: dict[str, Json]) -> dict[str, Json]:
        self._marked.clear()
        return self._mark(document)

    def _known(self, old: dict[str, Json], tokens: set[str]) -> tuple[_Known, Mapping[str, Json]]:
        """What a value that is one token stands for: by path, and anywhere; none where it was a text and a number."""
        by_path: dict[tuple[str, str], dict[str, Json]] = {}
        anywhere: dict[str, dict[str, Json]] = {}
        for path, value, mark in _differences(old, self._marks(old), ""):
            if mark in tokens:
                by_path.setdefault((path, mark), {})[text_of(value)] = value
                anywhere.setdefault(mark, {})[text_of(value)] = value
        for token in tokens - anywhere.keys():  # they stand within texts only
            anywhere[token] = {"": self._written.values[token]}
        return (
            {place: next(iter(values.values())) for place, values in by_path.items() if len(values) == 1},
            {token: next(iter(values.values())) for token, values in anywhere.items() if len(values) == 1},
        )


class _Recalling(Masker):
    """Computes another masker's tokens, and recalls what each stands for.

    A number has a token of its own here, since numbers tell no place in a document; `numbers` says which.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self.values: dict[str, str] = {}
        self.numbers: dict[int, str] = {}

    def clear(self) -> None:
        """Forgets all of it."""
        self.values.clear()
        self.numbers.clear()

    def number(self, value: int, bits: int, *, signed: bool) -> Json:
        token = self._masker.token(f"{value} of {bits} bits")
        self.values[token] = str(value)
        with suppress(ValueError):  # nobody masked it, or it would not have been written
            self.numbers[self._masker.number(value, bits, signed=signed)] = token
        return token

    def token(self, value: str) -> str:
        token = self._masker.token(value)
        self.values[token] = value
        return token


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same text; to Python, ``1``, ``1.0`` and ``True`` are equal."""
    return one is other or (one == other and text_of(one) == text_of(other))


def _respelled(value: Json, paths: Collection[str], words: Mapping[Any, Json], path: str) -> Json:
    """The document with each number of some fields told in another word; the very same object where there is none."""
    if not words:
        return value
    if isinstance(value, dict):
        within = path in paths
        new = {
            key: _respelled(member, paths, words, path if within else f"{path}.{key}" if path else key)
            for key, member in value.items()
        }
        return value if all(new[key] is member for key, member in value.items()) else new
    if isinstance(value, list):
        elements = [_respelled(element, paths, words, path) for element in value]
        return value if all(one is other for one, other in zip(elements, value, strict=True)) else elements
    if path in paths and isinstance(value, str | int) and not isinstance(value, bool):
        return words.get(value, value)
    return value


def _may_lack(tokens: set[str], before: str, masked: Json, now: Json, *, default: bool) -> bool:
    after, text = text_of(masked), text_of(now)
    constants = after.count(_CONSTANT) > before.count(_CONSTANT)
    if not tokens and not constants:
        return default
    return (constants and _CONSTANT in text) or any(token in text for token in tokens)


def _differences(old: Json, mark: Json, path: str) -> Iterator[tuple[str, Json, str]]:
    """Yields path, old value and marked value of everything that was marked; elements of arrays share a path."""
    if mark is old:
        return
    if isinstance(old, dict):
        for key, value in old.items():
            yield from _differences(value, mark[key], f"{path}.{key}" if path else key)
    elif isinstance(old, list):
        for value, marked in zip(old, mark, strict=True):
            yield from _differences(value, marked, path)
    else:
        yield path, old, mark


def _sweep(value: Json, known: _Known, alike: Mapping[str, Json], spans: Mapping[str, str], path: str) -> Json:
    """Puts back what a token stands for, wherever it is by now."""
    if isinstance(value, dict):
        return {
            key: _sweep(member, known, alike, spans, f"{path}.{key}" if path else key) for key, member in value.items()
        }
    if isinstance(value, list):
        return [_sweep(element, known, alike, spans, path) for element in value]
    if not isinstance(value, str) or CONSTANT not in value:
        return value
    if TOKEN.fullmatch(value):
        return known.get((path, value), alike.get(value, value))
    # what is not of this pre-image has no entry: another slice's token, or one that was there before
    return TOKEN.sub(lambda found: spans.get(found[0], found[0]), value)


class _Merge:
    """Puts masked values back by their place.

    Args:
        tokens: The tokens that the pre-image's masking made.
        beside: The field that each neighbour stands beside.
        may_lack: Whether to put back what was removed or emptied.
    """

    def __init__(self, tokens: set[str], beside: Mapping[str, str], may_lack: bool) -> None:
        self._tokens = tokens
        self._beside = beside
        self._may_lack = may_lack

    def value(self, old: Json, masked: Json, now: Json, path: str) -> Json:
        """The value as it is now, with the old ones in place of the masks."""
        if same(old, masked):
            return now
        if same(now, masked):
            return old if self._may_lack or CONSTANT in text_of(masked) else now
        if isinstance(old, dict) and isinstance(masked, dict) and isinstance(now, dict):
            return self._object(old, masked, now, path)
        if isinstance(old, list) and isinstance(masked, list) and isinstance(now, list):
            return self._array(old, masked, now, path, self._align(old, masked, now, path))
        return now

    def _object(self, old: dict[str, Json], masked: dict[str, Json], now: dict[str, Json], path: str) -> Json:
        new: dict[str, Json] = {}
        for key, value in now.items():
            member = f"{path}.{key}" if path else key
            new[key] = value
            if key in masked and key in old:
                guide = self._guide(old, masked, now, key, member)
                if guide is None:
                    new[key] = self.value(old[key], masked[key], value, member)
                else:
                    new[key] = self._array(old[key], masked[key], value, member, guide)
        removed = {key for key in old if key not in masked and key not in now} if self._may_lack else set()
        if not removed:
            return new
        ours = [key for key in old if key in new or key in removed]
        return {key: new[key] if key in new else old[key] for key in (*ours, *(k for k in new if k not in old))}

    def _guide(self, old: Json, masked: Json, now: Json, key: str, member: str) -> dict[int, int] | None:
        """How an array beside another has moved: as that other one has, whose tokens tell."""
        beside = self._beside.get(member)
        if beside is None:
            return None
        parent, dot, _ = key.rpartition(".")
        other = f"{parent}{dot}{beside.rpartition('.')[2]}"
        for state in (old, masked, now):
            here, there = state[key], state.get(other)
            if not isinstance(here, list) or not isinstance(there, list) or len(here) != len(there):
                return None
        if len(old[other]) != len(masked[other]):
            return None
        return self._align(old[other], masked[other], now[other], beside)

    def _array(
        self, old: list[Json], masked: list[Json], now: list[Json], path: str, aligned: Mapping[int, int]
    ) -> list[Json]:
        origin = _origins(old, masked)
        if origin is None:
            return now
        new = [
            self.value(old[origin[aligned[place]]], masked[aligned[place]], value, path) if place in aligned else value
            for place, value in enumerate(now)
        ]
        kept = set(origin)
        if len(kept) == len(old) or not self._may_lack:
            return new
        spare = Counter(text_of(value) for place, value in enumerate(now) if place not in aligned)
        where = {origin[theirs]: place for place, theirs in aligned.items()}
        put: dict[int, list[Json]] = {}
        last = -1
        for place, value in enumerate(old):
            if place in kept:
                last = where.get(place, last)
            elif spare[text_of(value)]:
                spare[text_of(value)] -= 1  # it is back already
            else:
                put.setdefault(last, []).append(value)
        filled = put.get(-1, [])
        for place, value in enumerate(new):
            filled += [value, *put.get(place, [])]
        return filled

    def _align(self, old: list[Json], masked: list[Json], now: list[Json], path: str) -> dict[int, int]:
        """Which masked element each element of an array was, by position among the masked ones."""
        origin = _origins(old, masked)
        if origin is None:
            return {}
        held = [self._tokens_of(value) for value in masked]
        exact: dict[str, list[int]] = {}
        for place, value in enumerate(masked):
            for text in {text_of(value), text_of(old[origin[place]])}:
                exact.setdefault(text, []).append(place)
        aligned: dict[int, int] = {}
        for place, value in enumerate(now):
            if _bare(value):
                continue
            found = exact.get(text_of(value))
            if found is None and (tokens := self._tokens_of(value)):
                found = [theirs for theirs, known in enumerate(held) if known & tokens]
            if not found or len(found) > CANDIDATES:
                continue
            if len(masked) == len(now) and place in found:
                aligned[place] = place
                continue
            results = {text_of(self.value(old[origin[theirs]], masked[theirs], value, path)) for theirs in found}
            if len(results) == 1:
                aligned[place] = found[0]
        if len(masked) == len(now) and all(place == theirs for place, theirs in aligned.items()):
            return {place: place for place in range(len(now))}
        return aligned

    def _tokens_of(self, value: Json) -> set[str]:
        return self._tokens.intersection(TOKEN.findall(text_of(value)))


def _bare(value: Json) -> bool:
    """Whether a value looks like any other that was masked, another slice's too, and so tells no place."""
    if isinstance(value, dict):
        return all(_bare(member) for member in value.values())
    if isinstance(value, list):
        return all(_bare(element) for element in value)
    return value is None or value == CONSTANT


def _origins(old: Sequence[Json], masked: Sequence[Json]) -> list[int] | None:
    """Where each masked element stood before others were removed; None where that cannot be told."""
    if len(old) == len(masked):
        return list(range(len(old)))
    origins: list[int] = []
    for place, value in enumerate(old):
        if len(origins) < len(masked) and same(masked[len(origins)], value):
            origins.append(place)
    return origins if len(origins) == len(masked) else None
