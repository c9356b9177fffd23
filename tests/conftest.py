"""The real servers, started once for all tests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from devstack.process import StackError
from devstack.stack import Stack


class Servers(Protocol):
    """What tests need of a stack: how to reach it."""

    @property
    def env(self) -> dict[str, str]: ...


class RunningStack:
    """A stack that was started by hand.

    Args:
        path: The file with its connections.
    """

    def __init__(self, path: Path) -> None:
        self.env = dict(re.findall(r"export (\w+)='(.*)'", path.read_text()))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The session's servers, or those that ``ERASURE_TEST_STACK=.stack/env`` names."""
    if running := os.environ.get("ERASURE_TEST_STACK"):
        yield RunningStack(Path(running))
        return
    try:
        with Stack(tmp_path_factory.mktemp("stack")) as started:
            yield started
    except StackError as error:
        pytest.exit(str(error), returncode=1)
