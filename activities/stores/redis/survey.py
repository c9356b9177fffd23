"""The survey: forms of keys that look as if they, or what they hold, named people, and are not in the data map.

A bounded sample of keys is drawn, and a page of what some of them hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from activities.contract import Suspect
from activities.identities import IdentityKind
from activities.stores.redis import contents
from activities.stores.redis.contents import Item
from activities.stores.redis.data_map import Part, RedisMap
from activities.stores.redis.keyspace import Keyspace
from activities.stores.redis.shapes import Shape, is_word, shapes
from activities.suspicion import SAMPLE, Suspicion

STEPS = 20
"""Steps of each node's scan: some 20,000 keys."""

SHAPES = 200
"""Shapes that are looked into."""

HOLDERS = 20
"""Keys of one shape that are looked into."""

ITEMS = 50
"""Items of one key that are looked at, about."""


async def survey(keyspace: Keyspace, data_map: RedisMap, suspicion: Suspicion) -> list[Suspect]:
    """Looks for keys that may be somebody's, or hold somebody's identities.

    Args:
        keyspace: The connection.
        data_map: What is named already.
        suspicion: What to look for, and where.
    """
    named = [template.form for template in data_map.templates.values()]
    sample: dict[str, None] = {}
    async for page in keyspace.scan(b"*", STEPS):
        texts = (key.decode("utf-8", "surrogateescape") for key in page)
        sample |= dict.fromkeys(text for text in texts if not any(form.matches(text) for form in named))
    suspects: list[Suspect] = []
    closed = False
    for shape in shapes(sample, suspicion)[:SHAPES]:
        if not suspicion.watches("redis", shape.text):
            continue
        if by_key := [*_named_after_people(shape, suspicion)]:
            suspects += by_key
            continue
        try:
            items = await _items(keyspace, shape, data_map)
        except NoPermissionError:
            closed = True
            continue
        suspects += _holding(shape, items, suspicion)
    if closed:
        why = "the user may not read what some keys hold, so it is not known"
        suspects.append(Suspect("(contents)", why, {}))
    return [suspect for suspect in suspects if suspicion.watches("redis", suspect.place)]


def _named_after_people(shape: Shape, suspicion: Suspicion) -> Iterator[Suspect]:
    templates: list[str] = []
    reasons: list[str] = []
    loose: list[IdentityKind] = []
    for at, before, values in shape.varying():
        found = suspicion.by_content(values[:SAMPLE])
        if found is not None and found[1]:
            loose.append(found[0])
        elif kind := found[0] if found else suspicion.by_name(before):
            reasons.append(f"it has {kind} in it" if found else f"{before} names {kind}")
            templates.append(shape.written(at, kind))
    if templates:
        yield Suspect(shape.text, "; ".join(reasons), {shape.group: templates})
    elif loose:
        yield Suspect(shape.text, f"some of these keys hold {loose[0]} inside a longer name", {})


async def _items(keyspace: Keyspace, shape: Shape, data_map: RedisMap) -> list[Item]:
    """Some of what keys of a shape hold, and no rule names."""
    keys = [key.encode("utf-8", "surrogateescape") for key in shape.keys[:HOLDERS]]
    items: list[Item] = []
    for page in await contents.first_pages(keyspace, keys, ITEMS):
        text = page.key.decode("utf-8", "surrogateescape")
        rules = [rule for rule in data_map.rules.values() if rule.form.matches(text)]
        items += [
            item
            for item in page.items
            if not any(rule.part is item.part and rule.looks_at(item.field) for rule in rules)
        ]
    return items


def _holding(shape: Shape, items: Sequence[Item], suspicion: Suspicion) -> Iterator[Suspect]:
    for part in Part:
        by_field: dict[str, list[str]] = {}
        for item in items:
            if item.part is part:
                by_field.setdefault(item.field, []).append(item.text)
        if part is Part.FIELDS:
            by_field = {"": [*dict.fromkeys(by_field.get("", ()))]}
        ours = {field for field in by_field if field and is_word(field, suspicion)}
        if len(ours) > ITEMS:
            ours = set()
        words = {field for field in ours if suspicion.by_name(field) or len(by_field[field]) > 1}
        rest = [text for field, texts in by_field.items() if field not in words for text in texts]
        for field, texts in [*((field, by_field[field]) for field in sorted(words)), ("", rest)]:
            found = suspicion.by_content(texts[:SAMPLE])
            kind = found[0] if found else suspicion.by_name(field)
            if kind is None:
                continue
            entry: dict[str, Any] = {"key": shape.text, part.value: str(kind)}
            if field:
                entry["only"] = [field]
            if found and found[1]:
                entry["mask"] = "text"
            of = f" of {field}" if field else ""
            why = f"its {part}{of} {'look like' if found else 'are named after'} {kind}"
            yield Suspect(f"{shape.text} ({part}{of})", why, {shape.group: [entry]})
