"""What a check is, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from activities.contract import Finding, Health


class State(StrEnum):
    """What a check found; the later, the worse."""

    OK = "ok"
    UNUSED = "not used"
    WARNED = "warning"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    BAD_INPUT = "bad input"


SOUND = (State.OK, State.UNUSED, State.WARNED)
"""States in which nothing forbids to start."""


@dataclass(frozen=True)
class Result:
    """What a check answers.

    Args:
        state: What was found.
        version: What answers, as it says of itself; empty where there is nothing to say.
        findings: What is wrong, each with what to do.
        latency_ms: How long it took; added by who runs it.
    """

    state: State
    version: str = ""
    findings: list[Finding] = field(default_factory=list)
    latency_ms: float = 0.0

    @classmethod
    def of(cls, health: Health) -> Result:
        """What a probe learned."""
        state = State.FAILED if health.problems else State.WARNED if health.warnings else State.OK
        return cls(state, health.version, [*health.problems, *health.warnings])


class Check(Protocol):
    """One line of the set-up."""

    @property
    def name(self) -> str:
        """What is checked."""

    async def run(self) -> Result:
        """Checks it. May raise the taxonomy, and what settings and the data map raise: who runs it knows them."""


@runtime_checkable
class Fixable(Check, Protocol):
    """A check whose failure the tool itself can mend, by making what is its own."""

    async def fix(self) -> str | None:
        """Makes what is missing, and destroys nothing; says what it made, or None where there was nothing to make."""
