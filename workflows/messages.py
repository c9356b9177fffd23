"""What starts a workflow."""

from __future__ import annotations

from dataclasses import dataclass

from activities.messages import Batch


@dataclass(frozen=True)
class EraseRequest:
    """Asks for the erasure of a batch that lies in the vault.

    Args:
        batch: The batch.
        operator: Who submitted it.
        contributors: Distinct people of the CSV.
        duplicates: Rows of the CSV that were folded.
        order: The phases, as stores' names in order.
        critical: Phases that the batch cannot go on without.
        slice_size: Contributors a slice.
        concurrency: Slices of one phase at once.
        max_attempts: Tries of one activity.
        heartbeat_timeout: Seconds after which a silent worker counts as dead.
    """

    batch: Batch
    operator: str
    contributors: int
    duplicates: int
    order: list[str]
    critical: list[str]
    slice_size: int
    concurrency: int
    max_attempts: int
    heartbeat_timeout: int
