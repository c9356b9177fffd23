"""Where a slice's pre-images are in the vault, and which transactions wrote for the batch.

A transaction notes itself in the vault before it commits: an erasure with the rows that it is about to write. Whether
it committed is asked of the server later. So a rollback knows a row that an erasure took from one that somebody else
removed, and a mask that an erasure left from the same value written by somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import Literal

from activities.contract import Slice
from activities.vault import BatchVault

_WRITES = "writes/postgres/"


def back_up_name(part: Slice) -> str:
    """The name of the slice's back-up."""
    return f"pre-image/postgres/{part.name}"


def later_name(part: Slice, xid: int) -> str:
    """A name under which an erasure keeps what the back-up lacks.

    Args:
        part: The slice.
        xid: The server's number of the erasure's transaction, 64 bits.
    """
    return f"{_later(part)}{xid}-{token_hex(8)}"


async def names_of(part: Slice, vault: BatchVault) -> dict[str, int | None]:
    """The back-up's name, and those of what every attempt at the erasure kept besides, each with its transaction."""
    later = await vault.names(_later(part))
    xids = {name: int(name.removeprefix(_later(part)).partition("-")[0]) for name in later}
    return {back_up_name(part): None, **xids}


def _later(part: Slice) -> str:
    return f"{back_up_name(part)}/later/"


@dataclass(frozen=True)
class Write:
    """A transaction that wrote, or was about to.

    Args:
        name: Of its note in the vault; that of an erasure lists the rows.
        slice: The slice that it was about.
        verb: What it did.
        xid: The server's number of it, 64 bits.
    """

    name: str
    slice: str
    verb: Literal["erase", "restore"]
    xid: int


def write_name(part: Slice, verb: Literal["erase", "restore"], xid: int) -> str:
    """The name under which a transaction notes itself."""
    return f"{_WRITES}{part.name}/{verb}-{xid}-{token_hex(4)}"


async def writes(vault: BatchVault) -> list[Write]:
    """The transactions of every slice: two slices may have masked the same row."""
    found: list[Write] = []
    for name in await vault.names(_WRITES):
        part, _, attempt = name.removeprefix(_WRITES).rpartition("/")
        verb, xid, _ = attempt.split("-")
        found.append(Write(name, part, "erase" if verb == "erase" else "restore", int(xid)))
    return found
