"""What else goes on in the cluster: its health, and room on its disks for the documents that are written anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from elasticsearch import AsyncElasticsearch, AuthorizationException

from activities.contract import Finding, Health

PLACE = "elasticsearch"

WAITING = 100
"""Changes of the cluster's state that wait; beyond these, mappings and settings take long."""

_WATERMARK = "cluster.routing.allocation.disk.watermark"

_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


async def look(client: AsyncElasticsearch, health: Health) -> None:
    """Adds what an erasure would meet.

    Args:
        client: The client.
        health: Takes what is found.
    """
    try:
        cluster = (await client.cluster.health()).body
        nodes = (await client.nodes.stats(metric="fs")).body["nodes"]
        settings = (await client.cluster.get_settings(include_defaults=True, flat_settings=True)).body
    except AuthorizationException:
        what = "its health and the room on its disks are not known: the user may not ask"
        health.notes.append(Finding(PLACE, what, "Grant the cluster privilege monitor, or look at them by hand."))
        return
    health.notes.extend(of_cluster(cluster))
    known = {**settings["defaults"], **settings["persistent"], **settings["transient"]}
    for node in nodes.values():
        for is_full, found in of_disk(node["name"], node["fs"]["total"], known):
            (health.problems if is_full else health.notes).append(found)


def of_cluster(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    """What its health says; what concerns the data map's own indices is said of each of them.

    Args:
        cluster: The answer of ``_cluster/health``.
    """
    if cluster["status"] == "red":
        what = f"the cluster is red: {cluster['unassigned_shards']:,} shards are missing"
        yield Finding(PLACE, what, "Bring them back; nothing can be said of what they hold.")
    if cluster["number_of_pending_tasks"] > WAITING:
        what = f"{cluster['number_of_pending_tasks']:,} changes of the cluster's state wait"
        yield Finding(PLACE, what, "Wait until the master has caught up.")


def of_disk(node: str, disk: Mapping[str, int], settings: Mapping[str, Any]) -> Iterator[tuple[bool, Finding]]:
    """What is to be said of a node's disk, and whether that forbids to start.

    Args:
        node: The node's name.
        disk: ``total_in_bytes`` and ``available_in_bytes``.
        settings: The cluster's, flat.
    """
    if str(settings.get("cluster.routing.allocation.disk.threshold_enabled", "true")) == "false":
        return
    total, free = disk["total_in_bytes"], disk["available_in_bytes"]
    place, room = f"{PLACE} node {node}", f"has {free / 2**20:,.1f} MiB free"
    for mark, is_full, consequence in (
        ("flood_stage", True, "indices on it are blocked for writing"),
        ("high", False, "shards move away from it, and soon nothing can be written"),
    ):
        if free < _least(f"{_WATERMARK}.{mark}", total, settings):
            what = f"{room}, which is beyond its watermark {mark}: {consequence}"
            yield is_full, Finding(place, what, "Make room: documents that are masked are written anew.")
            return


def _least(watermark: str, total: int, settings: Mapping[str, Any]) -> float:
    """Bytes that have to be free: as such, or as what a share of the disk leaves, at most so many."""
    mark = str(settings[watermark])
    if (size := _bytes(mark)) is not None:
        return size
    share = float(mark.rstrip("%")) / 100 if mark.endswith("%") else float(mark)
    headroom = _bytes(str(settings.get(f"{watermark}.max_headroom", "-1")))
    return min(total * (1 - share), headroom if headroom is not None else total)


def _bytes(text: str) -> float | None:
    """``500mb`` in bytes; None where it is no size."""
    found = re.fullmatch(r"([0-9.]+)(b|kb|mb|gb|tb|pb)", text.lower())
    return float(found[1]) * _UNITS[found[2]] if found else None
