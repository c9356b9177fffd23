"""What travels between a verification's workflow and its activities: places and counts. Importable in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from activities.contract import Finding
from activities.messages import Batch, Depth, Verification
from activities.verification.contract import Estimate, Scan


@dataclass(frozen=True)
class Target:
    """Names to an activity whom and where to look for.

    Args:
        batch: The batch whose people are looked for.
        slices: Pages of its manifest.
        attempt: Which attempt wrote the manifest.
        depth: How far to look.
        workflow_id: The workflow whose histories are the batch's.
    """

    batch: Batch
    slices: int
    attempt: int
    depth: Depth
    workflow_id: str


@dataclass(frozen=True)
class Access:
    """Whether the platform still gives anything to the people who were erased.

    Args:
        asked: People about whom the platform's API was asked.
        refused: Of these, how many it answered with SYSTEM_ERROR: it does not know them.
        known: How many it knows: it gave work, or said that it gives none.
        listed: People who still have a row in the identity table.
        not_proven: What could not be asked, or proves nothing, and why.
    """

    asked: int = 0
    refused: int = 0
    known: int = 0
    listed: int = 0
    not_proven: list[Finding] = field(default_factory=list)


class Verdict(StrEnum):
    """What a verification says."""

    RUNNING = "still looking"
    ESTIMATED = "estimated, not begun"
    PROVEN = "proven: nothing is left in any place that was read"
    PARTLY = "nothing was found, but for places that nobody could read"
    RESIDUALS = "residuals found"
    NOT_PROVEN = "not proven: something could not be looked at"


@dataclass
class VerificationStatus:
    """What is known of a verification: kept by its workflow, answered by the query `status`, told by its report.

    Args:
        batch_id: Whose people are looked for.
        depth: How far it looks.
        contributors: How many they are.
        left_out: People of the batch who were left out of it under a legal hold, and are not looked for.
        stores: What is scanned.
        estimates: What each scan will cost, by store.
        scans: What each scan came to; those that have ended.
        failures: Why a scan could not be made, by store.
        access: What the platform says; None while nobody has asked.
        report: The report's name in the vault; None while there is none.
        started_at: When it began.
        ended_at: When it ended.
    """

    batch_id: str
    depth: Depth
    contributors: int
    stores: list[str]
    left_out: int = 0
    estimates: dict[str, Estimate] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    failures: dict[str, Finding] = field(default_factory=dict)
    access: Access | None = None
    report: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def residuals(self) -> dict[str, int]:
        """Records that hold an identity, by store and place."""
        found: dict[str, int] = {}
        for scan in self.scans:
            for residual in scan.residuals:
                place = f"{scan.store} {residual.place}"
                found[place] = found.get(place, 0) + residual.count
        if self.access and self.access.known:
            found["platform API"] = self.access.known
        if self.access and self.access.listed:
            found["identity table"] = self.access.listed
        return found

    @property
    def not_proven(self) -> list[Finding]:
        """What nobody could look at, and why."""
        missing = [
            Finding(f"{scan.store} {each.place}", each.what, each.remedy)
            for scan in self.scans
            for each in scan.not_proven
        ]
        return [*missing, *self.failures.values(), *(self.access.not_proven if self.access else [])]

    @property
    def verdict(self) -> Verdict:
        """What it says; the worst that is true."""
        if self.residuals:
            return Verdict.RESIDUALS
        if self.ended_at is None:
            return Verdict.RUNNING
        if not self.scans and self.estimates:
            return Verdict.ESTIMATED
        if self.failures or not any(scan.proven for scan in self.scans):
            return Verdict.NOT_PROVEN
        return Verdict.PARTLY if self.not_proven else Verdict.PROVEN

    def summary(self, now: datetime) -> Verification:
        """What a batch keeps of it.

        Args:
            now: When it ended.
        """
        return Verification(
            self.depth,
            now,
            [f"{scan.store} {place}" for scan in self.scans for place in _proven(scan)],
            self.residuals,
            self.not_proven,
            {f"{scan.store} {place}": count for scan in self.scans for place, count in scan.masked.items() if count},
        )


def _proven(scan: Scan) -> list[str]:
    """The places that a scan names as proven, and how many more there are."""
    further = [f"and {scan.proven_further:,} further places"] if scan.proven_further else []
    return [*scan.proven, *further]
