"""A cluster for tests of tunnels: its kubectl and ssh forward to a real server, and drop on demand."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.stores import tunnel_forwarder as forwarder


@dataclass(frozen=True)
class Cluster:
    """What is behind the tunnel.

    Args:
        folder: For the programs, the cluster's file, and its log.
        target: The port of the real server.
    """

    folder: Path
    target: int

    def make(self) -> None:
        """Writes the programs."""
        self.bin.mkdir()
        source = Path(forwarder.__file__).read_text()
        for name in ("kubectl", "ssh"):
            program = self.bin / name
            program.write_text(f"#!{sys.executable} -IS\n{source}")
            program.chmod(0o755)
        self.say("")

    @property
    def bin(self) -> Path:
        """The folder of the programs."""
        return self.folder / "bin"

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to find the programs, and they the cluster."""
        return {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            forwarder.CLUSTER: str(self._file),
        }

    def say(self, words: str) -> None:
        """Has the programs fail with these words from their next start on; with none, work."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"target": self.target, "says": words}))
        new.replace(self._file)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What each start was given."""
        log = self._file.with_suffix(".log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def running(self) -> list[int]:
        """The programs that run now."""
        return [start["pid"] for start in self.starts if _runs(start["pid"])]

    def drop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Drops every tunnel: connections and listener go at once."""
        for pid in self.running:
            os.kill(pid, number)

    @property
    def _file(self) -> Path:
        return self.folder / "cluster.json"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
