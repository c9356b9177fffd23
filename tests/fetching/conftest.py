"""A database of each test's own with a register of contributors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench import HasEnv
from tests.fetching.register import PEOPLE, Register, register


@pytest.fixture
async def bare(stack: HasEnv, tmp_path: Path) -> AsyncIterator[Register]:
    """Without any table."""
    async with register(stack, tmp_path) as opened:
        yield opened


@pytest.fixture
async def people(bare: Register) -> Register:
    """With the table `people`, in which there is nobody."""
    await bare.sql(PEOPLE)
    return bare
