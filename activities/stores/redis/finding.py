"""Finding: the keys of a slice's people, and the items with an identity in them, by one scan for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from activities.contract import Heartbeat
from activities.identities import IdentitySet
from activities.masking import CONSTANT, Masker, Strategy
from activities.stores.redis import contents
from activities.stores.redis.contents import Item, Page
from activities.stores.redis.data_map import ContentRule, RedisMap
from activities.stores.redis.forms import Glob, scanned_for
from activities.stores.redis.keyspace import CHUNK, Keyspace


@dataclass(frozen=True)
class Match:
    """An item with an identity in it.

    Args:
        place: Of the rule that found it.
        key: The key that holds it.
        kind: The key's type.
        item: The item.
    """

    place: str
    key: bytes
    kind: str
    item: Item


@dataclass(frozen=True)
class Found:
    """Some keys of one form.

    Args:
        places: That of a template, whose keys go whole, or those of all rules with this form.
        keys: The keys.
        whole: Whether they go whole.
    """

    places: tuple[str, ...]
    keys: list[bytes]
    whole: bool


@dataclass
class Search:
    """Looks for the identities of a slice.

    Args:
        keyspace: Where to look.
        data_map: What to look for.
        people: Whose.
        heartbeat: Told of every page.
    """

    keyspace: Keyspace
    data_map: RedisMap
    people: IdentitySet
    heartbeat: Heartbeat
    unfit: dict[str, Counter[str]] = field(default_factory=dict)
    """Keys of a rule's form that are of a type without its part: by place, and by type."""

    def __post_init__(self) -> None:
        rules = self.data_map.rules
        self.looks = {place: Look(rule, self.people) for place, rule in rules.items()}
        forms: dict[Glob, list[str]] = {}
        for place, rule in rules.items():
            forms.setdefault(rule.form, []).append(place)
        self._forms = {form: tuple(places) for form, places in forms.items()}

    async def keys(self) -> AsyncIterator[Found]:
        """Yields whole keys of people, and keys whose content is to be read, in chunks.

        First come keys whose names are known, then one scan serves all that is left.
        """
        for place, template in self.data_map.templates.items():
            if template.is_exact:
                names = [template.key(value) for value in self.people.spellings([template.kind]) if value]
                for start in range(0, len(names), CHUNK):
                    if there := await self._existing(names[start : start + CHUNK]):
                        self.heartbeat(place, len(there))
                        yield Found((place,), there, whole=True)
        for form, places in self._forms.items():
            if form.is_exact:
                yield Found(places, [_bytes(form.head)], whole=False)
        async for found in self._scanned():
            yield found

    async def _scanned(self) -> AsyncIterator[Found]:
        templates = self.data_map.templates
        wild = {form: places for form, places in self._forms.items() if not form.is_exact}
        forms = [*(each.form for each in templates.values() if not each.is_exact), *wild]
        if not forms:
            return
        waiting: dict[tuple[str, ...], Found] = {}
        scanned = 0
        async for page in self.keyspace.scan(scanned_for(forms)):
            scanned += len(page)
            self.heartbeat("keys scanned", scanned)
            for key in page:
                text = key.decode("utf-8", "surrogateescape")
                if named := [place for place, each in templates.items() if each.names(text, self.people)]:
                    if not any(templates[place].is_exact for place in named):
                        places: tuple[str, ...] = (named[0],)
                        waiting.setdefault(places, Found(places, [], whole=True)).keys.append(key)
                    continue  # it goes whole, so nobody has to look into it
                for form, places in wild.items():
                    if form.matches(text):
                        waiting.setdefault(places, Found(places, [], whole=False)).keys.append(key)
            for places in [places for places, found in waiting.items() if len(found.keys) >= CHUNK]:
                yield waiting.pop(places)
        for found in waiting.values():
            self.heartbeat(found.places[0], len(found.keys))
            yield found

    async def _existing(self, names: Sequence[str]) -> list[bytes]:
        keys = [_bytes(name) for name in names]
        there = await self.keyspace.pipelined([("EXISTS", key) for key in keys])
        return [key for key, exists in zip(keys, there, strict=True) if exists]

    async def matches(self, found: Found) -> AsyncIterator[list[Match]]:
        """Yields the items of keys that hold an identity, in pages of one or several keys.

        Args:
            found: Keys that do not go whole.
        """
        for start in range(0, len(found.keys), contents.KEYS):
            chunk = found.keys[start : start + contents.KEYS]
            await self.keyspace.pace.take(len(chunk))
            pages = await contents.first_pages(self.keyspace, chunk)
            types = {"none", *(kind for place in found.places for kind in self.data_map.rules[place].part.types)}
            if unfit := [page.kind for page in pages if page.kind not in types]:
                self.unfit.setdefault(found.places[0], Counter()).update(unfit)
            if matches := [match for page in pages for match in self._in(page, found.places)]:
                yield matches
            for first in pages:
                async for page in contents.further_pages(self.keyspace, first):
                    if matches := [*self._in(page, found.places)]:
                        yield matches

    def _in(self, page: Page, places: Sequence[str]) -> Iterator[Match]:
        self.heartbeat(places[0], len(page.items))
        for item in page.items:
            for place in places:
                if self.looks[place].finds(item):
                    yield Match(place, page.key, page.kind, item)


class Look:
    """Says whether an item holds an identity, and what it becomes.

    Args:
        rule: What to look at.
        people: Whose identities.
    """

    def __init__(self, rule: ContentRule, people: IdentitySet) -> None:
        self._rule = rule
        self._people = people
        self._inside = people.finder(rule.kinds) if rule.how is Strategy.TEXT else None

    def finds(self, item: Item) -> bool:
        """Whether an item holds one."""
        rule = self._rule
        if item.part is not rule.part or not rule.looks_at(item.field):
            return False
        if self._inside is not None:
            return next(self._inside.spans(item.text), None) is not None
        return self._people.holds(item.text, rule.kinds)

    def masked(self, text: str, masker: Masker) -> str | None:
        """What the text of a found item becomes; None where it goes."""
        match self._rule.how:
            case Strategy.REMOVE:
                return None
            case Strategy.NULL:
                return ""
            case Strategy.CONSTANT:
                return CONSTANT
            case Strategy.TEXT:
                assert self._inside is not None, "a rule for texts has a finder"
                return masker.text(text, self._inside)
            case Strategy.TOKEN:
                return masker.token(text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
