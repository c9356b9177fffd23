"""Elasticsearch's share of an erasure: find, take pre-images, mask, write back under guard."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from elasticsearch import ApiError, AsyncElasticsearch

from activities.contract import (
    BackUp,
    Contributor,
    Erased,
    Extent,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Sighting,
    Slice,
    Suspect,
    Tally,
)
from activities.errors import CriticalError, TransientError, translated
from activities.identities import IdentitySet
from activities.masking import Masker
from activities.stores.elasticsearch import server_state
from activities.stores.elasticsearch.catalogue import Index, merge, resolve
from activities.stores.elasticsearch.connection import PLACE, translate
from activities.stores.elasticsearch.documents import ElasticsearchMap, Rules
from activities.stores.elasticsearch.identities import identities
from activities.stores.elasticsearch.pre_images import PreImages, later_names, pre_image_name
from activities.stores.elasticsearch.purging import expunge
from activities.stores.elasticsearch.reading import Reader
from activities.stores.elasticsearch.restoring import Restoration
from activities.stores.elasticsearch.search import How, approaches, carriers, trial
from activities.stores.elasticsearch.survey import Survey
from activities.stores.elasticsearch.writing import Key, Match, rehearse, write
from activities.suspicion import Suspicion
from activities.vault import BatchVault

ROUNDS = 5
"""How often documents are looked at again that somebody else wrote between search and write."""


class ElasticsearchStore:
    """Erases in Elasticsearch; see `activities.contract.Store` for the verbs.

    Args:
        client: The client, shared.
        data_map: Index patterns and their fields.
        heartbeat: Told of every page.
    """

    def __init__(self, client: AsyncElasticsearch, data_map: ElasticsearchMap, heartbeat: Heartbeat) -> None:
        self._client = client
        self._data_map = data_map
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run; in every index tries its search, and a write that cannot happen."""
        with translated(PLACE, translate):
            health = Health(version=await self._version())
            resolved = await resolve(self._client, self._data_map)
            for pattern, rules in self._data_map.root.items():
                health.warnings.extend(_missing(pattern, rules, resolved[pattern]))
            for index in merge(resolved):
                health.places.append(index.name)
                health.problems.extend([*index.problems()] or await self._try(index))
                health.warnings.extend(index.warnings())
                health.notes.extend(_slow(index))
                self._heartbeat(index.name, 0)
            await server_state.look(self._client, health)
            return health

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for fields and indices that may hold identities, and that the data map does not name."""
        with translated(PLACE, translate):
            return await Survey(self._client, self._data_map, suspicion, self._heartbeat).run()

    async def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what the fields hold: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            resolved = await resolve(self._client, self._data_map)
            for pattern, rules in self._data_map.root.items():
                for missing in _missing(pattern, rules, resolved[pattern]):
                    yield missing
            for index in merge(resolved):
                async with aclosing(identities(self._client, index, self._heartbeat)) as found:
                    async for each in found:
                        yield each

    async def preview(self, part: Slice) -> Impact:
        """Counts the documents that still hold an identity of the slice."""
        with translated(PLACE, translate):
            places: dict[str, int] = {}
            average: dict[str, float] = {}
            nobodys = Masker(secrets.token_bytes(32))  # whatever the mask, the documents to change are the same
            async with aclosing(self._found(part, nobodys)) as found:
                async for index, page in found:
                    if page and index not in average:  # to measure each would cost as much as to find it
                        average[index] = sum(len(match.pre_image["source"]) for match in page) / len(page)
                    places[index] = places.get(index, 0) + len(page)
            return Impact(places, {index: Extent(round(each * places[index])) for index, each in average.items()})

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Puts the documents that hold an identity of the slice into the vault."""
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(pre_image_name(part))) is not None:
                return receipt.back_up
            async with (
                vault.recording(pre_image_name(part)) as recording,
                aclosing(self._found(part, vault.masker)) as found,
            ):
                async for index, page in found:
                    for match in page:
                        await recording.add(index, match.pre_image)
            assert recording.receipt is not None
            return recording.receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Masks the slice's documents; first puts into the vault what its back-up lacks."""
        with translated(PLACE, translate):
            pre_images = await PreImages.open(vault, pre_image_name(part))
            people = await self._people(part)
            reader = Reader(self._client, people, vault.masker, self._heartbeat, await self._version())
            places = {place: Tally(already_clean=backed_up) for place, backed_up in pre_images.places.items()}
            warnings: list[Finding] = []
            for index in await self._indices():
                tally = await self._erase(index, reader, pre_images)
                clean = max(0, pre_images.places.get(index.name, 0) - tally.matched)
                if clean or tally != Tally():
                    places[index.name] = tally + Tally(already_clean=clean)
                if tally.conflicted:
                    warnings.append(
                        Finding(
                            index.name,
                            f"{tally.conflicted} documents were written by somebody else again and again",
                            "Find out what writes them, then run the phase again.",
                        )
                    )
                warnings.extend(await self._carriers(index, people))
            return Erased(dict(sorted(places.items())), warnings)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Puts back what was masked of the slice; of what somebody else wrote since, only our masks go."""
        with translated(PLACE, translate):
            if await vault.receipt(pre_image_name(part)) is None:
                return Restored()
            indices = await self._touched(part, vault)
            for index in indices.values():
                _refuse(index, index.obstacles())
            people, version = await self._people(part), await self._version()
            restoration = Restoration(self._client, indices, people, vault, self._heartbeat, version)
            return await restoration.run(pre_image_name(part))

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Has the slice's indices merge away the versions that were replaced."""
        with translated(PLACE, translate):
            indices = await self._touched(part, vault)
            for index in indices.values():
                _refuse(index, index.obstacles())
            return await expunge(self._client, list(indices), self._heartbeat)

    async def _touched(self, part: Slice, vault: BatchVault) -> dict[str, Index]:
        """Those of the slice's indices that are still there, by name."""
        name = pre_image_name(part)
        receipts = [await vault.receipt(kept) for kept in (name, *await later_names(vault, name))]
        places = {place for receipt in receipts if receipt is not None for place in receipt.places}
        return {
            index.name: index for index in merge(await resolve(self._client, self._data_map)) if index.name in places
        }

    async def _erase(self, index: Index, reader: Reader, pre_images: PreImages) -> Tally:
        """Erases in one index; what somebody else wrote meanwhile is read, backed up, masked and written anew."""
        tally = Tally()
        overtaken: set[Key] = set()
        for attempt in range(ROUNDS + 1):
            if attempt:
                await asyncio.sleep(0.02 * 2**attempt)
            found_again: set[Key] = set()
            still: set[Key] = set()
            async with aclosing(reader.matches(index, {document for document, _ in overtaken})) as pages:
                async for page in pages:
                    await pre_images.keep(page)
                    lost = await write(self._client, index.name, page, self._heartbeat)
                    still.update(match.key for match in lost)
                    again = {match.key for match in page} & overtaken
                    found_again |= again
                    tally += Tally(matched=len(page) - len(again), changed=len(page) - len(lost))
            tally += Tally(already_clean=len(overtaken - found_again))
            overtaken = still
            if not overtaken:
                break
        if tally.changed:
            await self._client.indices.refresh(index=index.name)
        return tally + Tally(conflicted=len(overtaken))

    async def _carriers(self, index: Index, people: IdentitySet) -> list[Finding]:
        """What no mask reaches: an index cannot change under which id, and by which routing, it keeps a document."""
        answer = await self._client.search(
            index=index.name,
            query=carriers(people, index.max_terms),
            size=0,
            track_total_hits=True,
            allow_partial_search_results=False,
        )
        found = answer["hits"]["total"]["value"]
        if not found:
            return []
        return [
            Finding(
                index.name,
                f"{found} documents have an identity as their _id or _routing, which stays",
                "Index them anew under another one, then delete these.",
            )
        ]

    async def _found(self, part: Slice, masker: Masker) -> AsyncGenerator[tuple[str, list[Match]]]:
        """Yields the documents that hold an identity, page by page, each with the name of its index."""
        reader = Reader(self._client, await self._people(part), masker, self._heartbeat, await self._version())
        for index in await self._indices():
            async with aclosing(reader.matches(index)) as pages:
                async for page in pages:
                    yield index.name, page

    async def _people(self, part: Slice) -> IdentitySet:
        people: list[Contributor] = []
        async for page in part.pages():
            people += page
        return IdentitySet(people)

    async def _version(self) -> str:
        return str((await self._client.info())["version"]["number"])

    async def _indices(self) -> list[Index]:
        """The indices of the data map, once nothing forbids to erase in any of them."""
        found = merge(await resolve(self._client, self._data_map))
        for index in found:
            _refuse(index, index.problems())
        return found

    async def _try(self, index: Index) -> list[Finding]:
        """Whether an index answers the search of an erasure and accepts its writes."""
        try:
            await self._client.search(index=index.name, query=trial(index), size=0, allow_partial_search_results=False)
            refusal = await rehearse(self._client, index.name)
        except ApiError as error:
            refusal = translate(error)
        return [] if refusal is None else [Finding(index.name, refusal.what, refusal.remedy)]


def _refuse(index: Index, problems: Iterator[Finding]) -> None:
    for problem in problems:
        # a node that restarts brings its shards back by itself
        kind = TransientError if index.health == "red" else CriticalError
        raise kind(problem.place, problem.what, problem.remedy)


def _missing(pattern: str, rules: Rules, found: Sequence[Index]) -> Iterator[Finding]:
    if not found:
        yield Finding(pattern, "names no index", "Check the pattern in the data map.")
        return
    for path in rules:
        if all(index.fields.get(path) is None and not index.fields.may_hide(path) for index in found):
            yield Finding(f"{pattern} {path}", "no index has this field", "Check the field in the data map.")


def _slow(index: Index) -> Iterator[Finding]:
    for approach in approaches(index):
        if approach.how in (How.EXISTS, How.EVERYTHING):
            yield Finding(
                f"{index.name} {approach.path}",
                f"cannot be searched for identities: {approach.how.value} is read",
                "Nothing is missed, but it takes time. Index the field as keyword, or text of the standard analyzer.",
            )
