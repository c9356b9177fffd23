"""What starts a workflow, and what operators send to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from activities.messages import Batch, Depth, WhenShared
from activities.status import BatchStatus


@dataclass(frozen=True)
class Retry:
    """How long the activities of one store are tried.

    Args:
        max_attempts: Tries of one activity, those that a dying worker cost included.
        give_up_after: All tries of one activity together.
    """

    max_attempts: int
    give_up_after: timedelta


@dataclass(frozen=True)
class Looking:
    """How it is looked for what an erasure left.

    Args:
        depth: How far.
        beside: What is scanned beside the stores, by any worker.
    """

    depth: Depth
    beside: list[str]


@dataclass(frozen=True)
class Plan:
    """How a batch runs: its policy, as it was when it was submitted.

    Args:
        order: The phases, as stores' names in order.
        critical: Phases that park when they fail; the others warn.
        slice_size: Contributors a slice.
        concurrency: Slices of one phase at once.
        heartbeat_timeout: After it a silent worker counts as dead.
        retry: How long activities are tried.
        retries: The same for single stores, by name.
        approvals: How many have to approve before anything is backed up.
        on_critical: What becomes of a critical phase that stays failed.
        park_timeout: How long a parked phase waits before the batch rolls back by itself.
        retention: How long the back-up lives after the end.
        shared: What becomes of identities that somebody has who stays.
        verify: How it is looked for what is left, once the phases are through; None: not at all.
        canary: Names the made-up contributor who is erased before anything is backed up; None: nobody is.
    """

    order: list[str]
    critical: list[str]
    slice_size: int
    concurrency: int
    heartbeat_timeout: timedelta
    retry: Retry
    retries: dict[str, Retry]
    approvals: int
    on_critical: Literal["park", "rollback"]
    park_timeout: timedelta
    retention: timedelta
    shared: WhenShared = "park"
    verify: Looking | None = None
    canary: str | None = None


@dataclass(frozen=True)
class Command:
    """What an operator asks of a batch, or of one of its phases.

    Args:
        operator: Who asks.
        reason: Why; kept with the batch, so no personal data.
        phase: A store's name; None for the batch.
    """

    operator: str
    reason: str = ""
    phase: str | None = None


@dataclass(frozen=True)
class Carried:
    """What a batch takes along when its history became long and it continues as a new run.

    Args:
        status: What is known.
        finished: Slices that need not run again, by step and store.
        retries: Phases that are to run again.
        skips: Phases that are to be given up.
        rolling_back: Whether the batch is on its way back.
        shred: Whether it is to be shredded now.
    """

    status: BatchStatus
    finished: dict[str, list[int]] = field(default_factory=dict)
    retries: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)
    rolling_back: bool = False
    shred: bool = False


@dataclass(frozen=True)
class EraseRequest:
    """Asks for the erasure of a batch that lies in the vault.

    Args:
        batch: The batch.
        operator: Who submitted it.
        contributors: Distinct people of the CSV.
        duplicates: Rows of the CSV that were folded.
        plan: How it runs.
        carried: Where an earlier run left off.
    """

    batch: Batch
    operator: str
    contributors: int
    duplicates: int
    plan: Plan
    carried: Carried | None = None

    @property
    def summary(self) -> str:
        """The batch in one line, for lists of workflows."""
        return f"Erase {self.contributors:,} contributors, asked by {self.operator}"[:200]

    @property
    def details(self) -> str:
        """How it runs, in a few."""
        return (
            f"Phases: {', '.join(self.plan.order)}. Critical: {', '.join(self.plan.critical)}. "
            f"Slices of {self.plan.slice_size:,}. Data map {self.batch.data_map_digest[:16]}."
        )

    def memo(self, content: str) -> dict[str, str | int]:
        """What is remembered of the batch beside its history.

        Args:
            content: The name of the content: another file under the same batch id is told from it.
        """
        return {"content": content, "contributors": self.contributors, "operator": self.operator}
