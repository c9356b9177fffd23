"""Temporal's development server with its Web UI: the one on PATH, or built from source."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from devstack import cache
from devstack.process import Server, answers, free_port

VERSION = "1.5.1"
"""The newest that `go install` takes: later ones replace a module."""


class Temporal(Server):
    """Temporal.

    Args:
        folder: For its database and log.
        tied: Whether it ends with the process that started it.
        settings: The server's dynamic configuration, where it is to differ: JSON values.
    """

    name = "temporal"

    def __init__(self, folder: Path, *, tied: bool, settings: Mapping[str, int | str] | None = None) -> None:
        super().__init__(folder, tied=tied)
        self.settings = settings or {}
        self.port, self.ui_port, self.metrics_port = free_port(), free_port(), free_port()

    def fetch(self) -> None:
        """Builds it, where none is installed."""
        _ = self._program

    def command(self) -> list[str]:
        """Keeps its histories in the folder."""
        ports = {"--port": self.port, "--ui-port": self.ui_port, "--metrics-port": self.metrics_port}
        options = [str(part) for pair in ports.items() for part in pair]
        options += [f"--dynamic-config-value={name}={value}" for name, value in self.settings.items()]
        database = ["--db-filename", str(self.folder / "temporal.db")]
        return [
            str(self._program),
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            *options,
            *database,
            "--log-level",
            "warn",
        ]

    def is_ready(self) -> bool:
        """Asks the frontend for its workflows, through the Web UI: so both answer."""
        return answers(f"http://127.0.0.1:{self.ui_port}/api/v1/namespaces/default/workflows")

    @property
    def env(self) -> Mapping[str, str]:
        """Frontend and Web UI."""
        return {
            "ERASURE_TEMPORAL__ADDRESS": f"127.0.0.1:{self.port}",
            "ERASURE_TEMPORAL__UI_URL": f"http://127.0.0.1:{self.ui_port}",
        }

    @cached_property
    def _program(self) -> Path:
        if (installed := shutil.which("temporal")) and _is_recent(installed):
            return Path(installed)
        module = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
        name = f"temporal-{VERSION}"
        return cache.folder(name, "go", "about 4 min", lambda place: cache.go_install(module, place)) / "temporal"


def _is_recent(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= (1, 5)
