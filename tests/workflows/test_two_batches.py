"""Two batches that share people, at the same time, and the rollback of one and of both."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from devstack.platform import census, sample
from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from devstack.platform.people import Person
from starter.exit_codes import ExitCode
from tests import contents
from tests.bench import Bench
from tests.contents import differences


async def test_two_batches_that_share_people_run_at_once_and_either_can_be_rolled_back(bench: Bench) -> None:
    people = bench.platform.sample
    third = len(people) // 3
    for name, theirs in (("one", people[: 2 * third]), ("two", people[third:])):
        sample.write(bench.folder / f"{name}.csv", theirs)
    before, held = await bench.census(), await contents.read(bench.env, bench.platform.names)
    alone = await _held_of(bench, people[:third])
    async with bench.worker():
        one, two = await asyncio.gather(_erase(bench, "one"), _erase(bench, "two"))
        erased = await bench.census()
        back = await bench.starter("rollback", one["batch_id"], "--json")
        alone_again = await _held_of(bench, people[:third])
        again = await bench.starter("retry", two["batch_id"], "--json")
        left = await _held_of(bench, people[third:])
        both = await bench.starter("rollback", two["batch_id"], "--json")
        after = await contents.read(bench.env, bench.platform.names)

    for phase in [*one["phases"], *two["phases"], *again.json["phases"]]:
        assert (phase["tally"]["conflicted"], sum(phase["after"].values())) == (0, 0), phase
    assert [row for row in erased if row.batch and not row.place.endswith(ALL_VERSIONS)] == []
    assert {(row.store, row.place): row.others for row in erased} == {
        (row.store, row.place): row.others for row in before
    }
    unlinked = sum(each["phases"][-1]["tally"]["changed"] for each in (one, two))
    assert unlinked == sum(row.batch for row in before if row.store == "redis"), "nothing is counted twice"
    assert back.json["outcome"] == both.json["outcome"] == "rolled back"
    assert alone_again == alone
    assert (again.code, left) == (ExitCode.ERASED, {}), "what the first one's rollback put back is erased again"
    assert differences(held, after, but="redis") == []


async def _erase(bench: Bench, name: str) -> Any:
    batch = ("--batch", f"{name}-{secrets.token_hex(4)}")
    csv, config = str(bench.folder / f"{name}.csv"), ("--config", str(bench.data_map))
    finished = await bench.starter("erase", csv, *config, *batch, "--json")
    assert finished.code == ExitCode.ERASED, finished.stdout + finished.stderr
    return finished.json


async def _held_of(bench: Bench, people: Sequence[Person]) -> dict[tuple[str, str], int]:
    """How many records hold an identity of these people; Redis left out, since caches are not put back."""
    async with connect(bench.env) as clients:
        rows = await census.take(clients, bench.platform.names, people)
    return {
        (row.store, row.place): row.batch
        for row in rows
        if row.batch and row.store != "redis" and not row.place.endswith(ALL_VERSIONS)
    }
