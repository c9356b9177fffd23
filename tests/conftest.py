"""The real servers, started once for all tests."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from devstack.process import StackError
from devstack.stack import Stack
from devstack.versitygw import Versitygw
from tests import bench as benches
from tests.bench import Bench, HasEnv

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Whoever runs this in the background of a shell has it ignore Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = ("faults", "workflows", "devstack", "cli", "replay", "fetching", "checking")
"""Folders with tests of half a minute and more."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deals the slow tests out to all processes, at the head of each one's share: else the last runs alone.

    Tests that share something of their module stay together.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    shares: dict[str, list[pytest.Item]] = {}
    for item in items:
        shares.setdefault(_shares(item), []).append(item)
    slow = [share for share in shares.values() if share[0].path.parent.name in SLOW]
    fast = [share for share in shares.values() if share[0].path.parent.name not in SLOW]
    dealt = [share for number in range(processes) for kind in (slow, fast) for share in kind[number::processes]]
    items[:] = [item for share in dealt for item in share]


def _shares(item: pytest.Item) -> str:
    """What an item has to stay with: its module, where that has a fixture of its own."""
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return str(item.path) if any(each[-1].scope == "module" for each in fixtures) else item.nodeid


@dataclass(frozen=True)
class Elsewhere:
    """A stack that another process runs.

    Args:
        env: How it is reached.
    """

    env: dict[str, str]

    @classmethod
    def named(cls, path: Path) -> Elsewhere:
        """One that was started by hand, by the file with its connections."""
        return cls(dict(re.findall(r"export (\w+)='(.*)'", path.read_text())))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HasEnv]:
    """The session's servers, or those that ``ERASURE_TEST_STACK=.stack/env`` names."""
    if running := os.environ.get("ERASURE_TEST_STACK"):
        yield Elsewhere.named(Path(running))
        return
    try:
        with Stack(tmp_path_factory.mktemp("stack")) as started:
            yield started
    except StackError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HasEnv]:
    """A second S3 server, which deviates from AWS as real gateways do; started by the first test that wants it."""
    server = Versitygw(tmp_path_factory.mktemp("versitygw"), tied=True)
    server.fetch()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def bench(stack: HasEnv, tmp_path: Path) -> AsyncIterator[Bench]:
    """A small platform of the test's own, and everything around it."""
    async with benches.bench(stack, tmp_path) as made:
        yield made
