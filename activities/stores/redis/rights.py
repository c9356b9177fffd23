"""The check: whether the server takes what an erasure would send, each right by name; it sends only what has no effect.

Keys are made after the data map's forms, and nobody has them; one that the data map names in full is read only. What
scripts may call is asked inside of a script.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from redis import exceptions

from activities.contract import Finding, Health, outdated
from activities.stores.redis import server_state
from activities.stores.redis.connection import PLACE
from activities.stores.redis.data_map import ContentRule, Part, RedisMap
from activities.stores.redis.forms import Glob, escape
from activities.stores.redis.keyspace import Command, Keyspace

OLDEST = "4.0"
"""The first with UNLINK."""

_HASH = ("TYPE", "HSCAN", "HGET", "HSET", "HDEL", "PEXPIRE", "HPEXPIRETIME", "HPEXPIREAT", "HPEXPIRE")

_INSIDE: dict[Part, tuple[str, ...]] = {
    Part.VALUES: (*_HASH, "STRLEN", "GET", "SET", "DEL"),
    Part.FIELDS: _HASH,
    Part.MEMBERS: (
        *("TYPE", "SSCAN", "SISMEMBER", "SADD", "SREM", "PEXPIRE"),
        *("ZSCAN", "ZSCORE", "ZADD", "ZREM"),
    ),
    Part.ELEMENTS: ("TYPE", "LRANGE", "LINDEX", "LSET", "LREM", "LPOS"),
    Part.ENTRIES: (
        *("TYPE", "XRANGE", "XDEL", "XINFO STREAM", "XINFO GROUPS", "XINFO CONSUMERS", "XPENDING", "PTTL", "DEL"),
        *("XADD", "XSETID", "XGROUP CREATE", "XGROUP CREATECONSUMER", "XCLAIM", "PEXPIRE"),
    ),
}
"""What the scripts call."""

_OUTSIDE: dict[Part, tuple[tuple[str, ...], ...]] = {
    Part.VALUES: (("PTTL",), ("HPTTL", "FIELDS", "1", "f")),
    Part.FIELDS: (("PTTL",), ("HPTTL", "FIELDS", "1", "f")),
    Part.MEMBERS: (("PTTL",),),
    Part.ELEMENTS: (("PTTL",),),
    Part.ENTRIES: (("PTTL",), ("XLEN",)),
}
"""What is sent as it is: the command, and its arguments after the key."""

_ASK = """
local refused = {}
if not redis.acl_check_cmd then return false end
for _, command in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(command, '%S+') do words[#words + 1] = word end
  words[#words + 1] = KEYS[1]
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if known and not allowed then refused[#refused + 1] = command end
end
return refused
"""
"""A command that the server does not know is not refused: the erasure goes without it."""


async def check(keyspace: Keyspace, data_map: RedisMap) -> Health:
    """Asks the server.

    Args:
        keyspace: The connection.
        data_map: Says what is needed.
    """
    places = [*data_map.templates, *data_map.rules]
    try:
        nodes = await keyspace.nodes()
    except exceptions.NoPermissionError:  # a cluster's client asks what forms commands have before it sends any
        return Health("", places, [_lacks("COMMAND")])
    health = Health(await _version(keyspace, nodes[0]), places)
    if not health.version:
        what = "its version is not known: the user may not call INFO"
        health.notes.append(Finding(PLACE, what, "Nothing else needs it."))
    else:
        health.problems.extend(outdated(PLACE, health.version, OLDEST))
    refused: dict[str, None] = {}
    for node in nodes:
        try:
            await keyspace.ask(node, "SCAN", 0, "COUNT", 1)
        except exceptions.NoPermissionError:
            refused["SCAN"] = None
    for place, template in data_map.templates.items():
        key = _nobody(template.form)
        commands: list[Command] = [("UNLINK", key), *([("EXISTS", key)] if template.is_exact else [])]
        refused |= dict.fromkeys(await _try(keyspace, commands, place, template.form, health))
    for place, rule in data_map.rules.items():
        refused |= dict.fromkeys(await _try_rule(keyspace, place, rule, health))
    health.problems.extend(map(_lacks, refused))
    health.notes.extend(await server_state.notes(keyspace, nodes))
    return health


def _lacks(command: str) -> Finding:
    right = f"+{command.lower().replace(' ', '|')}"
    return Finding(PLACE, f"the user may not call {command}", f"Grant it: ACL SETUSER ... {right}.")


async def _version(keyspace: Keyspace, node: Any) -> str:
    """The server's version; nothing where the user may not ask."""
    try:
        info = await keyspace.ask(node, "INFO", "server")
    except exceptions.NoPermissionError:
        return ""
    return str(info.get("valkey_version") or info.get("redis_version"))


async def _try_rule(keyspace: Keyspace, place: str, rule: ContentRule, health: Health) -> list[str]:
    """The commands of a rule that the user may not call."""
    key = _nobody(rule.form)
    unused = _nobody(Glob((rule.form.head, "")))
    commands: list[Command] = [(command, key, *rest) for command, *rest in _OUTSIDE[rule.part]]
    refused = await _try(keyspace, commands, place, rule.form, health)
    asked, tried = await keyspace.pipelined(
        [("EVAL", _ASK, 1, key, *_INSIDE[rule.part]), ("SET", unused, "", "XX")], strict=False
    )
    if isinstance(asked, exceptions.NoPermissionError):
        return [*refused, "EVAL"] if _is_of_command(asked) else refused
    for answer in (asked, tried):  # SET ... XX makes no key, and is refused where nothing can be written
        if isinstance(answer, Exception) and not isinstance(answer, exceptions.NoPermissionError):
            raise answer
    if asked is None:
        what = "what its user may call inside of scripts is not known: Redis tells that from version 7 on"
        health.warnings.append(Finding(place, what, "Try the batch on a copy first, or use a newer Redis."))
        return refused
    return [*refused, *(command.decode() for command in asked)]


async def _try(keyspace: Keyspace, commands: Sequence[Command], place: str, form: Glob, health: Health) -> list[str]:
    """Sends commands for a key that nobody has; names those that the user may not call, and the key if it is that."""
    refused = []
    closed = False
    for command, answer in zip(commands, await keyspace.pipelined(commands, strict=False), strict=True):
        if isinstance(answer, exceptions.NoPermissionError):
            if _is_of_command(answer):
                refused.append(str(command[0]))
            else:
                closed = True
        elif isinstance(answer, Exception) and not re.search("unknown command|WRONGTYPE", str(answer), re.IGNORECASE):
            raise answer
    if closed:
        pattern = escape(form)
        health.problems.append(
            Finding(place, "the user may not reach these keys", f"Grant it: ACL SETUSER ... ~{pattern}.")
        )
    return refused


def _is_of_command(error: exceptions.NoPermissionError) -> bool:
    """Whether it is the command that the user lacks, and not the key."""
    return "run the '" in str(error)


def _nobody(form: Glob) -> bytes:
    """A key of a form that nobody has; where it is one key alone, that key."""
    return f"erasure-check-{secrets.token_hex(8)}".join(form.pieces).encode("utf-8", "surrogateescape")
