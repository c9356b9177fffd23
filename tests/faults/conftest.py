"""Servers of a test's own, where it does to them what others must not see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.temporal import Temporal
from tests.bench import HasEnv
from tests.conftest import Elsewhere

PROMPT = {"history.timerProcessorMaxTimeShift": '"20ms"'}
"""Unless told so, Temporal rings its timers up to a second late; every death of a worker costs two of them."""


@pytest.fixture
async def prompt_stack(stack: HasEnv, tmp_path: Path) -> AsyncIterator[HasEnv]:
    """The session's servers, but with a Temporal whose timers are on time."""
    temporal = Temporal(tmp_path / "temporal", tied=True, settings=PROMPT)
    try:
        await asyncio.to_thread(temporal.start)
        yield Elsewhere({**stack.env, **temporal.env})
    finally:
        await asyncio.to_thread(temporal.stop)
