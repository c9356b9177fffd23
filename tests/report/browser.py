"""A page in Chromium, driven over the DevTools protocol. No page may run a script; what tests ask of it still runs."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

PHONE, DESK = (360, 640), (1280, 800)
"""Widths and heights of screens, in CSS pixels."""


@dataclass
class Page:
    """A tab.

    Args:
        socket: To the tab.
        requests: Every address that a page asked for.
        complaints: What the console said.
        loads: How many pages have loaded.
    """

    socket: ClientWebSocketResponse
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    loads: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def open(self, file: Path, size: tuple[int, int] = DESK, *, dark: bool = False) -> None:
        """Shows a file as a screen of some size shows it.

        Args:
            file: The page.
            size: Of the screen.
            dark: Whether its owner prefers dark pages.
        """
        width, height = size
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        await self.ask("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        before = self.loads
        await self.ask("Page.navigate", url=file.as_uri())
        while self.loads == before:
            self._take(await self._next())

    async def evaluate(self, expression: str) -> Any:
        """What an expression comes to, as JSON."""
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """The screen as PNG.

        Args:
            whole: Also what is below the screen's edge.
        """
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode((await self.ask("Page.captureScreenshot", **options))["data"])

    async def pdf(self) -> bytes:
        """The page as it is printed."""
        printed = await self.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(printed["data"])

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._next()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._take(message)

    async def _next(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.receive(), 30)
        assert message.type is WSMsgType.TEXT, f"Chromium is gone: {message.type}"
        read: dict[str, Any] = json.loads(message.data)
        return read

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Page.loadEventFired":
                self.loads += 1
            case "Network.requestWillBeSent":
                if not (url := event["params"]["request"]["url"]).startswith("data:"):  # what a page holds itself
                    self.requests.append(url)
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(json.dumps(event["params"]))


@asynccontextmanager
async def page(browser: str) -> AsyncIterator[Page]:
    """Opens a tab, and closes it.

    Args:
        browser: Where the browser says how it is driven.
    """
    async with ClientSession() as http:
        async with http.put(f"{browser}/json/new") as answer:
            tab = await answer.json(content_type=None)
        async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            opened = Page(socket)
            for domain in ("Page", "Network", "Runtime", "Log"):
                await opened.ask(f"{domain}.enable")
            await opened.ask("Emulation.setScriptExecutionDisabled", value=True)
            yield opened
        async with http.get(f"{browser}/json/close/{tab['id']}") as answer:
            assert answer.status == 200
