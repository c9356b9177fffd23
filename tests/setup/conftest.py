"""Setup in this process, in the environment of the session's servers, with whatever a test changes in it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from activities.setup import Result, Setup, checks
from tests.bench import HasEnv
from tests.processes import ROOT

SECONDS = 20.0

Run = Callable[..., Awaitable[dict[str, Result]]]


@pytest.fixture
def settings(stack: HasEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's servers as this process's own."""
    for name in os.environ:
        if name.startswith("ERASURE_") and name != "ERASURE_TEST_STACK":
            monkeypatch.delenv(name)
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def answers(settings: None, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001 - sets the environment
    """Runs all checks after some variables were set."""

    async def run(
        config: Path = ROOT / "erasure.toml", seconds: float = SECONDS, **variables: str
    ) -> dict[str, Result]:
        for name, value in variables.items():
            monkeypatch.setenv(f"ERASURE_{name}", value)
        setup = Setup(checks(config), seconds, lambda _name, _result: None)
        await setup.run()
        return setup.results

    return run
