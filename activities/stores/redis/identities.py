"""The identities that keys name and hold, whoever's they are, by one scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from activities.contract import Finding, Heartbeat, Sighting
from activities.masking import Strategy
from activities.stores.redis import contents
from activities.stores.redis.contents import Page
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.forms import scanned_for
from activities.stores.redis.keyspace import Keyspace


async def identities(
    keyspace: Keyspace, data_map: RedisMap, heartbeat: Heartbeat
) -> AsyncGenerator[Sighting | Finding]:
    """Yields what stands in keys' names, and in what keys hold.

    Args:
        keyspace: Where to look.
        data_map: The templates and rules.
        heartbeat: Told of every page.
    """
    rules = data_map.rules
    forms = [*(each.form for each in data_map.templates.values()), *(rule.form for rule in rules.values())]
    unfit: dict[str, Counter[str]] = {}
    scanned = 0
    async with aclosing(_scanned(keyspace, scanned_for(forms))) as pages:
        async for keys in pages:
            scanned += len(keys)
            heartbeat("keys scanned", scanned)
            texts = {key: key.decode("utf-8", "surrogateescape") for key in keys}
            for place, template in data_map.templates.items():
                if readings := [reading for text in texts.values() for reading in template.readings(text)]:
                    yield Sighting(place, (template.kind,), readings)
            for place, rule in rules.items():
                named = [key for key, text in texts.items() if rule.form.matches(text)]
                async for page in _pages(keyspace, named):
                    if page.kind not in ("none", *rule.part.types):
                        unfit.setdefault(place, Counter())[page.kind] += 1
                    held = [each.text for each in page.items if each.part is rule.part and rule.looks_at(each.field)]
                    if held:
                        yield Sighting(place, rule.kinds, held, are_texts=rule.how is Strategy.TEXT)
    for place, kinds in unfit.items():
        for kind, count in sorted(kinds.items()):
            what = f"{count:,} keys of this form are of type {kind}, and were not looked into"
            yield Finding(place, what, "Name another part of them in the data map, or a narrower form of key.")


async def _scanned(keyspace: Keyspace, match: bytes) -> AsyncGenerator[list[bytes]]:
    async for keys in keyspace.scan(match):
        yield keys


async def _pages(keyspace: Keyspace, keys: Sequence[bytes]) -> AsyncIterator[Page]:
    """Yields what keys hold, in pages."""
    for start in range(0, len(keys), contents.KEYS):
        chunk = keys[start : start + contents.KEYS]
        await keyspace.pace.take(len(chunk))
        for first in await contents.first_pages(keyspace, chunk):
            yield first
            async for page in contents.further_pages(keyspace, first):
                yield page
