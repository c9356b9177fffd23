"""The checks of a batch before anything is touched: the vault, whom it names, and every store's probe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from temporalio.exceptions import ActivityError

if TYPE_CHECKING:
    from temporalio import workflow

    from activities.contract import Finding
    from activities.messages import Batch

from activities.checking.messages import People
from activities.messages import Checked
from workflows.failures import finding

T = TypeVar("T")

VAULT = "vault"
CONTRIBUTORS = "contributors"

THOROUGH = "contributors-are-checked"
"""Batches that were started before are not compared with the policy's limits, and give up at the first that fails."""


class Start(Protocol):
    """Starts an activity; see `workflows.slices.Slices.start`."""

    def __call__(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> workflow.ActivityHandle[T]: ...


@dataclass
class Results:
    """What the checks came to.

    Args:
        people: Whom the CSV names; None where that is not known.
        stores: What each store's probe found.
        failures: Why a check could not run, by its name.
    """

    people: People | None = None
    stores: dict[str, Checked] = field(default_factory=dict)
    failures: dict[str, ActivityError] = field(default_factory=dict)

    @property
    def problems(self) -> list[Finding]:
        """What forbids to start; a check that could not run does."""
        people = self.people.problems if self.people else []
        probed = [problem for checked in self.stores.values() for problem in checked.health.problems]
        return [*map(finding, self.failures.values()), *people, *probed]


async def run(batch: Batch, stores: Sequence[str], start: Start, *, thorough: bool = True) -> Results:
    """Runs all checks; where one cannot run, the others do all the same.

    Args:
        batch: The batch.
        stores: Its phases.
        start: Starts an activity.
        thorough: See `THOROUGH`.
    """
    results = Results()
    try:
        await start("check_batch", batch, type(None), "Vault and submission")
        running: dict[str, workflow.ActivityHandle[Any]] = {
            store: start(f"check_{store}", batch, Checked, f"Probe {store}", store) for store in stores
        }
        if thorough:
            running[CONTRIBUTORS] = start("check_contributors", batch, People, "Whom the CSV names")
        ended = await asyncio.gather(*running.values(), return_exceptions=thorough)
    except ActivityError as error:
        results.failures[VAULT] = error
        return results
    for name, answer in zip(running, ended, strict=True):
        match answer:
            case ActivityError():
                results.failures[name] = answer
            case People():
                results.people = answer
            case Checked():
                results.stores[name] = answer
            case _:
                raise answer
    return results
