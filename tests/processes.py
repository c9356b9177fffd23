"""Processes of the product for tests: ``python -m MODULE`` in a process of its own that need not import everything.

Each is forked from a server that has imported the libraries once; it runs the module as the interpreter would, with
an environment, a working directory and streams of its own, and dies of a signal as any process does.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preload"])


@dataclass(frozen=True)
class Streams:
    """Files that take a process's standard output and error; they may be one file."""

    stdout: Path
    stderr: Path


@dataclass(frozen=True)
class Forked:
    """A process that was forked.

    Args:
        process: The process.
    """

    process: BaseProcess

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self, seconds: float) -> int:
        """Waits for its end.

        Args:
            seconds: After these it is killed.

        Returns:
            Its exit code.

        Raises:
            TimeoutError: It had to be killed.
        """
        try:
            async with asyncio.timeout(seconds):
                while self.returncode is None:  # noqa: ASYNC110 - another process ends
                    await asyncio.sleep(0.01)
        finally:
            if self.returncode is None:
                self.process.kill()
                self.process.join()
        assert self.returncode is not None
        return self.returncode


def module(name: str, arguments: Sequence[str], env: Mapping[str, str], streams: Streams) -> Forked:
    """Starts ``python -m NAME``.

    Args:
        name: The module.
        arguments: Its arguments.
        env: Its whole environment.
        streams: Where its output goes.
    """
    return call(_run_module, (name, list(arguments)), env, streams)


def call(target: Callable[..., Any], arguments: tuple[Any, ...], env: Mapping[str, str], streams: Streams) -> Forked:
    """Starts a process that calls a function.

    Args:
        target: The function, which can be pickled.
        arguments: Its arguments, which can be pickled.
        env: Its whole environment.
        streams: Where its output goes.
    """
    process = _FORKS.Process(target=_main, args=(target, arguments, dict(env), streams), daemon=True)
    process.start()
    return Forked(process)


def _main(target: Callable[..., Any], arguments: tuple[Any, ...], env: dict[str, str], streams: Streams) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    for number, path in ((1, streams.stdout), (2, streams.stderr)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", write_through=True)
    target(*arguments)


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
