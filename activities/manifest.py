"""The manifest: a batch's people with every identity known for them, in pages, in the vault.

Written before anything is deleted: a re-run after PostgreSQL is gone still knows whom to look for.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from activities import sharing, submission
from activities.contract import Contributor, Heartbeat
from activities.datamap import DataMap
from activities.holds import Holds
from activities.identity_table import look_up
from activities.messages import Resolution, Resolved
from activities.sharing import Shared
from activities.vault import BatchVault

if TYPE_CHECKING:
    from asyncpg import Pool, Record


@dataclass(frozen=True)
class ManifestSlice:
    """One page of the manifest, or all of them: what a store's verb works on.

    Args:
        vault: The batch.
        number: The page, or None for the whole batch.
        slices: How many pages there are.
        attempt: Which attempt wrote them.
        without: Contributors who came under a legal hold since, and are passed over.
    """

    vault: BatchVault
    number: int | None
    slices: int
    attempt: int = 0
    without: frozenset[str] = frozenset()

    @property
    def batch_id(self) -> str:
        """The batch."""
        return self.vault.batch_id

    @property
    def name(self) -> str:
        """The page's name, or ``all``."""
        return "all" if self.number is None else f"{self.number:06}"

    async def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields the page, or all pages in order."""
        for number in range(self.slices) if self.number is None else (self.number,):
            yield [
                Contributor(record["i"], tuple(record["e"]), tuple(record["w"]))
                async for _, record in self.vault.records(_page(self.attempt, number))
                if record["i"] not in self.without
            ]


async def resolve(
    vault: BatchVault, pool: Pool[Record], data_map: DataMap, holds: Holds, task: Resolution, heartbeat: Heartbeat
) -> Resolved:
    """Looks up every contributor's identities in PostgreSQL and writes the manifest, once an attempt.

    An attempt finds shared identities once, and puts them into the vault before the first page: where it is cut and
    runs again, all its pages follow the same findings.

    Args:
        vault: The batch; holds the CSV, receives the manifest.
        pool: PostgreSQL.
        data_map: Says where identities stand, and how many contributors make a slice.
        holds: Who is under a legal hold: they come on no page, and are named under `held`.
        task: Which attempt it is, and what becomes of identities that somebody else has too.
        heartbeat: Told each page.

    Raises:
        ErasureError: PostgreSQL or the vault cannot be read; the identity table is not as the data map says.
    """
    attempt = task.attempt
    if await vault.receipt(_summary(attempt)) is not None:
        async for _, summary in vault.records(_summary(attempt)):
            return Resolved(**summary)
    if await vault.receipt(shared_name(attempt)) is None:
        people = partial(submission.read_contributors, vault)
        found = await sharing.find(pool, data_map.identity, people, holds, heartbeat)
        await found.write(vault, shared_name(attempt))
    shared = await Shared.read(vault, shared_name(attempt))
    if shared.identities and task.shared == "park":
        resolved = Resolved(0, 0, 0, 0, "", shared=len(shared.identities), undecided=True)
    else:
        kept = shared if task.shared == "keep" else Shared()
        resolved = await _write_pages(vault, pool, data_map, holds, attempt, kept, heartbeat)
        resolved = replace(resolved, shared=len(shared.identities))
    async with vault.recording(_summary(attempt)) as recording:
        await recording.add("summary", asdict(resolved))
    return resolved


async def _write_pages(
    vault: BatchVault,
    pool: Pool[Record],
    data_map: DataMap,
    holds: Holds,
    attempt: int,
    kept: Shared,
    heartbeat: Heartbeat,
) -> Resolved:
    contributors = unknown = 0
    digests: list[str] = []
    everybody_held: list[str] = []
    async for page in _batched(submission.read_contributors(vault), data_map.policy.slice_size):
        held = await holds.among(list(page))
        everybody_held += sorted(held)
        known = await look_up(pool, data_map.identity, list(page))
        async with vault.recording(_page(attempt, len(digests))) as recording:
            for contributor in page.values():
                if contributor.contributor_id in held:
                    continue
                found = known.get(contributor.contributor_id)
                unknown += found is None
                merged = kept.without(contributor if found is None else _merge(contributor, found))
                record = {"i": merged.contributor_id, "e": merged.emails, "w": merged.worker_ids}
                await recording.add("contributors", record)
        assert recording.receipt is not None, "a recording that closed has a receipt"
        digests.append(recording.receipt.digest)
        contributors += len(page)
        heartbeat("manifest", contributors)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    async with vault.recording(held_name(attempt)) as recording:
        for contributor_id in everybody_held:
            await recording.add("held", {"i": contributor_id})
    return Resolved(len(digests), contributors, unknown, len(everybody_held), digest)


def held_name(attempt: int) -> str:
    """Where people stand who were under a legal hold from the start."""
    return f"{_root(attempt)}/held"


def shared_name(attempt: int) -> str:
    """Where identities stand that somebody else has too, and who that is."""
    return f"{_root(attempt)}/shared"


def _summary(attempt: int) -> str:
    return f"{_root(attempt)}/summary"


def _page(attempt: int, number: int) -> str:
    return f"{_root(attempt)}/{number:06}"


def _root(attempt: int) -> str:
    """A name is written once, so each attempt has names of its own."""
    return f"manifest-{attempt}" if attempt else "manifest"


def _merge(one: Contributor, other: Contributor) -> Contributor:
    """Both sets of identities, each spelling once, in order."""
    return Contributor(
        one.contributor_id,
        tuple(dict.fromkeys((*one.emails, *other.emails))),
        tuple(dict.fromkeys((*one.worker_ids, *other.worker_ids))),
    )


async def _batched(people: AsyncIterator[Contributor], size: int) -> AsyncIterator[dict[str, Contributor]]:
    """Pages of contributors by id; one who is named twice on a page is merged."""
    page: dict[str, Contributor] = {}
    async for contributor in people:
        earlier = page.get(contributor.contributor_id)
        page[contributor.contributor_id] = contributor if earlier is None else _merge(earlier, contributor)
        if len(page) >= size:
            yield page
            page = {}
    if page:
        yield page
