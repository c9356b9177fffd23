"""What travels between workflow and activities of the canary: names, places, counts. Importable in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.contract import Finding
from activities.messages import Batch


@dataclass(frozen=True)
class CanaryStep:
    """Names the canary of a batch to an activity.

    Args:
        batch: The batch; its data map says who the canary is.
        canary: The canary's name, by which what was planted of it is known.
        erasure: The batch that erases the canary.
    """

    batch: Batch
    canary: str
    erasure: str


@dataclass(frozen=True)
class Preparation(CanaryStep):
    """Names, beside the canary, the people whom it must not be one of.

    Args:
        slices: Pages of the batch's manifest.
        attempt: Which attempt wrote it.
    """

    slices: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class CanaryResult:
    """How it went with the canary of a batch. Places and counts, nothing of its identities.

    Args:
        erasure: The batch that erased it.
        planted: Records by ``<store> <place>``.
        missed: Places of the data map that have no record of it: there the canary proves nothing.
        problems: Why the batch stops: something of it stays, or is not known to be gone.
        left: What of it could not be taken away again once it was masked.
    """

    erasure: str
    planted: dict[str, int] = field(default_factory=dict)
    missed: list[Finding] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.planted:
            return "nothing of a made-up contributor was planted, which stopped the batch"
        there = f"{sum(self.planted.values()):,} records of a made-up contributor in {len(self.planted):,} places"
        missed = f"; places without any: {len(self.missed):,}" if self.missed else ""
        left = f"; masked ones that stay: {len(self.left):,}" if self.left else ""
        return f"{there} {'stopped the batch' if self.problems else 'were erased first, and were gone'}{missed}{left}"
