"""The drift gate: what becomes of what a store suspects."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

from activities import drift, stores
from activities.contract import Finding, Health, Suspect
from activities.datamap import DataMap
from activities.identities import IdentityKind

SOURCE = tomllib.loads((Path(__file__).parents[2] / "erasure.toml").read_text())
SUSPECT = Suspect("public.people.phone[1]", "it is named like an address", {"mask": [{"table": "public.people"}]})
HEALTH = Health("18.4", ["public.people"], [Finding("a", "b", "c")], [Finding("d", "e", "f")])


def data_map(**table: Any) -> DataMap:
    source = copy.deepcopy(SOURCE)
    source["drift"] = table
    return DataMap.parse(source, "x")


def test_a_suspect_stops_the_batch_unless_the_policy_is_to_warn() -> None:
    found = drift.finding("postgres", SUSPECT)
    stopped = drift.judged("postgres", HEALTH, [SUSPECT], data_map())
    assert (stopped.problems, stopped.warnings) == ([*HEALTH.problems, found], HEALTH.warnings)
    warned = drift.judged("postgres", HEALTH, [SUSPECT], data_map(policy="warn"))
    assert (warned.problems, warned.warnings) == (HEALTH.problems, [*HEALTH.warnings, found])
    assert drift.judged("postgres", HEALTH, [], data_map()) == HEALTH


def test_a_suspect_is_told_with_both_remedies_and_each_of_them_works() -> None:
    found = drift.finding("postgres", SUSPECT)
    assert found.place == "postgres public.people.phone[1]"
    assert found.what == "is not in the data map: it is named like an address"
    assert '[postgres] mask = [{ table = "public.people" }]' in found.remedy
    ignored = found.remedy.split("add ")[1].split(" to drift.ignore")[0]
    assert data_map().suspicion.watches("postgres", SUSPECT.place)
    silenced = data_map(ignore=[tomllib.loads(f"x = {ignored}")["x"]]).suspicion
    assert not silenced.watches("postgres", SUSPECT.place)
    assert silenced.watches("postgres", "public.people.phone1"), "what stands in a place is no pattern"


def test_the_suspicion_is_as_the_data_map_says_and_leaves_out_what_the_tool_keeps() -> None:
    suspicion = data_map(
        look=["postgres *"], ignore=["postgres public.jobs*"], patterns={"worker_id": r"w-\d+"}
    ).suspicion
    assert suspicion.by_content(["w-1", "w-22"]) == (IdentityKind.WORKER_ID, False)
    assert suspicion.watches("postgres", "public.people.email")
    assert not suspicion.watches("postgres", "public.jobs.owner_email")
    assert not suspicion.watches("postgres", "erasure.holds.contributor_id")
    assert not suspicion.watches("redis", "user:*")


def test_every_store_opens_without_anything_named() -> None:
    for kind in stores.kinds().values():
        assert list(dict(drift.nothing(kind)).values()) in ([{}], [()], [(), ()])
