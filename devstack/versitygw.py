"""versitygw, a second S3 server, built from its unmodified source; for tests only.

A gateway in front of a folder: where it deviates from AWS (repeated rows in listings of versions, `Quiet` ignored, an
error for a version that is already gone) it does what real gateways do.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from devstack import cache
from devstack.process import Server, answers, free_port

VERSION = "v1.8.0"


class Versitygw(Server):
    """versitygw on a folder, with versions beside it."""

    name = "versitygw"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()
        self.access_key, self.secret_key = "erasure", secrets.token_hex(16)

    def fetch(self) -> None:
        """Builds it."""
        self._program()

    def command(self) -> list[str]:
        """Two folders: for the objects, and for their versions."""
        data, versions = self.folder / "data", self.folder / "versions"
        for place in (data, versions):
            place.mkdir(exist_ok=True)
        options = ["--port", f"127.0.0.1:{self.port}", "--health", "/health", "--quiet"]
        return [str(self._program()), *options, "posix", "--versioning-dir", str(versions), str(data)]

    def environment(self) -> dict[str, str]:
        """The root user's keys."""
        return {**super().environment(), "ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    def is_ready(self) -> bool:
        """Asks its health."""
        return answers(f"http://127.0.0.1:{self.port}/health")

    @property
    def env(self) -> Mapping[str, str]:
        """Its address and keys."""
        return {
            "ERASURE_S3__ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "ERASURE_S3__ACCESS_KEY": self.access_key,
            "ERASURE_S3__SECRET_KEY": self.secret_key,
            "ERASURE_S3__REGION": "us-east-1",
        }

    def _program(self) -> Path:
        module = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
        return (
            cache.folder(f"versitygw-{VERSION}", "go", "about 3 min", lambda place: cache.go_install(module, place))
            / "versitygw"
        )
