"""The diagram "Data Fetching Workflow": a test for each of its boxes and arrows, over fetches on the real servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
import pytest_asyncio
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from starter.exit_codes import ExitCode
from tests.bench import HasEnv
from tests.fetching.scenario import DAYS, LIMIT, PROJECTS, Scenario, play
from tests.history import leaks
from workflows.erase import EraseContributors
from workflows.fetch import FetchInactive


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The fetches that all tests look at."""
    return await play(stack, tmp_path_factory.mktemp("fetch"))


def _as_of(run: Scenario) -> datetime:
    return datetime.fromisoformat(run.kept.json["as_of"])


def _inactive(run: Scenario) -> list[str]:
    return [person.contributor_id for person in run.bench.platform.people if person.status == "INACTIVE"]


def test_start_fetching(run: Scenario) -> None:
    assert run.kept.code == ExitCode.ERASED, run.kept.stderr
    assert run.kept.json["run_id"].startswith("fetch-")
    assert run.kept.json["criteria"] == {
        "days_inactive": DAYS,
        "max_contributors": LIMIT,
        "min_projects": PROJECTS,
        "max_projects": None,
        "status": "INACTIVE",
        "null_activity": None,
    }


def test_connect_to_postgresql(run: Scenario) -> None:
    assert (run.steps[0].name, run.steps[0].summary) == ("check_fetch", "Connect to PostgreSQL")
    assert "[x] connect to PostgreSQL" in run.details


def test_what_cannot_be_connected_or_read_ends_the_fetch_by_name_and_without_a_file(run: Scenario) -> None:
    assert run.refused.code == ExitCode.FAILED
    assert "fetch.status: public.contributors has no column state" in run.refused.stderr
    assert "Traceback" not in run.refused.stderr
    assert "refused.csv" not in run.files


def test_query_inactive_contributors(run: Scenario) -> None:
    assert run.steps[1].name == "export_inactive"
    assert run.steps[1].summary.startswith(
        f"Query status INACTIVE, inactive for more than {DAYS} days, {PROJECTS} or more"
    )
    assert run.kept.json["counts"]["contributors"] == len(run.bench.platform.people)


def test_status_inactive(run: Scenario) -> None:
    assert run.kept.json["counts"]["of_status"] == len(_inactive(run))
    assert {row.contributor_id for row in run.rows} <= set(_inactive(run))


def test_last_activity_beyond_the_threshold(run: Scenario) -> None:
    """Also the box "Days inactive filter"."""
    never = [person for person in run.bench.platform.people if person.status == "INACTIVE" and not person.worker_id]
    counts = run.kept.json["counts"]
    assert counts["no_activity"] == len(never) > 0
    assert counts["inactive"] == counts["of_status"] - len(never)


def test_project_count_criteria(run: Scenario) -> None:
    """Also the box "Min projects filter"."""
    people = {person.contributor_id: person for person in run.bench.platform.people}
    assert all(people[row.contributor_id].project_count >= PROJECTS for row in run.rows)
    assert run.kept.json["counts"]["in_projects"] == len(run.expected(_as_of(run))) + 2


def test_apply_filters(run: Scenario) -> None:
    counts = run.kept.json["counts"]
    assert counts["in_projects"] == counts["not_erased"] == counts["not_excluded"] + 1 == counts["not_held"] + 2
    assert not {run.excluded.contributor_id, run.held.contributor_id} & {row.contributor_id for row in run.rows}
    assert f"[x] under no legal hold: **{counts['not_held']}**" in run.details


def test_max_contributors_filter(run: Scenario) -> None:
    """Also the box "Limit results"."""
    assert run.kept.json["counts"]["not_held"] > LIMIT
    assert run.kept.json["contributors"] == len(run.rows) == LIMIT
    assert f"limit {LIMIT}, export to CSV: **{LIMIT}**" in run.details


def test_sort_by_last_activity(run: Scenario) -> None:
    oldest = [person.contributor_id for person in run.expected(_as_of(run))][:LIMIT]
    assert [row.contributor_id for row in run.rows] == oldest
    assert "[x] sort by last activity" in run.details
    assert sum(bar["contributors"] for bar in run.kept.json["histogram"]) == LIMIT


def test_export_to_csv(run: Scenario) -> None:
    people = {person.contributor_id: person for person in run.bench.platform.people}
    for row in run.rows:
        person = people[row.contributor_id]
        assert (row.emails, row.worker_ids) == ((person.email,), (person.worker_id,))
    assert run.files["ids.csv"].startswith("contributor_id,email,worker_id\r\n")
    assert run.modes == {0o600}


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(run: Scenario) -> None:
    assert run.again.code == ExitCode.BAD_INPUT
    assert "is there already" in run.again.stderr
    assert run.replaced.code == ExitCode.ERASED, run.replaced.stderr


def test_create_backup(run: Scenario) -> None:
    """Beside the file one a fetch; in the vault where it was asked for."""
    copies = {name for name in run.files if name.startswith("ids-")}
    assert len(copies) == 2
    assert {run.files[name] for name in copies} == {run.files["ids.csv"]}
    assert [step.name for step in run.steps] == ["check_fetch", "export_inactive", "back_up_export"]
    assert run.steps[2].summary == "Create backup"
    assert "[x] create backup" in run.details


def test_what_the_vault_keeps_can_be_taken_again(run: Scenario) -> None:
    assert run.taken.code == ExitCode.ERASED, run.taken.stderr
    assert run.files["taken.csv"] == run.files["ids.csv"]
    assert "taken 2 times; kept until" in run.details
    assert run.states[run.kept.json["run_id"]] == "RUNNING"


def test_end(run: Scenario) -> None:
    """Whose CSV was taken is destroyed in the vault; who found nobody writes nothing."""
    for finished in (run.replaced, run.nobody):
        run_id = finished.json["run_id"]
        assert run.states[run_id] == "COMPLETED"
        assert run.activities(run_id) == ["check_fetch", "export_inactive", "shred_batch"]
    assert (run.nobody.code, run.nobody.json["contributors"]) == (ExitCode.WARNED, 0)
    assert "Nobody was found; nothing was written." in run.nobody.stderr
    assert "nobody.csv" not in run.files
    (failed,) = [run_id for run_id, state in run.states.items() if state == "FAILED"]
    assert run.activities(failed) == ["check_fetch", "shred_batch"]
    assert run.left == []


def test_nobody_is_named_in_temporal_or_in_a_log(run: Scenario) -> None:
    assert len(run.texts) > 100
    assert leaks(run.texts, run.bench.platform.people) == []


async def test_the_fetches_replay(run: Scenario) -> None:
    replayer = Replayer(workflows=[FetchInactive, EraseContributors], data_converter=pydantic_data_converter)
    for history in run.histories.values():
        await replayer.replay_workflow(history)


def _behind(run: Scenario, *filters: str) -> list[int]:
    """How many people are left behind each of some filters, which never let more through than came."""
    return [run.kept.json["counts"][each] for each in filters]


def _done(run: Scenario, first: str, second: str) -> bool:
    """Whether the Web UI shows two boxes as done, in this order."""
    at = [run.details.find(f"[x] {each}") for each in (first, second)]
    return -1 < at[0] < at[1]


ARROWS: dict[str, Callable[[Scenario], bool]] = {
    "Start Fetching -> Connect to PostgreSQL": lambda run: run.steps[0].name == "check_fetch",
    "Connect to PostgreSQL -> Query Inactive Contributors": lambda run: (
        [step.name for step in run.steps[:2]] == ["check_fetch", "export_inactive"]
        and _done(run, "connect to PostgreSQL", "contributors")
    ),
    "Query Inactive Contributors -> Status = INACTIVE": lambda run: _done(run, "contributors", "status INACTIVE"),
    "Status = INACTIVE -> Last activity > threshold": lambda run: _done(
        run, "status INACTIVE", "inactive for more than"
    ),
    "Last activity > threshold -> Project count criteria": lambda run: _done(run, "inactive for more", "projects: "),
    "Query Inactive Contributors -> Apply Filters": lambda run: (
        (behind := _behind(run, "contributors", "of_status", "inactive", "in_projects")) == sorted(behind, reverse=True)
        and behind[0] > behind[-1] > 0
    ),
    "Apply Filters -> Days inactive filter": lambda run: (
        (behind := _behind(run, "of_status", "inactive"))[0] > behind[1] > 0
    ),
    "Days inactive filter -> Min projects filter": lambda run: _done(
        run, f"inactive for more than {DAYS}", "projects: "
    ),
    "Min projects filter -> Max contributors filter": lambda run: _done(run, "projects: ", f"limit {LIMIT:,}"),
    "Apply Filters -> Sort by Last Activity": lambda run: _done(run, "projects: ", "sort by last activity"),
    "Sort by Last Activity -> Limit Results": lambda run: _done(run, "sort by last activity", f"limit {LIMIT:,}"),
    "Limit Results -> Export to CSV": lambda run: 0 < len(run.rows) == run.kept.json["contributors"] <= LIMIT,
    "Export to CSV -> Create Backup": lambda run: (
        [step.name for step in run.steps[1:3]] == ["export_inactive", "back_up_export"]
    ),
    "Create Backup -> End": lambda run: (
        run.files[next(name for name in run.files if name.startswith("ids-"))] == run.files["ids.csv"]
        and run.activities(run.replaced.json["run_id"])[-1] == "shred_batch"
        and run.states[run.replaced.json["run_id"]] == "COMPLETED"
    ),
}
"""Each arrow, and what of the fetch shows that it led where it points."""


@pytest.mark.parametrize("arrow", ARROWS)
def test_an_arrow_leads_where_it_points(run: Scenario, arrow: str) -> None:
    assert ARROWS[arrow](run)
