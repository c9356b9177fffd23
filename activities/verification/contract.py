"""What a scanner offers to a verification, and what it answers with. Plain data: travels through Temporal.

A scanner is written apart from its store's eraser: it shares the connection with it and nothing else, no query, no
data map, no way to compare two identities. Whatever it did not read is not proven; it is never taken for clean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from activities.contract import Finding, Heartbeat
from activities.messages import Depth

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_settings import BaseSettings

    from activities.verification.needles import Needles


@dataclass(frozen=True)
class Scope:
    """Where a scanner looks.

    Args:
        depth: How far. ``mapped``: the places that the data map names, and no other. ``catalogue``: every text-like
            place that the store's own catalogue knows of, small objects included. ``deep``: whatever can be read,
            binary columns, numbers and large objects too.
        mapped: Names or globs of the places that the data map names, in the scanner's own words for places
            (``project-*``, ``unit_metrics*``, ``public.contributors``, ``s3://bucket/prefix/``, ``auth:*``).
        reach: Globs of ``<store> <place>`` outside of which nothing is looked at, as an operator set them.
    """

    depth: Depth
    mapped: Sequence[str] = ()
    reach: Sequence[str] = ("*",)


@dataclass(frozen=True)
class Place:
    """Something that is read as a whole: an index, a table, a bucket, a database of keys.

    Args:
        name: As findings name it: ``project-a``, ``public.payments``, ``s3://files``; never a value.
        records: How many records it has, about.
        bytes: How much of it has to be read, about.
        within: What is looked at in it: fields, columns; empty where that has no names.
    """

    name: str
    records: int
    bytes: int
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """Every place that a store has, by its own catalogue.

    Args:
        version: The server's version.
        places: What can be read.
        not_proven: What cannot, or not wholly, and why; also what the depth leaves out of a place that it looks at.
    """

    version: str
    places: list[Place] = field(default_factory=list)
    not_proven: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Residual:
    """Identities of the batch that one place still holds.

    Args:
        place: Down to the field or column: ``project-a: judgments.worker_id``, ``public.payments.payee_email``.
        kind: The kind of identity, as `IdentityKind` names it.
        count: Records that hold one.
        sample: One of them, masked (`needles.masked`): no value.
    """

    place: str
    kind: str
    count: int
    sample: str


@dataclass(frozen=True)
class Reading:
    """What came of reading one place.

    Args:
        records: Records that were read.
        bytes: Bytes that were read.
        residuals: What was found.
        uncertain: What may be an identity, or a number, a word or a longer id that looks like one.
        masked: Values of the place that are masks (``DELETED_USER...``).
        not_proven: What of the place was not read, or in part only, and why.
    """

    records: int = 0
    bytes: int = 0
    residuals: list[Residual] = field(default_factory=list)
    uncertain: list[Residual] = field(default_factory=list)
    masked: int = 0
    not_proven: list[Finding] = field(default_factory=list)


class Scanner(Protocol):
    """Reads one store, whoever wrote to it. Every method raises only `activities.errors.ErasureError`."""

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists every place within the scope, and what cannot be read there. Reads no content.

        What `planted` holds there now is within every scope whose reach it is in.
        """

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads one place of the catalogue, and looks for every needle. Memory does not grow with the place.

        Where the place cannot be read, that is a `not_proven` of the answer, and no error, so that others are read
        all the same; an error is what concerns the store as a whole.
        """

    def planted(self, value: str) -> AbstractAsyncContextManager[str]:
        """Plants a made-up identity in the store, where the catalogue is bound to list it, for as long as the block.

        Args:
            value: A random word, nobody's.

        Returns:
            The name of the place that holds it, which holds nothing else: what the places of its residuals start with.
            It goes with the block, also one that was left by an earlier run which was cut off.
        """


Client = TypeVar("Client")
Map = TypeVar("Map", bound="BaseModel")
Settings = TypeVar("Settings", bound="BaseSettings")


@dataclass(frozen=True)
class ScannerKind(Generic[Client, Map, Settings]):
    """How a scanner joins the verification: a module of `activities.verification.scanners` names one of these ``KIND``.

    Args:
        name: What it scans; for a store, the store's name.
        open: Makes the scanner from the store's client and its settings; cheap.
        mapped: The places that the store's table of the data map names, in the scanner's words.
        plants: Whether it can plant something. Where not, its places are the batch's workflow, and what is bound to
            stand there is that workflow's id.
    """

    name: str
    open: Callable[[Client, Settings], Scanner]
    mapped: Callable[[Map], Sequence[str]]
    plants: bool = True


AnyScannerKind = ScannerKind[Any, Any, Any]


@dataclass(frozen=True)
class Estimate:
    """What a scan will cost, before it begins.

    Args:
        places: Places to read.
        records: Records in them, about.
        bytes: Bytes to read, about.
        seconds: How long that takes, about.
        basis: What the time is reckoned from.
    """

    places: int
    records: int
    bytes: int
    seconds: float
    basis: str


@dataclass(frozen=True)
class Scan:
    """What the scan of one store came to.

    Its lists are bounded, whatever the store holds: what they do not name they count.

    Args:
        store: What was scanned.
        version: The server's version.
        proven: Places that were read whole and hold no identity of the batch.
        residuals: What was found, the most first; the last one sums up those that are not named.
        not_proven: What was not read, or in part only, and why; the last one sums up those that are not named.
        masked: Masks, by place.
        records: Records that were read.
        bytes: Bytes that were read.
        seconds: How long it took.
        proven_further: How many more places are proven than are named.
        passes: How often each place was read, since the identities were too many to be looked for at once.
    """

    store: str
    version: str
    proven: list[str] = field(default_factory=list)
    residuals: list[Residual] = field(default_factory=list)
    not_proven: list[Finding] = field(default_factory=list)
    masked: dict[str, int] = field(default_factory=dict)
    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    proven_further: int = 0
    passes: int = 1
