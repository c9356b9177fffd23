"""Holds a batch at the beginning of activities until the test lets it go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from tests.bench import until


@dataclass(frozen=True)
class Halts(Interceptor):
    """Activities that wait, in another process, for a file.

    Args:
        folder: For files by which the two sides tell each other.
        slices: By the type of an activity, which works on slices: the one that waits; None for the whole batch.
    """

    folder: Path
    slices: dict[str, int | None]

    async def reached(self, name: str) -> None:
        """Waits until an activity of that type waits."""
        await until(self._there(name).exists, 240)

    def let_go(self, name: str) -> None:
        """Lets an activity of that type go on, and those that come after it."""
        self._gone(name).touch()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Halting(next, self)

    async def wait(self, name: str) -> None:
        """Waits, on the activity's side."""
        self._there(name).touch()
        while not self._gone(name).exists():
            activity.heartbeat()
            await asyncio.sleep(0.02)

    def _there(self, name: str) -> Path:
        return self.folder / f"{name} halts"

    def _gone(self, name: str) -> Path:
        return self.folder / f"{name} goes on"


class _Halting(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, halts: Halts) -> None:
        super().__init__(next)
        self._halts = halts

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = activity.info().activity_type
        if name in self._halts.slices and input.args[0].number == self._halts.slices[name]:
            await self._halts.wait(name)
        return await super().execute_activity(input)
