"""The worker dies by SIGKILL at every boundary of every activity; what it leaves is what it would have left alive."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from activities import report
from activities.status import BatchStatus, Outcome
from devstack.platform.clients import connect
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests import contents
from tests.bench import Bench, HasEnv, key_of, vault_of
from tests.contents import Contents, differences
from tests.faults.deaths import Deaths, When
from tests.faults.size import TINY
from tests.faults.workers import forked
from workflows.erase import EraseContributors
from workflows.messages import Command

EARLY = ("check", "resolve", "back_up", "verify")
LATE = ("erase", "count", "write", "keep", "certify")
"""What the names of activities begin with, before and after the first write."""

Handle = WorkflowHandle[EraseContributors, BatchStatus]


@dataclass
class Life:
    """A batch on a platform of its own, of the same content and under the same key as the others.

    Args:
        bench: The platform.
        batch_id: The batch.
        handle: Its workflow.
    """

    bench: Bench
    batch_id: str
    handle: Handle

    async def contents(self) -> Contents:
        """What the stores hold."""
        return await contents.read(self.bench.env, self.bench.platform.names)

    async def goes_on(self, rests: int, when: When | None = None, verbs: tuple[str, ...] = ("",)) -> list[str]:
        """Runs workers, one after the other, until the batch rests for the so manieth time, or has ended.

        Args:
            rests: How often its retention has begun then.
            when: At which boundaries they die, each of them once; None where they live.
            verbs: What the names of the activities begin with at which they die.

        Returns:
            Id and type of every activity that was scheduled meanwhile.
        """
        before = await self._activities()
        deaths = Deaths(self.bench.folder / f"deaths-{rests}", when, verbs) if when else None
        resting = asyncio.ensure_future(self._rests(rests))
        while not resting.done():
            async with forked(self.bench, deaths, mortal=deaths is not None) as worker:
                ended = asyncio.ensure_future(worker.process.wait(240))
                await asyncio.wait([resting, ended], return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
        await resting
        activities = (await self._activities())[len(before) :]
        meant = {f"{when} {activity}" for activity in activities if activity.partition(" ")[2].startswith(verbs)}
        assert (deaths.died_at() if deaths else set()) == (meant if when else set())
        return activities

    async def _rests(self, times: int) -> None:
        """Waits for the timer of the retention, or the end: the only things that a batch waits for by itself."""
        async for event in self.handle.fetch_history_events(wait_new_event=True):
            times -= event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
            if not times:
                return

    async def _activities(self) -> list[str]:
        events = [event async for event in self.handle.fetch_history_events()]
        scheduled = [event.activity_task_scheduled_event_attributes for event in events]
        return [f"{each.activity_id} {each.activity_type.name}" for each in scheduled if each.activity_id]

    async def ends_as(self, outcome: Outcome) -> None:
        """Compares what the batch says of itself."""
        async with connect(self.bench.env) as clients:
            shown = (await report.read(await vault_of(self.bench.env, clients).archive(self.batch_id)))["json"]
        assert shown["outcome"] == outcome, [phase["warnings"] for phase in shown["phases"]]
        for phase in shown["phases"]:
            tally = phase["tally"]
            assert tally["changed"] + tally["already_clean"] == sum(phase["before"].values()), phase
            assert tally["conflicted"] == 0, phase


@dataclass(frozen=True)
class Course:
    """At which boundaries a batch's workers die.

    Args:
        forth: Until it is erased, and what the names of the activities begin with; None where they live so long.
        ends: The signal that it gets then, and at which boundaries of everything after it they die.
    """

    forth: tuple[When, tuple[str, ...]] | None = None
    ends: tuple[Literal["rollback", "shred"], When] | None = None


COURSES = {
    "undisturbed": Course(None, ("rollback", "start")),
    "early-starts": Course(("start", EARLY), ("rollback", "end")),
    "early-ends": Course(("end", EARLY)),
    "late-starts": Course(("start", LATE), ("shred", "start")),
    "late-ends": Course(("end", LATE), ("shred", "end")),
}
"""Every activity dies at both boundaries; most of the time is waiting, so the batches share the deaths."""


async def test_a_worker_that_dies_at_every_boundary_leaves_what_an_undisturbed_one_leaves(
    prompt_stack: HasEnv, tmp_path: Path
) -> None:
    key = secrets.token_bytes(32)
    async with AsyncExitStack() as opened:
        lives = await asyncio.gather(
            *(opened.enter_async_context(_life(prompt_stack, tmp_path / name, key)) for name in COURSES)
        )
        before = await lives[0].contents()
        ran = await asyncio.gather(*(_run(life, course) for life, course in zip(lives, COURSES.values(), strict=True)))
    erased = ran[0].erased
    assert differences(before, erased), "there is something to compare"
    assert {name: differences(erased, each.erased) for name, each in zip(COURSES, ran, strict=True)} == {
        name: [] for name in COURSES
    }
    for course, each in zip(COURSES.values(), ran, strict=True):
        match course.ends:
            case ("rollback", _):
                assert differences(before, each.ended, but="redis") == []
            case ("shred", _):
                purged = differences(erased, each.ended)
                assert purged
                assert [record for record in purged if not record.startswith("- s3: ")] == [], "only versions"


@dataclass(frozen=True)
class Ran:
    """What a life left in the stores, once it was erased and once it had ended."""

    erased: Contents
    ended: Contents


async def _run(life: Life, course: Course) -> Ran:
    activities = await life.goes_on(1, *(course.forth or ()))
    assert [name for name in activities if not name.partition(" ")[2].startswith((*EARLY, *LATE))] == []
    erased = await life.contents()
    await life.ends_as(Outcome.ERASED)
    if course.ends:
        signal, when = course.ends
        await life.handle.signal(signal, Command("test"))
        await life.goes_on(2, when)
        await life.ends_as(Outcome.ROLLED_BACK if signal == "rollback" else Outcome.ERASED)
    return Ran(erased, await life.contents())


@asynccontextmanager
async def _life(stack: HasEnv, folder: Path, key: bytes) -> AsyncIterator[Life]:
    folder.mkdir()  # noqa: ASYNC240 - takes no time
    async with benches.bench(stack, folder, TINY) as bench:
        bench.change_map("heartbeat_timeout = 2", "heartbeat_timeout = 1")
        bench.change_map("max_attempts = 10", "max_attempts = 100")
        batch_id = f"{folder.name}-{secrets.token_hex(4)}"
        await _give_key(bench, batch_id, key)
        options = ("--config", str(bench.data_map), "--batch", batch_id, "--detach")
        submitted = await bench.starter("erase", str(bench.csv), *options)
        assert submitted.code == ExitCode.ERASED, submitted.stderr
        handle = (await bench.temporal()).get_workflow_handle_for(EraseContributors.run, batch_id)
        yield Life(bench, batch_id, handle)


async def _give_key(bench: Bench, batch_id: str, key: bytes) -> None:
    """Gives a batch its key before it is submitted: batches of the same key mask a value in the same way."""
    path = f"batches/{batch_id}/key"
    wrapped = await key_of(bench.env).wrap(key, path)
    record = json.dumps({"v": 1, "key": base64.b64encode(wrapped).decode()}).encode()
    async with connect(bench.env) as clients:
        await clients.s3.put_object(Bucket=bench.env["ERASURE_VAULT__BUCKET"], Key=path, Body=record)
