"""Runs checks at the same time, each within its time: a server that hangs holds up its own check and no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from activities.contract import Finding
from activities.datamap import DataMapError
from activities.errors import ErasureError, TransientError, unknown
from activities.settings import SettingsError
from activities.setup.contract import SOUND, Check, Fixable, Result, State

CLEAN_UPS = 5
"""How often what hangs is told to stop: what it awaits while it cleans up may hang as well."""

CLEAN_UP = 0.5
"""Seconds for each."""


PAUSE = 2.0
"""Seconds before what failed is tried again."""

Tell = Callable[[str, Result | None], None]
"""Told a check's name with its result as it comes; with None where it begins anew."""


class Setup:
    """All checks, and what they answered last.

    Args:
        checks: The checks.
        seconds: How long each may take.
        tell: Told what happens.
    """

    def __init__(self, checks: Sequence[Check], seconds: float, tell: Tell) -> None:
        self._checks = checks
        self._seconds = seconds
        self._tell = tell
        self._results: dict[str, Result] = {}

    @property
    def results(self) -> dict[str, Result]:
        """What each check answered last, by its name."""
        return {check.name: self._results[check.name] for check in self._checks if check.name in self._results}

    @property
    def failed(self) -> list[Check]:
        """What is not in order: what forbids to start."""
        return [check for check in self._checks if self._results[check.name].state not in SOUND]

    @property
    def worst(self) -> State:
        """The worst of all states."""
        return max((result.state for result in self.results.values()), key=list(State).index)

    async def run(self) -> None:
        """Runs all checks."""
        await self._run(self._checks)

    async def fix(self) -> dict[str, str]:
        """Has each check mend what it can that is not in order, then runs it again.

        Returns:
            By the check's name what was made, or why it could not be.
        """
        said: dict[str, str] = {}
        mended: list[Check] = []
        for check in self._checks:
            if isinstance(check, Fixable) and self.results[check.name].state is not State.OK:
                made, failure = await self._mend(check)
                if made or failure:
                    said[check.name] = made or f"cannot be mended: {failure}"
                if made:
                    mended.append(check)
        await self._run(mended)
        return said

    async def retry(self, within: float) -> None:
        """Runs what is not in order again and again, and nothing else, until all of it is.

        Args:
            within: Seconds after which it is given up. Wrong settings are at once: no process sees new ones.
        """
        deadline = time.monotonic() + within
        while self.failed and self.worst is not State.BAD_INPUT and time.monotonic() + PAUSE < deadline:
            await asyncio.sleep(PAUSE)
            await self._run(self.failed)

    async def _run(self, checks: Sequence[Check]) -> None:
        async def one(check: Check) -> None:
            self._tell(check.name, None)
            self._results[check.name] = await _answered(check.name, check.run, self._seconds)
            self._tell(check.name, self._results[check.name])

        await asyncio.gather(*map(one, checks))

    async def _mend(self, check: Fixable) -> tuple[str | None, str]:
        """What a check made; and why it could not."""
        made: list[str | None] = []

        async def mend() -> Result:
            made.append(await check.fix())
            return Result(State.OK)

        result = await _answered(check.name, mend, self._seconds)
        return (made[0] if made else None), "; ".join(map(str, result.findings))


async def _answered(name: str, run: Callable[[], Coroutine[Any, Any, Result]], seconds: float) -> Result:
    """What a check answers, in one of the states whatever it raises, and within its time whatever it does."""
    took = seconds

    async def timed() -> Result:
        nonlocal took
        began = time.monotonic()
        try:
            return await run()
        finally:
            took = time.monotonic() - began

    task = asyncio.create_task(timed())
    await asyncio.wait({task}, timeout=seconds)
    return replace(await _outcome(name, task, seconds), latency_ms=took * 1_000)


async def _outcome(name: str, task: asyncio.Task[Result], seconds: float) -> Result:
    if not task.done():
        await _stop(task)
        what = f"no answer within {seconds:g} s"
        remedy = "Check host, port, and TLS or not; look at the server's load, or allow more: --timeout."
        return Result(State.UNREACHABLE, findings=[Finding(name, what, remedy)])
    try:
        return task.result()
    except SettingsError as error:
        what, _, remedy = str(error).rpartition(". ")
        return Result(State.BAD_INPUT, findings=[Finding(name, what, f"{remedy}.")])
    except DataMapError as error:
        what = " ".join(str(error).split())
        return Result(State.BAD_INPUT, findings=[Finding(name, what, "Correct the file, or name another: --config.")])
    except TransientError as error:
        return Result(State.UNREACHABLE, findings=[Finding(error.place, error.what, error.remedy)])
    except ErasureError as error:
        return Result(State.FAILED, findings=[Finding(error.place, error.what, error.remedy)])
    except Exception as error:  # told as a failure of this line; the others go on
        strange = unknown(name, error)
        return Result(State.FAILED, findings=[Finding(strange.place, strange.what, strange.remedy)])


async def _stop(task: asyncio.Task[Result]) -> None:
    for _ in range(CLEAN_UPS):
        task.cancel()
        await asyncio.wait({task}, timeout=CLEAN_UP)
        if task.done():
            break
    if task.done() and not task.cancelled():
        task.exception()  # looked at: nobody else will
