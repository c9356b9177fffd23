"""A server process: started on free ports of the loopback interface, waited for, and ended by its own pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_TIMEOUT = 120.0
STOP_TIMEOUT = 20.0

_PR_SET_PDEATHSIG = 1
_ENDING = {signal.SIGINT, signal.SIGTERM}


class StackError(Exception):
    """A server cannot be fetched or started; the message says what to do."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str, expected: bytes = b"") -> bool:
    """Whether an address answers over HTTP, with a piece of text in its answer."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return expected in answer.read()
    except (OSError, urllib.error.URLError, ValueError):
        return False


def launch(command: Sequence[str], *, tied: bool = True, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a process. Ctrl-C is held back meanwhile: Python drops one that arrives in its own hooks after a fork.

    Args:
        command: The command.
        tied: Whether it ends when this process is gone, however that ended.
        options: Of `subprocess.Popen`.
    """

    def in_child() -> None:
        if tied:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        return subprocess.Popen(command, preexec_fn=in_child, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


class Server(ABC):
    """One server of the stack.

    Args:
        folder: For its data, configuration and log; a stack's own.
        tied: Whether it ends with the process that started it.
    """

    name: str

    def __init__(self, folder: Path, *, tied: bool) -> None:
        self.folder = folder.resolve()
        self.tied = tied
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def fetch(self) -> None:
        """Puts the program into the cache, unless it is there."""

    @abstractmethod
    def command(self) -> list[str]:
        """Lays out the folder if that is new; answers with the command that runs the server."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @property
    @abstractmethod
    def env(self) -> Mapping[str, str]:
        """How the product reaches it: ``ERASURE_...`` variables."""

    def environment(self) -> dict[str, str]:
        """The environment of the process."""
        return dict(os.environ)

    def spawn(self) -> None:
        """Starts the process; does not wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with self.log.open("ab") as log:
            self.process = launch(
                command,
                tied=self.tied,
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, who ends its servers in order
            )

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Waits until the server answers.

        Raises:
            StackError: It ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self.process is not None and self.process.poll() is not None:
                raise StackError(f"{self.name} ended while starting; {self._tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} does not answer after {timeout:.0f} s; {self._tail()}")
            time.sleep(0.05)

    def start(self) -> None:
        """Starts the server and waits until it answers; on the same ports and data as before."""
        self.spawn()
        self.wait()

    def ask_to_stop(self) -> None:
        """Begins an orderly end."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ends the server in order, or by force where that takes too long."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the server as a crash does; its data stay."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def suspend(self) -> None:
        """Stalls the server: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a stalled server go on."""
        self._signal(signal.SIGCONT)

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / f"{self.name}.log"

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _tail(self) -> str:
        said = self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""
        return f"the end of {self.log}:\n{said}"
