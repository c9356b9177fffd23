"""MinIO for S3, built from its unmodified source; for the demo and tests only, no part of the product."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from devstack import cache
from devstack.process import Server, answers, free_port

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"


class Minio(Server):
    """MinIO."""

    name = "minio"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port, self.console_port = free_port(), free_port()
        self.access_key, self.secret_key = "erasure", secrets.token_hex(16)

    def fetch(self) -> None:
        """Builds it."""
        self._program()

    def command(self) -> list[str]:
        """One drive, in the folder."""
        address = f"127.0.0.1:{self.port}"
        options = ["--address", address, "--console-address", f"127.0.0.1:{self.console_port}", "--quiet"]
        return [str(self._program()), "server", str(self.folder / "data"), *options]

    def environment(self) -> dict[str, str]:
        """The root user's keys, and no look-ups outside of this machine."""
        own = {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
        }
        return {**super().environment(), **own}

    def is_ready(self) -> bool:
        """Asks its health."""
        return answers(f"http://127.0.0.1:{self.port}/minio/health/ready")

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
        module = f"github.com/minio/minio@{VERSION}"
        return (
            cache.folder(f"minio-{VERSION}", "go", "about 3 min", lambda place: cache.go_install(module, place))
            / "minio"
        )
