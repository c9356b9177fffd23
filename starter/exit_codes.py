"""What the program's exit code says; the README's table is the same."""

from __future__ import annotations

from enum import IntEnum

from activities.status import Outcome


class ExitCode(IntEnum):
    """Exit codes of every command."""

    ERASED = 0
    FAILED = 1
    BAD_INPUT = 2
    WARNED = 3
    PARKED = 4
    UNREACHABLE = 5


BY_OUTCOME = {
    Outcome.RUNNING: ExitCode.ERASED,
    Outcome.ERASED: ExitCode.ERASED,
    Outcome.WARNED: ExitCode.WARNED,
    Outcome.REFUSED: ExitCode.FAILED,
    Outcome.FAILED: ExitCode.FAILED,
}
"""A running batch counts as well: it was submitted, or its status was shown, as asked."""
