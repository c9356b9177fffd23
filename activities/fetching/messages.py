"""What travels between the workflow of a fetch and its activities: criteria, counts, a batch's name.

Importable in the sandbox. Who was found stays in the vault.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from activities.messages import Batch

NullActivity = Literal["exclude", "include"]
"""What becomes of people of whom no last activity is known."""


@dataclass(frozen=True)
class Criteria:
    """Whom to fetch.

    Args:
        days_inactive: They have been inactive for longer than so many days of 24 hours.
        max_contributors: So many at most: those who have been inactive longest.
        min_projects: They worked in so many projects at least; 0: in however few.
        max_projects: ... and in so many at most.
        status: Their status.
        null_activity: Whether those without a last activity count as inactive. None: they do not, and it is said how
            many there are.
    """

    days_inactive: int
    max_contributors: int
    min_projects: int = 0
    max_projects: int | None = None
    status: str = "INACTIVE"
    null_activity: NullActivity | None = None

    @property
    def bounds_projects(self) -> bool:
        """Whether the number of projects matters."""
        return self.min_projects > 0 or self.max_projects is not None

    @property
    def projects(self) -> str:
        """The bounds in words."""
        if self.max_projects is None:
            return f"{self.min_projects:,} or more"
        return f"{self.min_projects:,} to {self.max_projects:,}"

    def __str__(self) -> str:
        projects = f", {self.projects} projects" if self.bounds_projects else ""
        return f"status {self.status}, inactive for more than {self.days_inactive:,} days{projects}"


@dataclass(frozen=True)
class Fetch:
    """Names a fetch to its activities.

    Args:
        run_id: The fetch; also the name of its part of the vault.
        order: Where data map and people to leave out lie in the vault; the same part for a fetch that runs once.
        criteria: Whom to fetch.
        as_of: From when on the days are counted back.
        stamp: When it ran: names the back-up copy.
    """

    run_id: str
    order: Batch
    criteria: Criteria
    as_of: datetime
    stamp: datetime


@dataclass(frozen=True)
class Counts:
    """How many people are left behind each filter, in this order, and who fell out at the second.

    Args:
        contributors: All.
        of_status: Of the status.
        inactive: ... and inactive for long enough.
        in_projects: ... and in as many projects as asked for.
        not_erased: ... and not erased already.
        not_excluded: ... and neither named by the exclude file nor in a batch that is not over.
        not_held: ... and under no legal hold.
        no_activity: Of the status, but without a last activity.
        in_future: Of the status, but last active after the moment from which is counted: a clock is wrong.
    """

    contributors: int = 0
    of_status: int = 0
    inactive: int = 0
    in_projects: int = 0
    not_erased: int = 0
    not_excluded: int = 0
    not_held: int = 0
    no_activity: int = 0
    in_future: int = 0

    def filters(self, criteria: Criteria) -> list[tuple[str, int]]:
        """Each filter in words, and how many people are left behind it."""
        return [
            ("contributors", self.contributors),
            (f"status {criteria.status}", self.of_status),
            (f"inactive for more than {criteria.days_inactive:,} days", self.inactive),
            (f"projects: {criteria.projects}", self.in_projects),
            ("not erased already", self.not_erased),
            ("neither excluded nor in a batch already", self.not_excluded),
            ("under no legal hold", self.not_held),
        ]


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: people who have been inactive for so many whole days, both included."""

    first: int
    last: int
    contributors: int


@dataclass(frozen=True)
class Fetched:
    """What a fetch found.

    Args:
        contributors: People in the CSV.
        counts: People behind each filter.
        unfit: People left out since their id is not of the form that ``identity.id_pattern`` asks for: ``erase``
            would refuse the file.
        unnamed: People in the CSV of whom an address or worker id is left out, since no cell can hold it; ``erase``
            looks up all of them by the id.
        never: People in the CSV without a last activity.
        histogram: How long the others have been inactive.
        missing_indexes: Statements that would make an index that the query lacks.
    """

    contributors: int
    counts: Counts
    unfit: int = 0
    unnamed: int = 0
    never: int = 0
    histogram: list[Bar] = field(default_factory=list)
    missing_indexes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Submitted:
    """A batch that was made of a fetch.

    Args:
        batch_id: The batch; the same people, submitted by hand, are the same batch.
        contributors: Its people.
    """

    batch_id: str
    contributors: int


class FetchStage(StrEnum):
    """Where a fetch is."""

    CONNECT = "connect to PostgreSQL"
    EXPORT = "query, filter, sort, limit, export"
    BACK_UP = "create backup"
    HAND_OVER = "hand over"
    READY = "ready to be taken"
    ENDED = "ended"


@dataclass
class FetchStatus:
    """What is known of a fetch: kept by its workflow, answered by the query `status`.

    Args:
        run_id: The fetch.
        criteria: Whom it fetches.
        as_of: From when on the days are counted back.
        stamp: When it ran.
        stage: Where it is.
        fetched: What it found.
        backed_up: The CSV's dated copy in the vault.
        batch_id: The batch that was made of it.
        was_running: Whether that batch was there already.
        taken: How often its CSV was taken.
        kept_until: When its CSV is destroyed in the vault.
    """

    run_id: str
    criteria: Criteria
    as_of: datetime
    stamp: datetime
    stage: FetchStage = FetchStage.CONNECT
    fetched: Fetched | None = None
    backed_up: str | None = None
    batch_id: str | None = None
    was_running: bool = False
    taken: int = 0
    kept_until: datetime | None = None
