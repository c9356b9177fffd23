"""Which indices there are, by the cluster's own word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Finding
from activities.stores.elasticsearch.connection import PLACE
from activities.verification.canary import PREFIX
from activities.verification.contract import Catalogue, Place, Scope
from activities.verification.reach import is_within_reach, left_out

OPEN = "Open it, or delete it if it is not needed; then verify again."


async def catalogue(client: AsyncElasticsearch, scope: Scope, canary: str | None) -> Catalogue:
    """Lists the indices within a scope: hidden ones and those behind data streams and aliases are among them.

    Args:
        client: The client.
        scope: Where to look.
        canary: The index of the scan's own canary, which is within every scope; those of other scans are in none.
    """
    version = (await client.info())["version"]["number"]
    everything = await _resolve(client, ["*"])
    system = {name for name, attributes in everything.items() if "system" in attributes}
    everybodys = {name for name in set(everything) - system if name == canary or not name.startswith(PREFIX)}
    names = {name for name in everybodys if is_within_reach(scope, PLACE, name)}
    not_proven = left_out(PLACE, system, "indices are Elasticsearch's own and not looked at", "Look at them by hand.")
    not_proven += left_out(PLACE, everybodys - names, "indices are out of the reach that is set", "Widen the reach.")
    if scope.depth == "mapped":
        named = {*(await _resolve(client, scope.mapped) if scope.mapped else ()), canary}
        why = "indices are not named in the data map, and this depth leaves them out"
        not_proven += left_out(PLACE, names - named, why, 'Verify with the depth "catalogue".')
        names &= named
    return await _states(client, version, names, not_proven, scope)


async def _states(
    client: AsyncElasticsearch, version: str, names: set[str], not_proven: list[Finding], scope: Scope
) -> Catalogue:
    rows: Any = await client.cat.indices(
        expand_wildcards="all", format="json", bytes="b", h="index,status,docs.count,docs.deleted,pri.store.size"
    )
    places = []
    for row in sorted(rows.body, key=lambda row: str(row["index"])):
        name = row["index"]
        if name not in names:
            continue
        names.discard(name)
        if row["status"] != "open":
            not_proven.append(Finding(name, "the index is closed, so that nobody can read it", OPEN))
            continue
        if scope.depth == "deep" and (gone := int(row["docs.deleted"] or 0)):
            what = f"there are {gone:,} on the disk, and no search shows them"
            place = f"{name} (earlier versions and deleted documents)"
            not_proven.append(Finding(place, what, "Have them merged: POST /INDEX/_forcemerge; then verify again."))
        places.append(Place(name, int(row["docs.count"] or 0), int(row["pri.store.size"] or 0)))
    # what the list lacks has no state: it came, went, or the user may not monitor it
    not_proven += [Finding(name, "the cluster tells nothing of its state", "Verify again.") for name in sorted(names)]
    return Catalogue(version, places, not_proven)


async def _resolve(client: AsyncElasticsearch, patterns: Sequence[str]) -> dict[str, Sequence[str]]:
    """The indices behind some patterns, each with its attributes, such as ``hidden`` and ``system``."""
    answer = await client.indices.resolve_index(
        name=patterns, expand_wildcards="all", ignore_unavailable=True, allow_no_indices=True
    )
    found: dict[str, Sequence[str]] = {each["name"]: each["attributes"] for each in answer["indices"]}
    for stream in answer["data_streams"]:
        found.update(dict.fromkeys(_listed(stream["backing_indices"]), ()))
    for alias in answer["aliases"]:
        found.update({name: found.get(name, ()) for name in _listed(alias["indices"])})
    return found


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else [*names]
