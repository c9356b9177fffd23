"""A process that ends with this one, however that ends, a SIGKILL included.

A shell holds the read end of a pipe: the lease. Once this process is gone, or lets go of it, the shell reads its end
and ends the command. That needs no code between fork and exec, and no system call of one operating system.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

KEPT = 4_096
"""Bytes of the last words that are kept."""

GRACE = 3.0
"""Seconds that the command may take to end."""

SHELL = """
exec 3<&0
"$@" </dev/null 3<&- &
command=$!
{ read -r _ <&3; kill "$command"; } 2>/dev/null &
lease=$!
wait "$command"
code=$?
kill "$lease" 2>/dev/null
exit "$code"
"""


class Leased:
    """A running command.

    Args:
        process: The shell that runs it.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    @property
    def said(self) -> str:
        """Its last words on standard error."""
        return self._said.decode(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode

    async def ended(self) -> None:
        """Waits until it has ended by itself, and has said all it says."""
        await self._process.wait()
        await asyncio.wait({self._listening}, timeout=GRACE)

    async def end(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), GRACE)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._listening.cancel()
        await asyncio.wait({self._listening})

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(KEPT):
            self._said = (self._said + said)[-KEPT:]


@asynccontextmanager
async def leased(command: Sequence[str]) -> AsyncIterator[Leased]:
    """Runs a command for as long as the block.

    Args:
        command: The command; nothing is read from its standard output.
    """
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", SHELL, "lease", *command),
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which ends its commands in order
    )
    running = Leased(process)
    try:
        yield running
    finally:
        await asyncio.shield(asyncio.ensure_future(running.end()))
