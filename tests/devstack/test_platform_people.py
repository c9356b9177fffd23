"""The demo's people are who they are said to be: awkward neighbours, a sample, and nothing by chance."""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path

import pytest

from devstack.platform import prose, sample
from devstack.platform.people import AWKWARD, BYSTANDERS, generate
from devstack.platform.plan import DEMO, SMALL, Size

DATA_MAP = tomllib.loads((Path(__file__).parents[2] / "erasure.toml").read_text("utf-8"))


def test_another_seed_makes_other_people() -> None:
    assert generate(SMALL, 1) != generate(SMALL, 2)


@pytest.mark.parametrize("size", [SMALL, DEMO], ids=["small", "demo"])
def test_people_are_distinct_and_their_ids_are_what_the_data_map_expects(size: Size) -> None:
    people = generate(size)

    assert len(people) == size.contributors
    assert sum(person.status == "INACTIVE" for person in people) == size.inactive
    assert len({person.contributor_id for person in people}) == len(people)
    assert len({person.email.lower() for person in people}) == len(people)
    workers = [person.worker_id for person in people if person.worker_id is not None]
    assert len(set(workers)) == len(workers)
    pattern = re.compile(DATA_MAP["identity"]["id_pattern"])
    assert all(pattern.fullmatch(person.contributor_id) for person in people)


def test_the_demo_is_as_large_as_it_says() -> None:
    assert (DEMO.contributors, DEMO.batch, DEMO.documents) == (2_000, 100, 40_000)
    assert DEMO.inactive >= 300
    assert DEMO.metric_rows + DEMO.metric_rows // 2 + DEMO.quality_rows == 200_000


def test_awkward_neighbours_stand_side_by_side() -> None:
    people = {person.contributor_id: person for person in generate(SMALL)}

    assert {"12", "123", "1234", "c-7", "c-77", "C-7"} <= people.keys()
    assert (people["12"].worker_id, people["123"].worker_id) == ("w-1", "w-12")
    emails = {person.email for person in people.values()}
    assert {"bob@x.io", "notbob@x.io", "bob@x.io.uk", "a+b@example.com", "o'brien@example.com"} <= emails
    assert any(email != email.lower() for email in emails)
    assert any("%" in email for email in emails)
    assert any("_" in email for email in emails)
    assert any(not person.full_name.isascii() for person in people.values())


@pytest.mark.parametrize("size", [SMALL, DEMO], ids=["small", "demo"])
def test_the_sample_takes_the_awkward_ones_and_leaves_their_bystanders(size: Size) -> None:
    chosen = sample.choose(generate(size), size.batch)

    ids = {person.contributor_id for person in chosen}
    assert len(ids) == len(chosen) == size.batch
    assert ids >= {identity[0] for identity in AWKWARD}
    assert ids.isdisjoint(identity[0] for identity in BYSTANDERS)
    assert sum(person.status == "INACTIVE" for person in chosen) > size.batch * 0.9


def test_the_csv_lists_the_sample(tmp_path: Path) -> None:
    chosen = sample.choose(generate(SMALL), SMALL.batch)

    ids = sample.write(tmp_path / "ids.csv", chosen)

    with (tmp_path / "ids.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["contributor_id"] for row in rows) == ids
    assert [row["email"] for row in rows] == [person.email.lower() for person in chosen]
    assert [row["worker_id"] or None for row in rows] == [person.worker_id for person in chosen]


def test_prose_holds_nothing_that_could_be_taken_for_an_identity() -> None:
    assert not any(re.search(r"[\d@]", text) for text in (*prose.SENTENCES, *prose.MENTIONS, *prose.SIDE_BY_SIDE))
