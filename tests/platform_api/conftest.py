"""One platform whose API is up for all tests of this folder; each works with people or jobs of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench import HasEnv
from tests.platform_api.desk import Desk, desk


@pytest.fixture(scope="session")
def platform(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(stack, tmp_path_factory.mktemp("platform-api")) as opened:
        yield opened
