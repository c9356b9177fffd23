"""A key management service that speaks AWS KMS's protocol; for tests only."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from devstack import cache
from devstack.process import Server, answers, free_port

SOURCES = Path(__file__).parent / "go" / "kms"


class Kms(Server):
    """Local KMS."""

    name = "kms"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()

    def fetch(self) -> None:
        """Builds it."""
        self._program()

    def command(self) -> list[str]:
        """Keys in the folder."""
        return [str(self._program()), str(self.port), str(self.folder / "keys")]

    def is_ready(self) -> bool:
        """Asks its health."""
        return answers(f"http://127.0.0.1:{self.port}/health")

    @property
    def env(self) -> Mapping[str, str]:
        """Its address."""
        return {"ERASURE_VAULT__KMS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def _program(self) -> Path:
        version = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(SOURCES.iterdir()))).hexdigest()[:12]
        return cache.folder(f"kms-{version}", "go", "about a minute", _build) / "kms"


def _build(place: Path) -> None:
    sources = place / "source"
    shutil.copytree(SOURCES, sources)
    options = ["-trimpath", "-ldflags=-s -w", "-o", str(place / "kms")]
    cache.run(["go", "build", *options, "."], cwd=sources, env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"})
