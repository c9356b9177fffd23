"""Identities that a batch shares with contributors who stay: an address of a family, a worker id given twice.

To mask one touches records of somebody whom nobody asked to erase; not to mask it leaves somebody of the batch to be
found. So they are looked for before anything is touched, and what becomes of them is decided.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activities.contract import Contributor, Heartbeat
from activities.datamap import IdentityTable
from activities.holds import Holds
from activities.identities import IdentityKind, forms, normal
from activities.identity_table import Identity, count_holders, holders, look_up
from activities.masking import is_mask
from activities.vault import BatchVault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

AT_ONCE = 20_000

NAMED = 1_000
"""Contributors who stay and are named; more are no help to anybody."""

People = Callable[[], AsyncIterator[Contributor]]


@dataclass(frozen=True)
class Stayer:
    """A contributor outside of the batch, or under a legal hold, who has an identity of somebody of the batch.

    Args:
        contributor_id: Who.
        kinds: Of which kinds.
    """

    contributor_id: str
    kinds: list[IdentityKind]

    def __str__(self) -> str:
        words = {IdentityKind.EMAIL: "an address", IdentityKind.WORKER_ID: "a worker id"}
        return (
            f"`{self.contributor_id}` has {' and '.join(words[kind] for kind in self.kinds)} of somebody of the batch"
        )


@dataclass(frozen=True)
class Shared:
    """What a batch shares.

    Args:
        identities: In their normal form.
        stayers: With whom; not more than `NAMED`.
    """

    identities: Collection[Identity] = frozenset()
    stayers: list[Stayer] = field(default_factory=list)

    def without(self, contributor: Contributor) -> Contributor:
        """A contributor with the identities that are theirs alone."""
        return Contributor(
            contributor.contributor_id,
            tuple(each for each in contributor.emails if _key(IdentityKind.EMAIL, each) not in self.identities),
            tuple(each for each in contributor.worker_ids if _key(IdentityKind.WORKER_ID, each) not in self.identities),
        )

    async def write(self, vault: BatchVault, name: str) -> None:
        """Puts it into the vault, once."""
        async with vault.recording(name) as recording:
            for kind, value in sorted(self.identities):
                await recording.add("identities", {"k": kind, "v": value})
            for stayer in self.stayers:
                await recording.add("stayers", {"i": stayer.contributor_id, "k": stayer.kinds})

    @classmethod
    async def read(cls, vault: BatchVault, name: str) -> Shared:
        """What lies under a name."""
        identities: set[Identity] = set()
        stayers: list[Stayer] = []
        async for place, record in vault.records(name):
            if place == "identities":
                identities.add((IdentityKind(record["k"]), record["v"]))
            else:
                stayers.append(Stayer(record["i"], [IdentityKind(kind) for kind in record["k"]]))
        return cls(identities, stayers)


async def find(
    pool: Pool[Record], table: IdentityTable, people: People, holds: Holds, heartbeat: Heartbeat, at_once: int = AT_ONCE
) -> Shared:
    """Finds the identities of a batch that somebody else has in the identity table too.

    A first pass counts who has each identity of the batch, a second one how many of these are of the batch
    themselves. What is kept in memory are identities that more than one contributor has, and who of the batch has them.

    Args:
        pool: PostgreSQL.
        table: Where identities stand.
        people: Yields the batch's people, as often as it is called.
        holds: Who is under a legal hold: they stay.
        heartbeat: Told each page.
        at_once: People of one query: each is one pass over the identity table.

    Raises:
        ErasureError: PostgreSQL cannot be read.
    """
    total: dict[Identity, int] = {}
    wanted: dict[Identity, set[str]] = {}
    async for given, known in _pages(pool, table, people, holds, at_once):
        spelled: dict[Identity, set[str]] = {}
        for contributor in (*given, *known):
            for kind, value in _identities(contributor):
                spelled.setdefault(_key(kind, value), set()).update(forms(value, kind))
        here = _holders(known)
        for identity, count in (await count_holders(pool, table, spelled)).items():
            if count > len(here.get(identity, ())):
                total[identity] = count
                wanted.setdefault(identity, set()).update(spelled[identity])
        heartbeat("shared identities", len(given))
    members: dict[Identity, set[str]] = {identity: set() for identity in total}
    if total:
        async for _, known in _pages(pool, table, people, holds, at_once):
            for identity, some in _holders(known).items():
                if identity in members:
                    members[identity] |= some
    shared = {identity for identity, count in total.items() if count > len(members[identity])}
    return Shared(shared, await _stayers(pool, table, {each: wanted[each] for each in shared}, members))


async def _stayers(
    pool: Pool[Record],
    table: IdentityTable,
    wanted: dict[Identity, set[str]],
    members: dict[Identity, set[str]],
) -> list[Stayer]:
    ours = set().union(*members.values())
    stayers: list[Stayer] = []
    if wanted:
        async with aclosing(holders(pool, table, wanted)) as rows:
            async for contributor_id, kinds in rows:
                if contributor_id not in ours:
                    stayers.append(Stayer(contributor_id, kinds))
                if len(stayers) == NAMED:
                    break
    return stayers


async def _pages(
    pool: Pool[Record], table: IdentityTable, people: People, holds: Holds, at_once: int
) -> AsyncIterator[tuple[list[Contributor], list[Contributor]]]:
    """The batch's people in pages, as given and as the table knows them; who is under a hold is no part of it."""
    page: list[Contributor] = []

    async def checked() -> tuple[list[Contributor], list[Contributor]]:
        held = await holds.among([each.contributor_id for each in page])
        given = [each for each in page if each.contributor_id not in held]
        known = await look_up(pool, table, [each.contributor_id for each in given])
        return given, [known[each.contributor_id] for each in given if each.contributor_id in known]

    async for contributor in people():
        page.append(contributor)
        if len(page) >= at_once:
            yield await checked()
            page = []
    if page:
        yield await checked()


def _holders(known: list[Contributor]) -> dict[Identity, set[str]]:
    """Who of some contributors of the table has which identity."""
    found: dict[Identity, set[str]] = {}
    for contributor in known:
        for kind, value in _identities(contributor):
            found.setdefault(_key(kind, value), set()).add(contributor.contributor_id)
    return found


def _identities(contributor: Contributor) -> Iterator[tuple[IdentityKind, str]]:
    """The addresses and worker ids of a contributor; blanks and masks are nobody's."""
    for kind, values in ((IdentityKind.EMAIL, contributor.emails), (IdentityKind.WORKER_ID, contributor.worker_ids)):
        yield from ((kind, value) for value in values if value.strip() and not is_mask(value))


def _key(kind: IdentityKind, value: str) -> Identity:
    return kind, normal(value, kind)
