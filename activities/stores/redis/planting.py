"""Planting: one key of the canary for every template and rule, which ends by itself where nobody takes it away."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ResponseError

from activities.canary.person import NAME, Canary, own_name
from activities.contract import Finding, Planted, Seed, Seeds
from activities.errors import translated
from activities.masking import Strategy
from activities.stores.redis.connection import PLACE, translate
from activities.stores.redis.data_map import ContentRule, Part, RedisMap
from activities.stores.redis.forms import Glob, KeyTemplate
from activities.stores.redis.keyspace import Command, Keyspace

SECONDS = 24 * 60 * 60
"""How long a key lives that nobody takes away; an erasure of the canary that takes longer is none of a canary."""


class RedisPlanter:
    """Plants in Redis; see `activities.contract.Planter` for the verbs.

    Args:
        keyspace: The connection, shared.
        data_map: Key templates and rules.
    """

    def __init__(self, keyspace: Keyspace, data_map: RedisMap) -> None:
        self._keyspace = keyspace
        self._map = data_map

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles one key a template or rule; a key that the application shares is left alone."""
        found = Seeds()
        for place, template in self._map.templates.items():
            if (identity := canary.identity([template.kind])) is None:
                found.missed.append(_without(place))
                continue
            key = _key_of(template, identity)
            found.seeds.append(Seed(place, {"key": key, "commands": [["SET", key, NAME, "EX", SECONDS]]}))
        for place, rule in self._map.rules.items():
            held = canary.text(rule.kinds) if rule.how is Strategy.TEXT else canary.identity(rule.kinds)
            if rule.form.is_exact:
                what = "is one key that the application works with, and is not touched"
                found.missed.append(Finding(place, what, "Nothing to mend."))
            elif held is None:
                found.missed.append(_without(place))
            else:
                key = _named(rule.form)
                commands = [[str(part) for part in _write(rule, key, held)], ["EXPIRE", key, str(SECONDS)]]
                found.seeds.append(Seed(place, {"key": key, "commands": commands}))
        return found

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Writes the keys."""
        planted = Planted()
        with translated(PLACE, translate):
            for seed in seeds:
                commands: list[Command] = [("UNLINK", seed.record["key"]), *map(tuple, seed.record["commands"])]
                answers = await self._keyspace.pipelined(commands, strict=False)
                failed = [answer for answer in answers if isinstance(answer, Exception)]
                if passing := [error for error in failed if not isinstance(error, ResponseError)]:
                    raise passing[0]
                if failed:
                    what = "the canary's key is refused"
                    planted.missed.append(Finding(seed.place, what, "Grant writing, where it should be covered."))
                else:
                    planted.places[seed.place] = planted.places.get(seed.place, 0) + 1
        return planted

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Unlinks the keys: nobody else's has such a name."""
        with translated(PLACE, translate):
            await self._keyspace.pipelined([("UNLINK", seed.record["key"]) for seed in seeds])
        return []


def _without(place: str) -> Finding:
    return Finding(place, "is found by an identity that the canary has none of", "Give it one: [canary].")


def _key_of(template: KeyTemplate, identity: str) -> str:
    before, after = (NAME.join(form.pieces) for form in (template.before, template.after))
    return f"{before}{identity}{after}"


def _named(form: Glob) -> str:
    return own_name().join(form.pieces)


def _write(rule: ContentRule, key: str, held: str) -> Command:
    """What makes a key that holds something as a rule says."""
    field = rule.only[0] if rule.only else NAME
    match rule.part:
        case Part.VALUES:
            return ("HSET", key, field, held) if rule.only else ("SET", key, held)
        case Part.FIELDS:
            return ("HSET", key, held, NAME)
        case Part.MEMBERS:
            return ("SADD", key, held)
        case Part.ELEMENTS:
            return ("RPUSH", key, held)
        case Part.ENTRIES:
            return ("XADD", key, "*", field, held)
