"""The diagram "Safety Checks Workflow": a test for each of its boxes and arrows, over one platform's life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import HasEnv
from tests.checking.scenario import Scenario, play
from tests.contents import differences

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scenario]:
    """The platform's life that all tests look at."""
    async with benches.bench(stack, tmp_path_factory.mktemp("checking")) as bench:
        yield await play(bench)


def test_start_safety_checks(run: Scenario) -> None:
    assert {steps[0] for steps in run.steps.values()} == {"check_batch"}, "whatever is asked for begins with them"


def test_check_dry_run_mode(run: Scenario) -> None:
    assert run.dry.json["dry_run"] is True
    assert not [step for step in run.steps["dry"] if step.startswith(("back_up", "erase"))]
    assert differences(run.before, run.after_dry) == [], "byte for byte"
    assert run.in_vault == [], "what was submitted is shredded"


def test_verify_csv_format(run: Scenario) -> None:
    assert run.bad_csv.code == ExitCode.BAD_INPUT
    assert "line 3" in run.bad_csv.stderr
    assert run.checks()["CSV"]["state"] == "ok"
    assert "14 contributors by contributor_id" in run.checks()["CSV"]["facts"]


def test_validate_contributor_ids(run: Scenario) -> None:
    people = run.dry.json["people"]
    assert (people["contributors"], people["known"], people["unknown"], people["everybody"]) == (14, 14, 0, 40)
    assert sum(people["by_status"].values()) == 14
    assert set(people["by_status"]) <= {"ACTIVE", "INACTIVE"}


def test_check_configuration(run: Scenario) -> None:
    assert run.bad_map.code == ExitCode.BAD_INPUT
    assert "reddis: unknown table" in run.bad_map.stderr
    assert run.checks()["configuration"]["state"] == "ok"


def test_test_all_connections(run: Scenario) -> None:
    assert {name: run.checks()[name]["state"] for name in ("vault", *STORES)} == dict.fromkeys(("vault", *STORES), "ok")
    assert "9.5" in run.checks()["elasticsearch"]["facts"], "each says what answered"


def test_create_backup(run: Scenario) -> None:
    steps = run.steps["erased"]
    for store in STORES:
        assert steps.index(f"back_up_{store}") < steps.index("verify_back_up") < steps.index(f"erase_{store}")
    assert steps.count("verify_back_up") == len(STORES)
    assert all(phase["backup_bytes"] > 0 for phase in run.erased.json["phases"])


def test_all_checks_pass(run: Scenario) -> None:
    assert {check["state"] for check in run.dry.json["checks"]} == {"ok"}
    assert run.dry.code == ExitCode.ERASED


def test_proceed_with_operation(run: Scenario) -> None:
    assert run.erased.json["problems"] == []
    assert run.erased.json["stage"] == "retain"


def test_execute_operation(run: Scenario) -> None:
    """It does what the dry run said: the same records, place by place."""
    told = {each["store"]: {place: count for place, count in each["places"].items() if count} for each in _impact(run)}
    done = {
        phase["store"]: {place: tally["changed"] for place, tally in phase["erased"].items() if tally["changed"]}
        for phase in run.erased.json["phases"]
    }
    assert done == told
    assert all(told.values())


def test_end_successfully(run: Scenario) -> None:
    assert (run.erased.code, run.erased.json["outcome"]) == (ExitCode.ERASED, "erased")


def test_abort_with_error(run: Scenario) -> None:
    (problem,) = run.refused.json["problems"]
    assert problem["what"] == "the CSV names 14 contributors, and the policy allows 3"
    assert run.refused.json["outcome"] == "refused"


def test_end_with_error(run: Scenario) -> None:
    assert run.refused.code == ExitCode.FAILED
    assert differences(run.before, run.after_refused) == [], "nothing was touched"


def _impact(run: Scenario) -> list[dict[str, dict[str, int]]]:
    found: list[dict[str, dict[str, int]]] = run.dry.json["impact"]
    return found


def _checked(steps: list[str]) -> bool:
    """Whether every check of a workflow was started before anything else."""
    checks = {"check_contributors", *(f"check_{store}" for store in STORES)}
    return set(steps[1:7]) == checks


ARROWS: dict[str, Callable[[Scenario], bool]] = {
    "Start Safety Checks -> Check Dry Run Mode": lambda run: run.dry.json["dry_run"] and "impact" in run.dry.json,
    "Check Dry Run Mode -> Verify CSV Format": lambda run: "bad.csv cannot be used" in run.bad_csv.stderr,
    "Verify CSV Format -> Validate Contributor IDs": lambda run: (
        [check["name"] for check in run.dry.json["checks"]].index("CSV")
        < [check["name"] for check in run.dry.json["checks"]].index("contributors")
    ),
    "Validate Contributor IDs -> Check Configuration": lambda run: (
        run.dry.json["people"]["everybody"] == 40  # counted in the table that the configuration names
        and "identity" in run.bench.data_map.read_text()
    ),
    "Check Configuration -> Test All Connections": lambda run: all(_checked(steps) for steps in run.steps.values()),
    "Test All Connections -> Create Backup": lambda run: (
        max(run.steps["erased"].index(f"check_{store}") for store in STORES)
        < min(run.steps["erased"].index(f"back_up_{store}") for store in STORES)
    ),
    "Create Backup -> All Checks Pass?": lambda run: (
        max(run.steps["erased"].index(f"back_up_{store}") for store in STORES)
        < run.steps["erased"].index("verify_back_up")
    ),
    "All Checks Pass? -> Yes -> Proceed with Operation": lambda run: (
        run.steps["erased"].index("verify_back_up") < run.steps["erased"].index("erase_elasticsearch")
    ),
    "All Checks Pass? -> No -> Abort with Error": lambda run: (
        not [step for step in run.steps["refused"] if step.startswith(("back_up", "erase"))]
        and run.refused.json["outcome"] == "refused"
    ),
    "Proceed with Operation -> Execute Operation": lambda run: (
        [step for step in dict.fromkeys(run.steps["erased"]) if step.startswith("erase_")]
        == [f"erase_{store}" for store in STORES]
    ),
    "Abort with Error -> End with Error": lambda run: (
        run.steps["refused"][7] == "write_report" and run.refused.code == ExitCode.FAILED
    ),
    "Execute Operation -> End Successfully": lambda run: (
        run.erased.json["ended_at"] is not None and run.erased.code == ExitCode.ERASED
    ),
}


@pytest.mark.parametrize("arrow", ARROWS)
def test_an_arrow_leads_where_it_points(run: Scenario, arrow: str) -> None:
    assert ARROWS[arrow](run)


def test_the_preview_says_how_far_each_store_is_reached_and_what_is_not_put_back(run: Scenario) -> None:
    extents = {each["store"]: each["extent"] for each in run.dry.json["impact"]}
    counts = {each["store"]: each["records"] for each in run.dry.json["impact"]}
    phases = {phase["store"]: phase for phase in run.erased.json["phases"]}
    for store in ("elasticsearch", "postgres"):  # what is kept of a record is the record, and where it stood
        assert 0.1 < extents[store]["bytes"] / phases[store]["backup_bytes"] < 1
    assert extents["clickhouse"]["parts"] >= 3, "of each table one at least"
    assert extents["clickhouse"]["rewritten"] > extents["clickhouse"]["bytes"] > 0
    assert extents["s3"]["bytes"] > 0
    assert [store for store, extent in extents.items() if extent["lost"]] == ["redis"]
    assert extents["redis"]["lost"] == counts["redis"]


def test_the_estimate_names_every_step_and_what_it_is_reckoned_from(run: Scenario) -> None:
    forecast = run.dry.json["forecast"]
    assert [pace["step"] for pace in forecast["paces"]] == [*STORES, "around the phases", "verification"]
    assert all(pace["seconds"] > 0 and pace["basis"] for pace in forecast["paces"])
    assert forecast["seconds"] == pytest.approx(sum(pace["seconds"] for pace in forecast["paces"]))
    kept = sum(phase["backup_bytes"] for phase in run.erased.json["phases"])
    assert 0.5 < forecast["back_up"] / kept < 2


def test_who_was_erased_is_known_no_more_and_their_batch_is_not_under_way_while_it_is_retained(run: Scenario) -> None:
    assert (run.again.json["people"]["known"], run.again.json["people"]["unknown"]) == (0, 14)
    checks = {check["name"]: check["state"] for check in run.again.json["checks"]}
    assert (checks["contributors"], checks["other batches"]) == ("warned", "ok")
    assert run.again.code == ExitCode.WARNED
    assert run.again.json["impact"] == [], "previewed by a dry run alone"
