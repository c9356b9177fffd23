"""A batch that shares identities with somebody who stays: reported before anything is touched, and decided."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clients import connect
from devstack.platform.people import Person
from starter.exit_codes import ExitCode
from tests.bench import Bench


@pytest.fixture
async def stays(bench: Bench) -> Person:
    """Somebody outside of the batch, who has an address of somebody of the batch."""
    ours = {person.contributor_id for person in bench.platform.sample}
    person = next(person for person in bench.platform.people if person.contributor_id not in ours)
    async with connect(bench.env) as clients:
        await clients.postgres.execute(
            f'UPDATE "{bench.platform.names.schema}".contributors SET email = $1 WHERE id = $2',
            bench.platform.sample[0].email.upper(),
            person.contributor_id,
        )
    return person


def findings(listed: Any) -> str:
    return " ".join(f"{finding['what']} {finding['remedy']}" for finding in listed)


async def test_a_batch_parks_before_anything_is_touched_and_goes_on_once_the_table_is_mended(
    bench: Bench, stays: Person
) -> None:
    before = await bench.census()
    async with bench.worker():
        parked = await bench.starter("erase", str(bench.csv), "--config", str(bench.data_map))
        assert parked.code == ExitCode.PARKED, parked.stderr
        batch_id = parked.stderr.split("as batch ")[1].split(".")[0]
        assert "1 identities of the batch are those of somebody who stays as well" in " ".join(parked.stdout.split())
        shown = await bench.starter("report", batch_id, "--json")
        assert shown.json["stayers"] == [{"contributor_id": stays.contributor_id, "kinds": ["email"]}]
        assert {phase["state"] for phase in shown.json["phases"]} == {"pending"}
        again = await bench.starter("retry", batch_id, "--json", "--reason", "looked away")
        assert (again.code, again.json["shared"]) == (ExitCode.PARKED, 1), "nothing was mended"
        assert await bench.census() == before
        async with connect(bench.env) as clients:
            schema = bench.platform.names.schema
            await clients.postgres.execute(
                f'UPDATE "{schema}".contributors SET email = $1 WHERE id = $2', stays.email, stays.contributor_id
            )
        erased = await bench.starter("retry", batch_id, "--json", "--reason", "mended")
    after = await bench.census()
    assert erased.code == ExitCode.ERASED, erased.stderr
    assert (erased.json["shared"], erased.json["attempt"], erased.json["cautions"]) == (0, 2, [])
    assert [row for row in after if row.batch and not row.place.endswith(ALL_VERSIONS)] == []


async def test_skip_leaves_shared_identities_out_and_the_batch_says_so(bench: Bench, stays: Person) -> None:
    async with bench.worker():
        parked = await bench.erase()
        erased = await bench.starter("skip", parked.json["batch_id"], "--json")
        markdown = await bench.starter("report", parked.json["batch_id"])
        rolled = await bench.starter("rollback", parked.json["batch_id"], "--json")
    left = [row for row in await bench.census() if row.batch]
    assert erased.code == ExitCode.WARNED, erased.stderr
    assert (erased.json["shared"], erased.json["when_shared"]) == (1, "keep")
    assert "1 identities that somebody has who stays were left out" in findings(erased.json["cautions"])
    assert f"`{stays.contributor_id}` has an address of somebody of the batch" in " ".join(markdown.stdout.split())
    assert rolled.json["outcome"] == "rolled back"
    assert left, "put back"


async def test_a_shared_identity_is_masked_by_policy_with_a_warning(bench: Bench, stays: Person) -> None:
    bench.change_map('shared = "park"', 'shared = "mask"')
    async with bench.worker():
        erased = await bench.erase()
        report = await bench.starter("report", erased.json["batch_id"], "--json")
    assert erased.code == ExitCode.WARNED, erased.stderr
    assert "1 identities that somebody has who stays are erased with the batch's" in findings(erased.json["cautions"])
    assert report.json["stayers"] == [{"contributor_id": stays.contributor_id, "kinds": ["email"]}]
    rows = [row for row in await bench.census() if row.batch and not row.place.endswith(ALL_VERSIONS)]
    assert [(row.store, row.place) for row in rows] == [("postgres", "contributors")], "who stays has the address still"


async def test_a_batch_that_parked_for_a_shared_identity_rolls_back_with_nothing_touched(
    bench: Bench, stays: Person
) -> None:
    bench.change_map('park_timeout = "24h"', 'park_timeout = "1s"')
    before = await bench.census()
    async with bench.worker():
        batch_id = (await bench.erase("--detach")).json["batch_id"]
        ended = await bench.starter("watch", batch_id, "--json")
        while ended.json["outcome"] == "running":
            ended = await bench.starter("watch", batch_id, "--json")
        report = await bench.starter("report", batch_id, "--json")
    assert (ended.code, ended.json["outcome"]) == (ExitCode.FAILED, "rolled back")
    assert any("nobody decided about shared identities" in command["reason"] for command in ended.json["commands"])
    assert {phase["state"] for phase in ended.json["phases"]} == {"pending"}
    assert [stayer["contributor_id"] for stayer in report.json["stayers"]] == [stays.contributor_id]
    assert await bench.census() == before
