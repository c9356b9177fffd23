"""What the safety checks answer with: counts, places and seconds. Travels through Temporal; names nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from activities.contract import Extent, Finding
from activities.messages import Batch


class CheckState(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNED = "warned"
    FAILED = "failed"
    NOT_RUN = "could not run"


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: What was looked at: a store's name, or what concerns no store in particular.
        facts: What was found where nothing is wrong, in words.
        problems: What forbids to start.
        warnings: What an operator should think about before starting.
        notes: What costs time, or is so by design.
        failure: Why it could not run.
        unreachable: Whether it could not run since something does not answer.
    """

    name: str
    facts: str = ""
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    failure: Finding | None = None
    unreachable: bool = False

    @property
    def state(self) -> CheckState:
        """What it came to: the worst that is true."""
        if self.problems:
            return CheckState.FAILED
        if self.failure is not None:
            return CheckState.NOT_RUN
        return CheckState.WARNED if self.warnings else CheckState.OK


@dataclass(frozen=True)
class People:
    """Whom a CSV names.

    Args:
        contributors: Distinct ids.
        known: Of these, in the identity table.
        held: Under a legal hold.
        everybody: Rows of the identity table.
        by_status: Those who are known, by their status, where the data map names its column.
        problems: Why they must not be erased all at once.
    """

    contributors: int
    known: int
    held: int
    everybody: int
    by_status: dict[str, int] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)

    @property
    def unknown(self) -> int:
        """Those who are not in the identity table."""
        return self.contributors - self.known


@dataclass(frozen=True)
class Preview:
    """What an erasure would touch in one store.

    Args:
        store: The store.
        places: Records by place.
        extents: How far it would reach, of places where the store can tell.
        seconds: How long it took to find them.
    """

    store: str
    places: dict[str, int] = field(default_factory=dict)
    extents: dict[str, Extent] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def records(self) -> int:
        """All records together."""
        return sum(self.places.values())

    @property
    def extent(self) -> Extent:
        """All places together."""
        return sum(self.extents.values(), Extent())


@dataclass(frozen=True)
class Measured(Batch):
    """What a dry run measured, for the estimate.

    Args:
        previews: What each store said, in the order of the phases.
        before: Seconds that checks and identities took: an erasure begins with the same.
        verifying: Seconds that its verification will take; None where there will be none.
    """

    previews: list[Preview] = field(default_factory=list)
    before: float = 0.0
    verifying: float | None = None


@dataclass(frozen=True)
class Pace:
    """How long one step will take.

    Args:
        step: A store's phase, or what comes around the phases.
        seconds: About.
        basis: What it is reckoned from.
    """

    step: str
    seconds: float
    basis: str


@dataclass(frozen=True)
class Forecast:
    """How long an erasure will take, and what its back-up will.

    Args:
        paces: Step by step.
        back_up: Bytes of its back-up, about.
        basis: What that is reckoned from.
        room: Bytes that the vault may still take; None where nobody has said.
    """

    paces: list[Pace] = field(default_factory=list)
    back_up: int = 0
    basis: str = ""
    room: int | None = None

    @property
    def seconds(self) -> float:
        """The whole of it."""
        return sum(pace.seconds for pace in self.paces)


@dataclass
class CheckStatus:
    """What is known of a check: kept by its workflow, answered by the query `status`, and its result.

    Args:
        batch_id: What its submission is called in the vault, until it is shredded in the end.
        contributors: Distinct people of the CSV.
        stores: The phases, in order.
        dry_run: Whether the impact is previewed as well.
        checks: Those that have ended.
        people: Whom the CSV names; None where that is not known.
        previews: What an erasure would touch, by store, in the order of the phases.
        irreversible: Stores that no rollback puts back, as the data map says.
        forecast: How long it will take; None where nobody has asked.
        started_at: When it began.
        ended_at: When it ended.
    """

    batch_id: str
    contributors: int
    stores: list[str]
    dry_run: bool
    checks: list[Check] = field(default_factory=list)
    people: People | None = None
    previews: list[Preview] = field(default_factory=list)
    irreversible: list[str] = field(default_factory=list)
    forecast: Forecast | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether an erasure would start."""
        return not any(check.state in (CheckState.FAILED, CheckState.NOT_RUN) for check in self.checks)
