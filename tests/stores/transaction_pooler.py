"""A pooler in front of the real PostgreSQL that lends its sessions a transaction at a time, as PgBouncer does.

It forwards whole messages. All clients get their turns on the same few sessions, and none gets the same one twice in a
row: what a client leaves in a session is another one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_READY = b"Z"
_IDLE = b"Z\0\0\0\5I"
_TLS = (80877103).to_bytes(4, "big")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """A running pooler.

    Args:
        dsn: The server's.
    """

    def __init__(self, dsn: str) -> None:
        self._server = urlsplit(dsn)
        self._sessions: asyncio.Queue[Streams] = asyncio.Queue()
        self._greeting = b""
        self.port = 0
        self.lent = 0
        """How many transactions there were."""
        self.prepared: list[bytes] = []
        """Names of statements that were prepared: they stay in a session when it is lent to somebody else."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self._server._replace(netloc=f"{self._server.username}@127.0.0.1:{self.port}").geturl()

    async def open(self) -> None:
        """Opens one more session with the server."""
        reader, writer = await asyncio.open_connection(self._server.hostname, self._server.port)
        start = f"user\0{self._server.username}\0database\0{self._server.path[1:]}\0\0".encode()
        writer.write((len(start) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + start)
        self._greeting = b""
        while not self._greeting.endswith(_IDLE):
            self._greeting += await _message(reader)
        await self._sessions.put((reader, writer))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until it leaves."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (await _body(reader))[:4] == _TLS:
                writer.write(b"N")
            writer.write(self._greeting)
            coming = asyncio.create_task(_message(reader))
            while (await asyncio.shield(coming))[:1] != b"X":
                session = await self._sessions.get()
                self.lent += 1
                coming = await self._lend(session, coming, reader, writer)
                await self._sessions.put(session)
        writer.close()

    async def _lend(
        self,
        session: Streams,
        coming: asyncio.Task[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> asyncio.Task[bytes]:
        """Forwards in both directions until no transaction is open; answers with the client's next message."""
        answers, questions = session
        answer = asyncio.create_task(_message(answers))
        open_ = 0
        while True:
            await asyncio.wait({coming, answer}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                message = coming.result()
                if message[:1] == b"P" and (name := message[5:].partition(b"\0")[0]):
                    self.prepared.append(name)
                open_ += message[:1] in (b"Q", b"S")
                questions.write(message)
                coming = asyncio.create_task(_message(reader))
            if answer.done():
                message = answer.result()
                writer.write(message)
                open_ -= message[:1] == _READY
                if message == _IDLE and not open_:
                    return coming
                answer = asyncio.create_task(_message(answers))

    async def close(self) -> None:
        """Ends its sessions with the server."""
        while not self._sessions.empty():
            _, writer = self._sessions.get_nowait()
            writer.close()
            await writer.wait_closed()


async def _body(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return await reader.readexactly(length - 4)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


@asynccontextmanager
async def pooler(dsn: str, sessions: int) -> AsyncIterator[Pooler]:
    """Runs a pooler over so many sessions."""
    made = Pooler(dsn)
    for _ in range(sessions):
        await made.open()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
    await made.close()
