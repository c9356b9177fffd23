"""Where a slice's pre-images are in the vault."""

from __future__ import annotations

from activities.contract import Slice
from activities.vault import BatchVault


def back_up_name(part: Slice) -> str:
    """The name of the slice's back-up."""
    return f"pre-image/postgres/{part.name}"


def later_prefix(part: Slice) -> str:
    """What the names begin with under which an erasure kept what the back-up lacked."""
    return f"{back_up_name(part)}/later/"


async def names_of(part: Slice, vault: BatchVault) -> list[str]:
    """The back-up's name, and those of what every attempt at the erasure kept besides."""
    return [back_up_name(part), *await vault.names(later_prefix(part))]
