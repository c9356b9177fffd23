"""What travels between workflow and activities: a batch id, numbers, digests, counts. Importable in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from activities.contract import Finding, Health, Unit


@dataclass(frozen=True)
class Batch:
    """Names a batch to an activity.

    Args:
        batch_id: The batch.
        data_map_digest: What the data map in the vault must hash to.
    """

    batch_id: str
    data_map_digest: str


WhenShared = Literal["park", "mask", "keep"]
"""What becomes of an identity of the batch that somebody has who stays.

park   nothing is touched before an operator decides
mask   it is erased like any other, and so are the records that the other one is found by
keep   it is left out: records that hold nothing else of the batch stay as they are
"""


Reregistered = Literal["keep", "erase"]
"""What becomes of somebody who was erased and registers anew, when a sweep finds them.

keep   the new account stays, and so do the records that hold its address
erase  it is erased as well
"""


@dataclass(frozen=True)
class Resolution(Batch):
    """Names a batch whose identities are to be resolved.

    Args:
        attempt: How often an operator had it resolved again.
        shared: What becomes of identities that somebody has who stays.
    """

    attempt: int = 0
    shared: WhenShared = "park"


@dataclass(frozen=True)
class Step:
    """Names one slice of a batch to an activity.

    Args:
        batch: The batch.
        slices: Pages of the manifest.
        number: The page, or None for the whole batch.
        attempt: Which attempt wrote the manifest.
    """

    batch: Batch
    slices: int
    number: int | None
    attempt: int = 0


@dataclass(frozen=True)
class BackUps:
    """Names the back-ups of one phase, to be verified.

    Args:
        batch: The batch.
        store: The phase's store.
        digests: What each slice's back-up must hash to, by the slice's name.
    """

    batch: Batch
    store: str
    digests: dict[str, str]


@dataclass(frozen=True)
class Checked:
    """A store's probe, and how its phase is to be planned.

    Args:
        health: What the probe learned.
        unit: What one execution covers.
        reversible: Whether a rollback puts the store back; false where the data map says ``rollback = false``.
    """

    health: Health
    unit: Unit
    reversible: bool = True


@dataclass(frozen=True)
class Resolved:
    """What the manifest holds.

    Args:
        slices: Pages.
        contributors: People on them; one who stands in the CSV with differing identities may count twice.
        unknown: Of these, not found in the identity table: they are searched for by the CSV's identities alone.
        held: Under a legal hold: they are on no page.
        digest: SHA-256, hex, over the pages.
        shared: Identities that somebody has who stays.
        undecided: Whether there is no page, since an operator has to decide first.
    """

    slices: int
    contributors: int
    unknown: int
    held: int
    digest: str
    shared: int = 0
    undecided: bool = False


@dataclass(frozen=True)
class Reported:
    """What a report says of legal holds; who they are stands in the report alone.

    Args:
        name: The report's name in the vault.
        held: People who were left out, everywhere or in some stores.
        too_late: People who came under a hold after they had been erased from a store.
    """

    name: str
    held: int
    too_late: int


Depth = Literal["mapped", "catalogue", "deep"]
"""How far a verification looks.

mapped     the places that the data map names
catalogue  every text-like place that the stores' own catalogues know of, small objects included
deep       whatever can be read: binary columns, numbers and large objects too
"""


@dataclass(frozen=True)
class Verification:
    """What a verification of a batch, made apart from its erasers, found. Places and counts, never values.

    Args:
        depth: How far it looked: the data map's places, all that the catalogues name, or whatever can be read.
        at: When it ended.
        proven: Places that were read whole and hold no identity of the batch, each as ``<store> <place>``.
        residuals: Identities that were found, by place.
        not_proven: Places that were not read, or in part only, and why.
        masked: Values that are masks, by place: what the erasure left in the place of identities.
        cautions: What of all this concerns no store's phase, and has to be told with the batch's warnings.
    """

    depth: Depth
    at: datetime
    proven: list[str] = field(default_factory=list)
    residuals: dict[str, int] = field(default_factory=dict)
    not_proven: list[Finding] = field(default_factory=list)
    masked: dict[str, int] = field(default_factory=dict)
    cautions: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Certified:
    """Which certificate was issued.

    Args:
        number: Counted from 0 within the batch: each continues the one before it.
        digest: SHA-256, hex, over the file.
        key: The key that signed it.
    """

    number: int
    digest: str
    key: str
