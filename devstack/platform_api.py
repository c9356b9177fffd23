"""The demo platform's HTTP server, as a server of the stack."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.platform.plan import SEED, Names
from devstack.platform.postgres import FIRST_JOB, job_secret
from devstack.process import Server, answers, free_port

ROOT = Path(__file__).parents[1]


class PlatformApi(Server):
    """The platform's API, over PostgreSQL and Redis that run already or will soon.

    Args:
        folder: For its log.
        connections: The ``ERASURE_...`` variables of PostgreSQL and Redis.
        names: What the platform's parts are called.
        tied: Whether it ends with the process that started it.
    """

    name = "platform-api"

    def __init__(self, folder: Path, connections: Mapping[str, str], names: Names | None = None, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()
        self._connections = connections
        self._names = names or Names()
        self._token = secrets.token_hex(16)

    def fetch(self) -> None:
        """Is part of this project."""

    def command(self) -> list[str]:
        """Runs the module."""
        options = ["--port", str(self.port), "--schema", self._names.schema, "--key-prefix", self._names.key_prefix]
        return [sys.executable, "-m", "devstack.platform.api", *options]

    def environment(self) -> dict[str, str]:
        """What it connects to, and the token that it asks for."""
        return {**super().environment(), **self._connections, **self.env, "PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        """Asks its health: PostgreSQL and Redis answer it."""
        return answers(f"{self._url}/health", b'"OK"')

    @property
    def env(self) -> Mapping[str, str]:
        """Its address and token."""
        return {"ERASURE_API__BASE_URL": self._url, "ERASURE_API__TOKEN": self._token}

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def job_url(base_url: str, job: int = FIRST_JOB, seed: int = SEED) -> str:
    """A job's address, with its secret, as the platform gives it to people.

    Args:
        base_url: The platform's own.
        job: The job; by default the one that everybody who works is in.
        seed: Of the platform.
    """
    return f"{base_url}/jobs/{job}?secret={job_secret(job, seed)}"
