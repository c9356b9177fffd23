"""What a store offers to an erasure, and the counts that it answers with.

Everything here is plain data and typing: workflow code imports it inside Temporal's sandbox. The counts travel
through Temporal, so a place is an index, a table, a prefix template or a key pattern, never a value.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_settings import BaseSettings

    from activities.canary.person import Canary
    from activities.identities import IdentityKind
    from activities.suspicion import Suspicion
    from activities.vault import BatchVault

Unit = Literal["slice", "batch"]
"""What one execution of a store's activity covers: one slice, or the whole batch (one mutation a table)."""

Heartbeat = Callable[[str, int], None]
"""Reports progress: a place and how many of its records were dealt with. Cheap; call it a page, not a record."""


@dataclass(frozen=True)
class Contributor:
    """One data subject with the identities known for it, in every spelling known (as stored, as in the CSV).

    Args:
        contributor_id: The id, as text.
        emails: Addresses; they match without regard to case and surrounding blanks.
        worker_ids: Worker ids; they match exactly.
    """

    contributor_id: str
    emails: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()


class Slice(Protocol):
    """The people that one activity execution deals with."""

    @property
    def batch_id(self) -> str:
        """The batch that the slice belongs to."""

    @property
    def name(self) -> str:
        """The slice's name within the batch, fit for an object's name: ``000003``, or ``all``."""

    def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields the slice's contributors in pages of bounded size."""


@dataclass(frozen=True)
class Finding:
    """Something that a check found, in words for the operator; never a value out of a store.

    Args:
        place: The index, table, column, bucket or key pattern.
        what: What is wrong there.
        remedy: What the operator can do about it.
    """

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}. {self.remedy}"


def outdated(place: str, version: str, oldest: str) -> Iterator[Finding]:
    """A problem, where a server is older than what an erasure needs.

    Args:
        place: The store.
        version: As the server says it; its leading numbers count.
        oldest: The oldest that will do.
    """
    numbers, least = (
        [int(part) for part in re.findall(r"\d+", text)[: oldest.count(".") + 1]] for text in (version, oldest)
    )
    if numbers < least:
        yield Finding(place, f"version {version} is too old", f"Upgrade it to {oldest} or newer.")


@dataclass(frozen=True)
class Suspect:
    """A place that looks as if it held identities, and that the data map does not name.

    Args:
        place: As findings name it: ``public.people.phone``, ``project-x: reviewer.mail``; never a value.
        why: What makes it suspect: its name, what a sample of it looks like, a foreign key; never content.
        entry: How the data map could name it: nested keys below the store's table, as in
            ``{"unit_metrics*": {"email": "email"}}``.
    """

    place: str
    why: str
    entry: dict[str, Any]


@dataclass(frozen=True)
class Health:
    """What a probe learned of a store.

    Args:
        version: The server's version, as it says it.
        places: The places of the data map as they were resolved (indices, tables, ...).
        problems: Findings that forbid to start: the batch stops before anything is touched.
        warnings: Findings by which something may stay behind: the batch is not complete.
        notes: Findings that cost time and nothing else.
    """

    version: str
    places: list[str] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Extent:
    """How far an erasure would reach in one place.

    Args:
        bytes: Size of the records that it would mask or delete, about; None where the store does not tell.
        parts: Files of the store that it would write anew for them, each as a whole.
        rewritten: Size of these files, in bytes.
        lost: Records that no rollback brings back.
    """

    bytes: int | None = None
    parts: int = 0
    rewritten: int = 0
    lost: int = 0

    def __add__(self, other: Extent) -> Extent:
        known = [each.bytes for each in (self, other) if each.bytes is not None]
        return Extent(
            sum(known) if known else None,
            self.parts + other.parts,
            self.rewritten + other.rewritten,
            self.lost + other.lost,
        )


@dataclass(frozen=True)
class Impact:
    """What an erasure would touch now. A preview writes nothing.

    Args:
        places: Records by place.
        extents: How far it would reach, of places where the store can tell cheaply.
    """

    places: dict[str, int] = field(default_factory=dict)
    extents: dict[str, Extent] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """All records together."""
        return sum(self.places.values())


@dataclass(frozen=True)
class BackUp:
    """The pre-images of one slice in the vault.

    Args:
        places: Records by place.
        bytes: Size of the plain pre-images, in bytes.
        digest: SHA-256, hex, over the sealed objects.
        slice: The slice's name.
    """

    places: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    digest: str = ""
    slice: str = ""

    @property
    def records(self) -> int:
        """All records together."""
        return sum(self.places.values())


@dataclass(frozen=True)
class Tally:
    """What an erasure did in one place, in records (documents, rows, objects, keys).

    Args:
        matched: Found with an identity of the slice in it, in this execution.
        changed: Masked or deleted in this execution.
        already_clean: In the pre-image, but found without the identity: done by an earlier execution.
        conflicted: Found and not changed, since something else kept on writing it.
    """

    matched: int = 0
    changed: int = 0
    already_clean: int = 0
    conflicted: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.matched + other.matched,
            self.changed + other.changed,
            self.already_clean + other.already_clean,
            self.conflicted + other.conflicted,
        )


@dataclass(frozen=True)
class Erased:
    """What the erasure of one slice did, by place; a warning ends up in the report."""

    places: dict[str, Tally] = field(default_factory=dict)
    warnings: list[Finding] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """All places together."""
        return sum(self.places.values(), Tally())


@dataclass(frozen=True)
class Recovery:
    """What a rollback did in one place, in records.

    Args:
        found: Pre-images of the slice.
        restored: Put back in this execution.
        intact: As its pre-image says already: never erased, or put back by an earlier execution.
        conflicted: Changed or made anew by somebody else since: that is kept, and the record is reported.
    """

    found: int = 0
    restored: int = 0
    intact: int = 0
    conflicted: int = 0

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            self.found + other.found,
            self.restored + other.restored,
            self.intact + other.intact,
            self.conflicted + other.conflicted,
        )


@dataclass(frozen=True)
class Restored:
    """What the rollback of one slice did, by place; a warning ends up in the report, and a note too."""

    places: dict[str, Recovery] = field(default_factory=dict)
    warnings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def total(self) -> Recovery:
        """All places together."""
        return sum(self.places.values(), Recovery())


@dataclass(frozen=True)
class Purged:
    """What was removed for ever, by place; a warning ends up in the report."""

    places: dict[str, int] = field(default_factory=dict)
    warnings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Sighting:
    """Values that a mapped place of a store holds, whoever they belong to. Never travels through Temporal.

    Args:
        place: The index, table, prefix template or key pattern, with its field.
        kinds: The kinds of identity that the data map says it holds.
        values: The values, as stored; one may come more than once, and some may be masks.
        are_texts: Whether identities stand inside of the values.
    """

    place: str
    kinds: Sequence[IdentityKind]
    values: Sequence[str]
    are_texts: bool = False


class Store(Protocol):
    """One store's share of an erasure. Each verb is idempotent: it may be cut at any point and run again.

    Every verb raises only `activities.errors.ErasureError`; a driver's own text never leaves the store.
    """

    async def probe(self) -> Health:
        """Asks whether an erasure can run: reachable, version, rights, data map against the catalogue."""

    async def preview(self, part: Slice) -> Impact:
        """Counts the records that still hold an identity of the slice. Writes nothing."""

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Puts the pre-images of the slice into the vault. Writes nothing to the store."""

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Masks or deletes the slice's records; first puts into the vault what its back-up lacks."""

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Puts back what was erased of the slice, also where its erasure was cut; never overwrites a newer write."""

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Removes for ever what the store itself still keeps of the erased records. After this, nothing comes back."""

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Compares the store's own catalogue with the data map. Reads names and samples; writes nothing.

        Args:
            suspicion: What to look for, and where.

        Returns:
            Places that look as if they held identities, and that the data map does not name.
        """

    def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what the places of the data map hold, in pages; and what of them could not be looked at, and why.

        Reads each place once, whoever is looked for; writes nothing.
        """


@dataclass(frozen=True)
class Seed:
    """One record of the canary, settled before it is written: whatever happens, it can be found and taken away again.

    Args:
        place: As counts name it.
        record: JSON values, the store's own.
    """

    place: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Seeds:
    """What is to be planted in a store.

    Args:
        seeds: The records.
        missed: Places of the data map where nothing can be planted, and why.
    """

    seeds: list[Seed] = field(default_factory=list)
    missed: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Planted:
    """What was planted.

    Args:
        places: Records by place.
        missed: Places of the data map that have none, and why.
    """

    places: dict[str, int] = field(default_factory=dict)
    missed: list[Finding] = field(default_factory=list)


class Planter(Protocol):
    """How the canary gets into a store, and out of it again. Each verb is idempotent, as those of a `Store` are.

    Planting never fails because of one place: what cannot be planted there is missed. It changes no record but its own.
    """

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles what to plant, one record a place of the data map. Writes nothing."""

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Writes the records, so that the store's own searches find them."""

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Takes the records away for ever, masked or not; one that holds anything but the canary's own stays.

        Returns:
            What stays, and why.
        """


Client = TypeVar("Client")
Map = TypeVar("Map", bound="BaseModel")
Settings = TypeVar("Settings", bound="BaseSettings")


@dataclass(frozen=True)
class StoreKind(Generic[Client, Map, Settings]):
    """How a store joins the system: a module of `activities.stores` names one of these ``KIND``.

    Args:
        name: Name of the store, of its phase, and of its table in the data map.
        unit: What one execution covers.
        data_map: Validates the store's table in ``erasure.toml``.
        settings: The store's connection, from the environment.
        connect: Opens the client, once a worker; must not fail when the server is down.
        open: Makes the store from client, data map and heartbeat; cheap, once an activity execution.
        planter: Makes what plants the canary, from client and data map.
    """

    name: str
    unit: Unit
    data_map: type[Map]
    settings: type[Settings]
    connect: Callable[[Settings], AbstractAsyncContextManager[Client]]
    open: Callable[[Client, Map, Heartbeat], Store]
    planter: Callable[[Client, Map], Planter]


AnyStoreKind = StoreKind[Any, Any, Any]
