"""HTTP through a tunnel: the address stays as it is, its host's name for TLS too; only where it leads to is another."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from activities.tunnel.routes import Route
from activities.tunnel.tunnel import Tunnel

PING_TIMEOUT = 2.0
"""Seconds that the server may take to say anything."""


@dataclass(frozen=True)
class Passage:
    """How a session of aiohttp reaches a server.

    Args:
        url: The server's address.
        connector: Makes the connections.
        traces: What has to be told of requests.
    """

    url: str
    connector: aiohttp.TCPConnector
    traces: list[aiohttp.TraceConfig] = field(default_factory=list)


@asynccontextmanager
async def passed(route: Route, setting: str, url: str, place: str, connections: int) -> AsyncIterator[Passage]:
    """Keeps a tunnel to an HTTP server open; waits for nothing: requests do, and fail with why it cannot be opened.

    Args:
        route: The way.
        setting: What its variables begin with.
        url: The server's address.
        place: The server, as messages name it.
        connections: How many at once.
    """
    named = _named(url, route)
    async with Tunnel.opened(route, lambda port: _answers(named, port), place, setting) as tunnel:
        # each connection asks for the port anew: a tunnel that was lost may come back at another one
        connector = aiohttp.TCPConnector(limit=connections, resolver=_Through(tunnel.port), use_dns_cache=False)
        yield Passage(named, connector, [_doubts(tunnel)])


class _Through(AbstractResolver):
    """Resolves every name to a local port.

    Args:
        port: The port.
    """

    def __init__(self, port: Callable[[], Awaitable[int]]) -> None:
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """The local port, whatever port the address says.

        Raises:
            ErasureError: The tunnel cannot be opened.
        """
        port = await self._port()
        numeric = socket.AI_NUMERICHOST
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=numeric)]

    async def close(self) -> None:
        """Has nothing to close."""


def _named(url: str, route: Route) -> str:
    """The address with a name as its host: numbers are not looked up, and would pass by the tunnel."""
    parsed = URL(url)
    try:
        ip_address(parsed.host or "")
    except ValueError:
        return url
    return str(parsed.with_host(route.name if re.search("[a-z]", route.name) else "tunnel"))


async def _answers(url: str, port: int) -> bool:
    """Whether a server answers at a local port, whatever it says: what it is, requests will tell."""

    async def local() -> int:
        return port

    timeout = aiohttp.ClientTimeout(total=PING_TIMEOUT)
    connector = aiohttp.TCPConnector(resolver=_Through(local), use_dns_cache=False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        try:
            async with session.get(URL(url) / "ping", allow_redirects=False):
                return True
        except aiohttp.ClientSSLError:
            return True
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


def _doubts(tunnel: Tunnel) -> aiohttp.TraceConfig:
    """Has the tunnel looked at whenever a request fails."""
    traces = aiohttp.TraceConfig()

    async def doubt(_session: aiohttp.ClientSession, _context: SimpleNamespace, _error: Any) -> None:
        tunnel.doubt()

    traces.on_request_exception.append(doubt)
    return traces
