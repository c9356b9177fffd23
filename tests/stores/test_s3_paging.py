"""S3's work on many things at a time: how much of it there is at once, and what an error does to the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import chain

import pytest

from activities.errors import TransientError
from activities.stores.s3.paging import CHUNK, as_they_come, side_by_side


class Hands:
    """Counts what is under way at the same time."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.under_way = 0
        self.most = 0

    async def work(self, number: int) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if number == 13:
            raise TransientError("s3", "it failed", "Wait.")
        self.done.append(number)


async def test_what_is_listed_side_by_side_comes_in_chunks_of_a_thousand_and_each_once() -> None:
    hands = Hands()

    async def pages(item: int) -> AsyncIterator[list[int]]:
        for page in range(3):
            await hands.work(100 + item)
            yield [item * 1_000 + page * 100 + number for number in range(100)]

    chunks = [chunk async for chunk in side_by_side(range(9), pages, 4)]
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 700]
    assert sorted(chain.from_iterable(chunks)) == [item * 1_000 + number for item in range(9) for number in range(300)]
    assert hands.most == 4


async def _chunks(numbers: Sequence[int], asked: list[int]) -> AsyncIterator[int]:
    for number in numbers:
        asked.append(number)
        yield number


async def test_chunks_are_worked_on_several_at_a_time_and_none_is_fetched_ahead() -> None:
    hands = Hands()
    asked: list[int] = []

    async def work(number: int) -> None:
        await hands.work(number)
        assert len(asked) <= len(hands.done) + 4, "what waits would lie in memory"

    await as_they_come(_chunks(range(13), asked), work, 4)
    assert sorted(hands.done) == [*range(13)]
    assert (hands.most, hands.under_way) == (4, 0)


async def test_the_first_failure_ends_the_rest_and_comes_out_as_it_is() -> None:
    hands = Hands()
    asked: list[int] = []
    with pytest.raises(TransientError, match="it failed"):
        await as_they_come(_chunks(range(1_000), asked), hands.work, 4)

    async def pages(item: int) -> AsyncIterator[list[int]]:
        await hands.work(item)
        yield [item]

    with pytest.raises(TransientError, match="it failed"):
        assert [chunk async for chunk in side_by_side(range(1_000), pages, 4)] == []
    assert max(hands.done) < 30
    assert len(asked) < 30


async def test_a_source_that_fails_is_no_group_of_errors() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise TransientError("s3", "the listing failed", "Wait.")

    with pytest.raises(TransientError, match="the listing failed"):
        await as_they_come(broken(), Hands().work, 4)
