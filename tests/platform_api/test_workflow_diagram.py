"""The diagram "API Testing Workflow": a test for each of its boxes and arrows, over one run on the real servers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import pytest_asyncio

from starter.exit_codes import ExitCode
from tests.history import leaks
from tests.platform_api.desk import Desk
from tests.platform_api.scenario import Scenario, Step, play

WORKS, UNKNOWN, IN_NO_JOB, REFUSED, WORKS_TOO = range(2, 7)
"""The lines of the CSV."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(platform: Desk, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The run that all tests look at."""
    return await play(platform, tmp_path_factory.mktemp("api-test"))


def test_start_api_testing(run: Scenario) -> None:
    assert run.report["run_id"].startswith("api-test-")
    assert run.steps[0] == Step("check_platform_api", None)
    assert run.report["started_at"] < run.report["ended_at"]


def test_parse_job_url(run: Scenario, platform: Desk) -> None:
    assert run.report["job_id"] == "5001"
    assert f"of job {run.report['job_id']} as" in run.finished.stderr
    assert platform.secret not in run.finished.stdout + run.finished.stderr


def test_load_contributors_from_csv(run: Scenario) -> None:
    assert run.report["contributors"] == run.report["asked"] == len(run.people), "who stands there twice is one"


def test_for_each_contributor(run: Scenario) -> None:
    assert list(run.rows) == list(run.people), "one row each, named by the line and in its order"
    assert set(run.log) == set(run.people)


def test_test_fetch_api(run: Scenario) -> None:
    assert run.report["fetches"] == {"OK": 3, "SYSTEM_ERROR": 1, "NOT_IN_JOB": 1}
    assert run.states[REFUSED] == ("started", None), "what was fetched is given out in the platform's own table"


def test_fetch_successful(run: Scenario) -> None:
    given = {line for line, row in run.rows.items() if row["fetch_meaning"] == "work given"}
    assert given == {WORKS, REFUSED, WORKS_TOO}
    assert {run.rows[UNKNOWN]["fetch_meaning"], run.rows[IN_NO_JOB]["fetch_meaning"]} == {
        "system error",
        "nothing given",
    }


def test_test_commit_api(run: Scenario) -> None:
    assert run.report["commits"] == {"OK": 2, "REJECTED": 1}
    keys = {state[1] for line in (WORKS, WORKS_TOO) if (state := run.states[line])}
    assert len(keys) == 2, "each commit has an idempotency key of its own, and the platform's table has it"


def test_commit_successful(run: Scenario) -> None:
    meanings = {line: row["commit_meaning"] for line, row in run.rows.items()}
    assert meanings == {
        WORKS: "work taken",
        UNKNOWN: "",
        IN_NO_JOB: "",
        REFUSED: "nothing given",
        WORKS_TOO: "work taken",
    }


def test_log_failure(run: Scenario) -> None:
    assert run.log[UNKNOWN]["event"] == run.log[IN_NO_JOB]["event"] == "fetch gave no work"
    assert (run.log[UNKNOWN]["code"], run.log[IN_NO_JOB]["code"]) == ("SYSTEM_ERROR", "NOT_IN_JOB")


def test_log_success(run: Scenario) -> None:
    assert run.log[WORKS]["event"] == run.log[WORKS_TOO]["event"] == "work given and taken"
    assert run.log[WORKS]["milliseconds"] > 0


def test_log_commit_failure(run: Scenario) -> None:
    assert (run.log[REFUSED]["event"], run.log[REFUSED]["code"]) == ("commit failed", "REJECTED")


def test_next_contributor(run: Scenario) -> None:
    assert set(run.rows) > {UNKNOWN, IN_NO_JOB, REFUSED}, "nobody's failure ends the test"


def test_more_contributors(run: Scenario) -> None:
    asked = [step.page for step in run.steps if step.name == "ask_platform_api"]
    assert asked == [0, 1, 2], "five people, two a page"


def test_generate_report(run: Scenario) -> None:
    assert set(run.documents) == {"csv", "json", "html"}
    latency = run.report["latency_ms"]
    assert {kind: latency[kind]["count"] for kind in latency} == {"fetch": 5, "commit": 3}
    for kind in latency.values():
        assert 0 < kind["p50"] <= kind["p90"] <= kind["p95"] <= kind["p99"] <= kind["max"]
    assert re.search(r"<td>SYSTEM_ERROR</td>.*<td class=\"n\">1</td>", run.documents["html"])


def test_end(run: Scenario) -> None:
    assert run.closed == "COMPLETED"
    assert run.finished.code == ExitCode.ERASED, run.finished.stderr
    assert run.steps[-1] == Step("shred_batch", None), "whom it asked for, and the secret, are kept no longer"


ARROWS: dict[str, Callable[[Scenario], bool]] = {
    "Start API Testing -> Parse Job URL": lambda run: (
        run.bad_url.code == ExitCode.BAD_INPUT and "another path than /jobs/{job_id}" in run.bad_url.stderr
    ),
    "Parse Job URL -> Load Contributors from CSV": lambda run: (
        "there-is-none.csv" not in run.bad_url.stderr and "there-is-none.csv cannot be used" in run.bad_csv.stderr
    ),
    "Load Contributors from CSV -> For Each Contributor": lambda run: run.report["asked"] == len(run.people),
    "For Each Contributor -> Test Fetch API": lambda run: all(row["fetch"] for row in run.rows.values()),
    "Test Fetch API -> Fetch Successful?": lambda run: all(row["fetch_meaning"] for row in run.rows.values()),
    "Fetch Successful? -> Yes -> Test Commit API": lambda run: all(
        run.rows[line]["commit"] for line in (WORKS, REFUSED, WORKS_TOO)
    ),
    "Fetch Successful? -> No -> Log Failure": lambda run: all(
        not run.rows[line]["commit"] and run.log[line]["event"] == "fetch gave no work" for line in (UNKNOWN, IN_NO_JOB)
    ),
    "Test Commit API -> Commit Successful?": lambda run: (
        {run.rows[line]["commit_meaning"] for line in (WORKS, REFUSED)} == {"work taken", "nothing given"}
    ),
    "Commit Successful? -> Yes -> Log Success": lambda run: (
        (run.states[WORKS] or ("", None))[0] == "submitted" and run.log[WORKS]["event"] == "work given and taken"
    ),
    "Commit Successful? -> No -> Log Commit Failure": lambda run: (
        run.states[REFUSED] == ("started", None) and run.log[REFUSED]["event"] == "commit failed"
    ),
    "Log Failure -> Next Contributor": lambda run: _followed(run, UNKNOWN),
    "Log Success -> Next Contributor": lambda run: _followed(run, WORKS),
    "Log Commit Failure -> Next Contributor": lambda run: _followed(run, REFUSED),
    "Next Contributor -> More Contributors?": lambda run: (
        [step.page for step in run.steps if step.page is not None] == [0, 1, 2]
    ),
    "More Contributors? -> Yes -> For Each Contributor": lambda run: run.rows[WORKS_TOO]["fetch"] == "OK",
    "More Contributors? -> No -> Generate Report": lambda run: (
        [step.name for step in run.steps][-3:] == ["ask_platform_api", "report_api_test", "shred_batch"]
    ),
    "Generate Report -> End": lambda run: run.closed == "COMPLETED" and '"verdicts"' in run.documents["json"],
}


def _followed(run: Scenario, line: int) -> bool:
    """Whether the next line was logged after this one."""
    logged = list(run.log)
    return logged.index(line + 1) > logged.index(line)


@pytest.mark.parametrize("arrow", ARROWS)
def test_an_arrow_leads_where_it_points(run: Scenario, arrow: str) -> None:
    assert ARROWS[arrow](run)


def test_neither_people_nor_the_secret_stand_anywhere_but_in_the_vault(run: Scenario, platform: Desk) -> None:
    said = [run.finished.stdout, run.finished.stderr, run.bad_url.stderr, run.bad_csv.stderr]
    everything = [*run.kept, run.all_logs, *said, *run.documents.values()]
    assert "ask_platform_api" in run.kept, "payloads are searched as well"
    assert leaks(everything, run.persons) == []
    assert not [text for text in everything if platform.secret in text or run.people[UNKNOWN] in text]
    assert run.bench.env["ERASURE_API__TOKEN"] not in "\n".join(everything)
