"""Recorded histories replay under today's workflow code: a batch that runs while a worker is renewed is not broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from workflows.api_test import ApiTest
from workflows.canary import EraseCanary
from workflows.check import CheckErasure
from workflows.erase import EraseContributors
from workflows.fetch import FetchInactive
from workflows.sweep import SweepErased
from workflows.verify import VerifyErasure

HISTORIES = {file.stem: file.read_text() for file in (Path(__file__).parent / "histories").glob("*.json")}


def _replayer() -> Replayer:
    workflows = [EraseContributors, EraseCanary, VerifyErasure, CheckErasure, ApiTest, FetchInactive, SweepErased]
    return Replayer(workflows=workflows, data_converter=pydantic_data_converter)


def test_there_is_a_history_of_every_way_in_which_a_batch_ends_and_of_every_other_workflow() -> None:
    of_batches = {"erased", "refused", "warned", "rolled-back", "shredded", "certified", "verified"}
    assert set(HISTORIES) >= of_batches | {"api-test", "canary", "dry-run", "fetch", "swept", "verification"}


@pytest.mark.parametrize("name", sorted(HISTORIES))
async def test_a_recorded_history_replays(name: str) -> None:
    await _replayer().replay_workflow(WorkflowHistory.from_json(name, HISTORIES[name]))


async def test_a_history_of_another_order_does_not_replay() -> None:
    changed = HISTORIES["erased"].replace('"erase_postgres"', '"erase_nothing"')
    with pytest.raises(NondeterminismError):
        await _replayer().replay_workflow(WorkflowHistory.from_json("changed", changed))
