"""Working on many things at a time, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

CHUNK = 1_000
"""Keys a delete request: S3's own limit."""

DELETES = 4
"""Delete requests at the same time."""

S = TypeVar("S")
T = TypeVar("T")
Pages = AsyncIterator[list[T]]
"""Yields things in lists of bounded length."""


async def side_by_side(items: Iterable[S], pages: Callable[[S], Pages[T]], at_once: int) -> Pages[T]:
    """Works on several items at a time, and joins what comes to chunks of `CHUNK`.

    Args:
        items: What to work on.
        pages: Yields what comes of an item, in pages.
        at_once: How many items.
    """
    waiting = iter(items)
    queue: asyncio.Queue[list[T] | None] = asyncio.Queue(at_once)

    async def work(waiting: Iterator[S]) -> None:
        for item in waiting:
            async for page in pages(item):
                await queue.put(page)

    workers = [asyncio.create_task(work(waiting)) for _ in range(at_once)]
    closing = asyncio.create_task(_close(queue, workers))
    try:
        chunk: list[T] = []
        while (page := await queue.get()) is not None:
            chunk += page
            while len(chunk) >= CHUNK:
                yield chunk[:CHUNK]
                del chunk[:CHUNK]
        await asyncio.gather(*workers)
        if chunk:
            yield chunk
    finally:
        for task in (*workers, closing):
            task.cancel()
        await asyncio.gather(*workers, closing, return_exceptions=True)


async def _close(queue: asyncio.Queue[list[T] | None], workers: Sequence[asyncio.Task[None]]) -> None:
    """Says that no page will come any more, once all have ended, or one has failed."""
    await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    await queue.put(None)


async def as_they_come(chunks: AsyncIterable[S], work: Callable[[S], Awaitable[None]], at_once: int) -> None:
    """Works on several chunks at a time; asks for no further one before there is a hand free.

    Args:
        chunks: What to work on.
        work: Does one; the first that fails ends all.
        at_once: How many.
    """
    hands = asyncio.Semaphore(at_once)

    async def one(chunk: S) -> None:
        try:
            await work(chunk)
        finally:
            hands.release()

    try:
        async with asyncio.TaskGroup() as group:
            await hands.acquire()
            async for chunk in chunks:
                group.create_task(one(chunk))
                await hands.acquire()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
