"""Toxiproxy: stands between the product and a server, and cuts, slows or stalls what they say. For tests only."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack import cache
from devstack.process import Server, answers, free_port

VERSION = "2.5.0"


class Toxiproxy(Server):
    """Toxiproxy.

    Args:
        folder: For its log.
        tied: Whether it ends with the process that started it.
    """

    name = "toxiproxy"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()

    def fetch(self) -> None:
        """Builds it."""
        self._program()

    def command(self) -> list[str]:
        """Has no proxies at first."""
        return [str(self._program()), "-host", "127.0.0.1", "-port", str(self.port)]

    def environment(self) -> dict[str, str]:
        """Says nothing of every byte that passes."""
        return {**super().environment(), "LOG_LEVEL": "warn"}

    def is_ready(self) -> bool:
        """Asks its version."""
        return answers(f"{self.url}/version")

    @property
    def url(self) -> str:
        """Where it is told what to do."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> Mapping[str, str]:
        """Nothing: the product does not know of it."""
        return {}

    def proxy(self, name: str, upstream: str) -> Proxy:
        """Makes a proxy.

        Args:
            name: Names it.
            upstream: Host and port of the server behind it.
        """
        made = _ask("POST", f"{self.url}/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream})
        return Proxy(f"{self.url}/proxies/{name}", made["listen"])

    def _program(self) -> Path:
        module = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
        folder = cache.folder(
            f"toxiproxy-{VERSION}", "go", "half a minute", lambda place: cache.go_install(module, place)
        )
        return folder / "server"


class Proxy:
    """One proxy; the faults that it is given stay until it is healed, also on connections that are open already.

    Args:
        url: Where it is told what to do.
        address: Host and port that it listens on.
    """

    def __init__(self, url: str, address: str) -> None:
        self.url = url
        self.address = address

    def cut(self) -> None:
        """Closes every connection, and takes no further one."""
        _ask("POST", self.url, {"enabled": False})

    def add(self, kind: str, attributes: Mapping[str, int]) -> None:
        """Adds a toxic, which works on what the server says.

        Args:
            kind: ``latency``, ``timeout``, ``limit_data``, ... as Toxiproxy names them.
            attributes: The toxic's own.
        """
        toxic = {"name": kind, "type": kind, "stream": "downstream", "attributes": dict(attributes)}
        _ask("POST", f"{self.url}/toxics", toxic)

    def heal(self) -> None:
        """Takes every fault away."""
        _ask("POST", self.url, {"enabled": True})
        for toxic in _ask("GET", f"{self.url}/toxics"):
            _ask("DELETE", f"{self.url}/toxics/{toxic['name']}")


def _ask(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")
