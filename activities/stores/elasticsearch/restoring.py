"""Rollback: pre-images are streamed out of the vault, and each page of documents is put back under guard.

A document can have several pre-images in a slice: its back-up, and one for each time that the erasure found it changed
by somebody else. The newest is put back first, then what an older one still explains; a round deals with one of each
document, so that memory holds a page of documents, and no more than marks of those that have several.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Finding, Heartbeat, Recovery, Restored
from activities.errors import ErasureError, TransientError
from activities.identities import IdentitySet
from activities.stores.elasticsearch.catalogue import Index
from activities.stores.elasticsearch.connection import blocked, error_type
from activities.stores.elasticsearch.pre_images import later_names
from activities.stores.elasticsearch.reading import PAGE, PAGE_BYTES, Hit, leaves_vectors_out
from activities.stores.elasticsearch.unmasking import Unmask
from activities.stores.elasticsearch.writing import Match, fingerprint, write
from activities.vault import BatchVault

ROUNDS = 5
"""How often documents are looked at again that somebody else wrote between read and write."""

PreImage = dict[str, Any]


class Outcome(IntEnum):
    """What became of a document; of several, the highest counts."""

    INTACT = 0
    RESTORED = 1
    CONFLICTED = 2


@dataclass(frozen=True)
class Step:
    """One pre-image to put back.

    Args:
        pre_image: The vault's record.
        following: The version of the next newer pre-image of the document, none for the newest.
        mark: Names the document, where it has several pre-images.
    """

    pre_image: PreImage
    following: int | None
    mark: bytes | None

    @property
    def request(self) -> dict[str, Any]:
        """Asks for the document as it is now."""
        request = {"_index": self.pre_image["index"], "_id": self.pre_image["id"]}
        if (routing := self.pre_image["routing"]) is not None:
            request["routing"] = routing
        return request


@dataclass(frozen=True)
class Later:
    """The pre-images of one document that were added after its back-up, newest first.

    Args:
        index: The document's index.
        fingerprints: They name the pre-images.
        versions: Of the document then.
    """

    index: str
    fingerprints: list[bytes]
    versions: list[int]


class Restoration:
    """The rollback of one slice.

    Args:
        client: The client.
        indices: Those of the slice's indices that are still there.
        people: The slice's identities.
        vault: The batch's vault.
        heartbeat: Told of every page.
        version: The server's version.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        indices: Mapping[str, Index],
        people: IdentitySet,
        vault: BatchVault,
        heartbeat: Heartbeat,
        version: str,
    ) -> None:
        self._client = client
        self._vault = vault
        self._heartbeat = heartbeat
        self._unmask = {
            name: Unmask(index.rules, people, vault.masker, index.numbers) for name, index in indices.items()
        }
        self._whole = {"_source_exclude_vectors": "false"} if leaves_vectors_out(version) else {}
        self._outcomes: dict[str, Counter[Outcome]] = {}
        self._several: dict[bytes, Outcome] = {}
        self._written: set[str] = set()

    async def run(self, name: str) -> Restored:
        """Puts back every pre-image below a name of the vault."""
        names = [name, *await later_names(self._vault, name)]
        later = await self._later(names[1:])
        for turn in range(1 + max((len(each.versions) for each in later.values()), default=0)):
            async with aclosing(self._pages(names, later, turn)) as pages:
                async for page in pages:
                    for index in sorted({step.pre_image["index"] for step in page}):
                        await self._restore(index, [step for step in page if step.pre_image["index"] == index])
        for mark, outcome in self._several.items():
            self._count(later[mark].index, outcome)
        for index in sorted(self._written):
            await self._client.indices.refresh(index=index)
        return Restored(
            {index: _recovery(outcomes) for index, outcomes in sorted(self._outcomes.items())},
            [
                self._warning(index, outcomes[Outcome.CONFLICTED])
                for index, outcomes in sorted(self._outcomes.items())
                if outcomes[Outcome.CONFLICTED]
            ],
        )

    async def _later(self, names: Sequence[str]) -> dict[bytes, Later]:
        """Which documents have pre-images beside their back-up: by mark."""
        found: dict[bytes, dict[bytes, tuple[int, int, str]]] = {}
        for name in names:
            async for index, record in self._vault.records(name):
                # sequence numbers grow with every write to a shard
                state = (record["seq_no"], record["version"], index)
                found.setdefault(_mark(record), {})[fingerprint(record)] = state
        later: dict[bytes, Later] = {}
        for mark, states in found.items():
            newest_first = sorted(states, key=lambda each: states[each][0], reverse=True)
            index = states[newest_first[0]][2]
            later[mark] = Later(index, newest_first, [states[each][1] for each in newest_first])
        return later

    async def _pages(self, names: Sequence[str], later: Mapping[bytes, Later], turn: int) -> AsyncGenerator[list[Step]]:
        """Yields pages of pre-images, of every document the one whose turn it is."""
        page: list[Step] = []
        size = 0
        done: set[bytes] = set()
        for name in names:
            async for _, record in self._vault.records(name):
                step = _step(record, later, turn, is_back_up=name == names[0])
                if step is None or step.mark in done:
                    continue
                if step.mark is not None:
                    done.add(step.mark)  # two attempts of an erasure may have kept the same one
                page.append(step)
                size += len(record["source"])
                if len(page) >= PAGE or size >= PAGE_BYTES:
                    yield page
                    page, size = [], 0
        if page:
            yield page

    async def _restore(self, index: str, steps: Sequence[Step]) -> None:
        """Puts back documents of one index; what somebody else writes meanwhile is read and unmasked anew."""
        whole: dict[int, Outcome] = {}
        waiting = dict(enumerate(steps))
        for attempt in range(ROUNDS + 1 if index in self._unmask else 0):
            if attempt:
                await asyncio.sleep(0.02 * 2**attempt)
            matches: dict[int, Match] = {}
            for number, hit in zip(waiting, await self._read([*waiting.values()]), strict=True):
                outcome, match = self._plan(index, waiting[number], hit)
                whole[number] = max(outcome, whole.get(number, Outcome.INTACT))
                if match is not None:
                    matches[number] = match
            overtaken = {match.key for match in await write(self._client, index, [*matches.values()], self._heartbeat)}
            for number, match in matches.items():
                if match.key not in overtaken:
                    self._written.add(index)
                    whole[number] = max(whole[number], Outcome.RESTORED)
            waiting = {number: waiting[number] for number, match in matches.items() if match.key in overtaken}
            if not waiting:
                break
        for number, step in enumerate(steps):
            outcome = Outcome.CONFLICTED if number in waiting else whole[number]
            if step.mark is None:
                self._count(index, outcome)
            else:
                self._several[step.mark] = max(outcome, self._several.get(step.mark, Outcome.INTACT))
        self._heartbeat(index, len(steps))

    async def _read(self, steps: Sequence[Step]) -> list[Hit]:
        """The documents as they are now, whether they were refreshed or not."""
        answer = await self._client.perform_request(
            "POST",
            "/_mget",
            params=self._whole,
            headers={"accept": "application/json", "content-type": "application/json"},
            body={"docs": [step.request for step in steps]},
        )
        hits: list[Hit] = answer.body["docs"]
        for hit in hits:
            if (error := hit.get("error")) is not None:
                raise _unread(hit["_index"], error_type(error))
        return hits

    def _plan(self, index: str, step: Step, hit: Hit) -> tuple[Outcome, Match | None]:
        """What to write, and how the document stands apart from that."""
        if not hit.get("found"):
            return Outcome.CONFLICTED, None
        pre_image = step.pre_image
        following = hit["_version"] if step.following is None else step.following
        old = json.loads(pre_image["source"], parse_float=Decimal)
        unmasked = self._unmask[index](old, hit["_source"], following - pre_image["version"])
        # whether an older pre-image is whole says nothing: somebody else changed the document before it was masked
        outcome = Outcome.INTACT if unmasked.whole or step.following is not None else Outcome.CONFLICTED
        return outcome, None if unmasked.source is hit["_source"] else Match(hit, unmasked.source)

    def _count(self, index: str, outcome: Outcome) -> None:
        self._outcomes.setdefault(index, Counter())[outcome] += 1

    def _warning(self, index: str, conflicted: int) -> Finding:
        if index not in self._unmask:
            return Finding(
                index,
                f"it is gone, or no pattern of the data map names it any more; {conflicted} documents are not put back",
                "Make the index or its entry in the data map anew, then roll back again.",
            )
        return Finding(
            index,
            f"{conflicted} documents were changed, deleted or made anew by somebody else since, and are not put back "
            "or not wholly",
            "What is newer was kept. Compare them with their source before the batch is shredded.",
        )


def _step(record: PreImage, later: Mapping[bytes, Later], turn: int, *, is_back_up: bool) -> Step | None:
    """What to do about a pre-image in a round; nothing, if it is not its turn."""
    if not later:
        return Step(record, None, None)
    mark = _mark(record)
    known = later.get(mark)
    if known is None:
        return Step(record, None, None) if turn == 0 else None
    name = fingerprint(record)
    if name in known.fingerprints:
        place = known.fingerprints.index(name)
    elif is_back_up:
        place = len(known.fingerprints)
    else:
        return None
    if place != turn:
        return None
    following = known.versions[place - 1] if place else None
    if following == record["version"] + 1:
        return None  # the one write between the two was not ours, or there would be no second
    return Step(record, following, mark)


def _unread(index: str, kind: str) -> ErasureError:
    if kind in ("cluster_block_exception", "index_closed_exception"):
        return blocked(index, kind)
    return TransientError(index, f"a document could not be read ({kind})", "Wait; it is tried again.")


def _mark(record: PreImage) -> bytes:
    place = json.dumps([record["index"], record["id"], record["routing"]])
    return hashlib.blake2b(place.encode(), digest_size=16).digest()


def _recovery(outcomes: Mapping[Outcome, int]) -> Recovery:
    return Recovery(
        found=sum(outcomes.values()),
        restored=outcomes[Outcome.RESTORED],
        intact=outcomes[Outcome.INTACT],
        conflicted=outcomes[Outcome.CONFLICTED],
    )
