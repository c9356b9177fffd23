"""What the program's exit code says; the README's table is the same."""

from __future__ import annotations

from enum import IntEnum

from activities.status import BatchStatus, Outcome


class ExitCode(IntEnum):
    """Exit codes of every command."""

    ERASED = 0
    FAILED = 1
    BAD_INPUT = 2
    WARNED = 3
    PARKED = 4
    UNREACHABLE = 5


_BY_OUTCOME = {
    Outcome.RUNNING: ExitCode.ERASED,
    Outcome.ERASED: ExitCode.ERASED,
    Outcome.WARNED: ExitCode.WARNED,
    Outcome.REFUSED: ExitCode.FAILED,
    Outcome.ROLLED_BACK: ExitCode.FAILED,
}
"""A running batch counts as well: it was submitted, or its status was shown, as asked."""


def of(status: BatchStatus) -> ExitCode:
    """The exit code that a batch's state asks for."""
    return ExitCode.PARKED if status.needs_operator else _BY_OUTCOME[status.outcome]
