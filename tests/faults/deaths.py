"""A worker that dies at every boundary of every activity, once each."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.messages import Step

When = Literal["start", "end"]
"""``start``: nothing of the activity is done, what came before it is reported. ``end``: done and not reported."""

IN_SLICES, WHOLE = 3, 2
"""Stores that work slice by slice, and those whose one activity is the whole batch: all are read at once."""


@dataclass
class Deaths(Interceptor):
    """Kills its own process by SIGKILL, once at each boundary of each activity.

    Activities that run at once (slices, and stores that are read at once) die together, each of them at its boundary:
    so a step costs one death and not one a slice.

    Args:
        ledger: The file of the boundaries that were died at, a line each: outlives the process.
        when: The boundaries.
        verbs: What the names of the activities begin with at which it dies; every one where none is given.
    """

    ledger: Path
    when: When
    verbs: tuple[str, ...] = ("",)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Mortal(next, self)

    def died_at(self) -> set[str]:
        """The boundaries that were died at: when, id and type of the activity."""
        return set(self.ledger.read_text().splitlines()) if self.ledger.exists() else set()


_waiting: dict[str, set[str]] = {}
"""Activities of this process that stand at a boundary, by what they have to wait for together."""


class _Mortal(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, deaths: Deaths) -> None:
        super().__init__(next)
        self._deaths = deaths

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        await self._stand_at("start", input)
        result = await super().execute_activity(input)
        await self._stand_at("end", input)
        return result

    async def _stand_at(self, when: When, input: ExecuteActivityInput) -> None:
        name = activity.info().activity_type
        boundary = f"{when} {activity.info().activity_id} {name}"
        meant = when == self._deaths.when and name.startswith(self._deaths.verbs)
        if not meant or boundary in self._deaths.died_at():
            return
        group, size = _group(input)
        together = _waiting.setdefault(f"{when} {group}", set())
        together.add(boundary)
        if len(together) == size:
            with self._deaths.ledger.open("a") as ledger:
                ledger.write("".join(f"{each}\n" for each in sorted(together)))
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.Event().wait()  # for the others, and death


def _group(input: ExecuteActivityInput) -> tuple[str, int]:
    """Which activities run at once with this one, and how many they are."""
    name, argument = activity.info().activity_type, input.args[0]
    verb, _, rest = name.rpartition("_")
    if verb == "check" and rest != "batch":
        return verb, IN_SLICES + WHOLE + 1  # and whom the CSV names
    if isinstance(argument, Step) and verb in ("back_up", "count"):
        return verb, IN_SLICES * argument.slices + WHOLE
    return name, argument.slices if isinstance(argument, Step) and argument.number is not None else 1
