"""What else goes on in the server: its memory, and replicas that lag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from redis import exceptions

from activities.contract import Finding
from activities.stores.redis.connection import PLACE
from activities.stores.redis.keyspace import Keyspace

NEARLY_FULL = 0.9

LAG = 10
"""Seconds since a replica was heard of."""


async def notes(keyspace: Keyspace, nodes: list[Any]) -> list[Finding]:
    """What an operator should know before an erasure; nothing where the user may not ask, which is said already.

    Args:
        keyspace: The connection.
        nodes: Its nodes.
    """
    found: list[Finding] = []
    for node in nodes:
        try:
            found += of_memory(await keyspace.ask(node, "INFO", "memory"))
            found += of_replicas(await keyspace.ask(node, "INFO", "replication"))
        except exceptions.NoPermissionError:
            break
    return found


def of_memory(memory: Mapping[str, Any]) -> Iterator[Finding]:
    """What is to be said of the memory; a server that is full refuses what the check tries.

    Args:
        memory: The answer of ``INFO memory``.
    """
    limit, used = int(memory.get("maxmemory", 0)), int(memory["used_memory"])
    if limit and memory.get("maxmemory_policy") == "noeviction" and used >= limit * NEARLY_FULL:
        what = f"{used / 2**20:,.1f} of {limit / 2**20:,.1f} MiB of its memory are used, and nothing is evicted"
        yield Finding(PLACE, what, "Raise maxmemory: a full server removes keys, but takes no masks.")


def of_replicas(replication: Mapping[str, Any]) -> Iterator[Finding]:
    """What is to be said of the replicas.

    Args:
        replication: The answer of ``INFO replication``.
    """
    replicas = [replication[f"slave{number}"] for number in range(int(replication.get("connected_slaves", 0)))]
    behind = [each for each in replicas if each.get("state") != "online" or int(each.get("lag", 0)) > LAG]
    if behind:
        what = f"{len(behind):,} of {len(replicas):,} replicas are behind"
        yield Finding(PLACE, what, "They show what is erased until they have caught up: look at INFO replication.")
