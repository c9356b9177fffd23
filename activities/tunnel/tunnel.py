"""A tunnel: keeps a route open for as long as it is used, opens it again when it drops, and tells its local port."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from activities.errors import CriticalError, ErasureError, unknown
from activities.tunnel.lease import Leased, leased
from activities.tunnel.routes import Route, explain

log = logging.getLogger("tunnel")

PATIENCE = 20.0
"""Seconds after which a route is opened anew at whose end nothing has answered."""

TRIES = 3
"""Routes that failed one after the other before whoever waits is told why."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds between two tries, which grow."""

LASTED = 60.0
"""Seconds after which a route counts as having worked: the next pause is the first one again."""

Answers = Callable[[int], Awaitable[bool]]
"""Whether the server answers at a local port."""


class Tunnel:
    """A tunnel to one server.

    Args:
        route: The way.
        answers: Asks the server.
        place: The server, as messages name it.
        setting: What the route's variables begin with.
    """

    def __init__(self, route: Route, answers: Answers, place: str, setting: str) -> None:
        self._route = route
        self._answers = answers
        self._place = place
        self._setting = setting
        self._changed = asyncio.Condition()
        self._doubted = asyncio.Event()
        self._port: int | None = None
        self._failures = 0
        self._failure: ErasureError | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls, route: Route, answers: Answers, place: str, setting: str) -> AsyncIterator[Self]:
        """Keeps a route open for as long as the block; does not fail where it cannot be opened: `port` does."""
        tunnel = cls(route, answers, place, setting)
        keeping = asyncio.create_task(tunnel._keep())
        try:
            yield tunnel
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def port(self) -> int:
        """The local port, once the server answers there.

        Raises:
            ErasureError: The route cannot be opened, and why.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._port is not None or self._is_hopeless)
        if self._port is None:
            assert self._failure is not None, "nothing else is hopeless"
            raise type(self._failure)(self._failure.place, self._failure.what, self._failure.remedy)
        return self._port

    def doubt(self) -> None:
        """Has the route looked at: a connection through it was lost."""
        self._doubted.set()

    @property
    def _is_hopeless(self) -> bool:
        return isinstance(self._failure, CriticalError) or self._failures >= TRIES

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                failure = await self._run_once()
            except Exception as error:  # told to whoever waits for the port
                failure = unknown(f"{self._place} through {self._route.title}", error)
            await self._tell(None, failure)
            log.warning("tunnel closed: %s", failure)
            pause = FIRST_PAUSE if loop.time() - began > LASTED else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run_once(self) -> ErasureError:
        """Keeps one route open until it drops; says why."""
        if (port := _free_port(self._route.local_port)) is None:
            return explain(self._route, self._place, self._setting, "address already in use", 1)
        command = self._route.command(port)
        if shutil.which(command[0]) is None:
            what, remedy = f"{command[0]} is not installed", f"Install {command[0]} where this runs, on its PATH."
            return CriticalError(f"{self._place} through {self._route.title}", what, remedy)
        async with leased(command) as process:
            await _first(process.ended(), self._until_it_answers(port), seconds=PATIENCE)
            if process.code is None and await self._answers(port):
                await self._tell(port, None)
                log.info("tunnel open: %s through %s at port %d", self._place, self._route.title, port)
                await self._until_lost(process, port)
                self._port = None
            if process.code is not None:
                await process.ended()
            return explain(self._route, self._place, self._setting, process.said, process.code)

    async def _until_it_answers(self, port: int) -> None:
        while not await self._answers(port):  # noqa: ASYNC110 - a server begins to answer
            await asyncio.sleep(0.05)

    async def _until_lost(self, process: Leased, port: int) -> None:
        """Waits until the command has ended, or nothing answers any more although it runs."""
        while process.code is None:
            self._doubted.clear()
            await _first(process.ended(), self._doubted.wait())
            if process.code is None and not await self._answers(port) and not await self._answers(port):
                return

    async def _tell(self, port: int | None, failure: ErasureError | None) -> None:
        async with self._changed:
            self._failures = 0 if failure is None else self._failures + 1
            self._port, self._failure = port, failure
            self._changed.notify_all()


async def _first(*awaited: Coroutine[Any, Any, object], seconds: float | None = None) -> None:
    """Waits for the first of several, or until the time is over; the others are given up."""
    tasks = [asyncio.create_task(each) for each in awaited]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _free_port(wanted: int) -> int | None:
    """A local port: the one that is wanted, or any where that is 0; None where somebody listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers of a dropped tunnel is nobody
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return None
        port: int = probe.getsockname()[1]
        return port
