"""``check``: each check fails, or warns, for a reason of its own, and keeps no other one from running."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Any

import pytest

from activities.checking.messages import Check
from activities.contract import Finding
from devstack.platform.clients import connect
from devstack.platform.people import Person
from starter.check import exit_code
from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished, HasEnv, bare_environment, starter
from tests.history import leaks
from tests.processes import ROOT

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]

KEYS = {"name", "state", "facts", "problems", "warnings", "notes", "failure", "unreachable"}


def found(shown: Finished, name: str) -> dict[str, Any]:
    """One check of the JSON document."""
    (check,) = [check for check in shown.json["checks"] if check["name"] == name]
    return dict(check)


def said(check: dict[str, Any], of: str) -> list[str]:
    return [each["what"] for each in check[of]]


async def check(bench: Bench) -> Finished:
    return await bench.starter("check", str(bench.csv), "--config", str(bench.data_map), "--json")


async def share(bench: Bench, ours: Person) -> None:
    """Gives somebody outside of the batch an address of somebody of it."""
    batch = {person.contributor_id for person in bench.platform.sample}
    stays = next(person for person in bench.platform.people if person.contributor_id not in batch)
    async with connect(bench.env) as clients:
        query = f'UPDATE "{bench.platform.names.schema}".contributors SET email = $1 WHERE id = $2'
        await clients.postgres.execute(query, ours.email.upper(), stays.contributor_id)


async def break_stores(bench: Bench) -> None:
    """Brings each store into a condition of its own in which no erasure may begin."""
    names = bench.platform.names
    async with connect(bench.env) as clients:
        await clients.elasticsearch.indices.close(index=names.indices[0])
        table = f"`{names.database}`.unit_metrics"
        await clients.clickhouse.execute(f"ALTER TABLE {table} UPDATE worker_name = throwIf(1, 'no')::String WHERE 1")
    bench.change_map('by = "actor_worker_id"', 'by = "actor"')
    bench.change_map(f"s3://{names.bucket}/avatars/", f"s3://{names.bucket}-gone/avatars/")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bench.env["ERASURE_REDIS__URL"] = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"


async def test_each_check_warns_and_fails_for_its_own_reason_and_names_nobody(bench: Bench) -> None:
    people, other = bench.platform.sample, f"other-{secrets.token_hex(4)}"
    bench.csv.write_text("\n".join(["id", *(person.contributor_id for person in people), "nobody-knows"]) + "\n")
    await share(bench, people[0])
    held = await bench.starter("hold", "add", people[1].contributor_id, "--reason", "a claim")
    assert held.code == ExitCode.ERASED, held.stderr
    async with bench.worker():
        await bench.erase("--detach", "--batch", other)
        await bench.starter("watch", other)  # it parks for the shared identity, and so is under way
        warned = await check(bench)
    await break_stores(bench)
    bench.change_map("# max_contributors = 10000", "max_contributors = 3")
    bench.change_map("max_share_of_contributors = 0.5", "max_share_of_contributors = 0.25")
    async with bench.worker():
        failed = await check(bench)

    assert warned.code == ExitCode.WARNED, warned.stdout + warned.stderr
    assert list(warned.json) == [
        *("batch_id", "contributors", "dry_run", "exit_code", "checks", "people"),
        *("impact", "irreversible", "forecast"),
    ]
    assert all(set(check) == KEYS for check in warned.json["checks"])
    names = [check["name"] for check in warned.json["checks"]]
    assert names == ["CSV", "configuration", "vault", "contributors", "other batches", "shared identities", *STORES]
    states = {check["name"]: check["state"] for check in warned.json["checks"]}
    warn = {"contributors", "other batches", "shared identities"}
    assert states == {name: "warned" if name in warn else "ok" for name in names}
    assert said(found(warned, "contributors"), "warnings") == [
        "1 are not in the identity table",
        "1 are under a legal hold",
    ]
    (same,) = found(warned, "other batches")["warnings"]
    assert (same["place"], same["what"]) == (other, "is under way with 15 of these people")
    (shared,) = said(found(warned, "shared identities"), "warnings")
    assert shared == "1 identities of these people are those of somebody who stays as well"

    assert failed.code == ExitCode.FAILED, failed.stdout + failed.stderr
    problems = {name: said(found(failed, name), "problems") for name in ("contributors", *STORES)}
    assert problems["contributors"] == [
        "the CSV names 15 contributors, and the policy allows 3",
        "the CSV names 14 of 40 contributors, and the policy allows 25% of them",
    ]
    assert problems["elasticsearch"] == ["the index is closed"]
    assert problems["clickhouse"] == ["a mutation of it fails again and again (code 395)"]
    assert problems["postgres"] == ["there is no such column"]
    drift = "is not in the data map: its files look like contributor_id"
    assert problems["s3"] == ["cannot be listed (NoSuchBucket)", drift]
    redis = found(failed, "redis")
    assert (redis["state"], redis["unreachable"]) == ("could not run", True)
    assert "redis" in redis["failure"]["what"]
    assert said(found(failed, "shared identities"), "warnings") == [shared], "what can be looked at is looked at"
    assert leaks([warned.stdout, warned.stderr, failed.stdout, failed.stderr], people) == []


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "ids.csv"
    file.write_text("contributor_id\n12\n")
    return file


async def test_a_vault_that_cannot_be_written_or_is_full_and_a_missing_worker_end_the_check(
    stack: HasEnv, csv: Path
) -> None:
    env = {**bare_environment(), **stack.env, "ERASURE_TEMPORAL__TASK_QUEUE": f"nobody-{secrets.token_hex(4)}"}
    command = ("check", str(csv), "--config", str(ROOT / "erasure.toml"))
    refused = await starter({**env, "ERASURE_S3__SECRET_KEY": "a-wrong-secret"}, *command, "--json")
    assert refused.code == ExitCode.FAILED
    vault = found(refused, "vault")
    assert vault["state"] == "could not run"
    assert vault["failure"]["what"].startswith("access denied (SignatureDoesNotMatch)")
    full = await starter({**env, "ERASURE_VAULT__QUOTA": "1B"}, *command)
    assert full.code == ExitCode.FAILED
    assert "could not run" in full.stdout
    assert "ERASURE_VAULT__QUOTA allows" in " ".join(full.stdout.split())
    gone = await starter({**env, "ERASURE_S3__ENDPOINT_URL": "http://127.0.0.1:1"}, *command)
    assert gone.code == ExitCode.UNREACHABLE
    alone = await starter(env, *command)
    assert alone.code == ExitCode.UNREACHABLE
    assert f"No worker answers on {env['ERASURE_TEMPORAL__TASK_QUEUE']}" in alone.stderr


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([Check("a"), Check("b")], ExitCode.ERASED),
        ([Check("a", notes=[Finding("x", "y", "z")])], ExitCode.ERASED),
        ([Check("a"), Check("b", warnings=[Finding("x", "y", "z")])], ExitCode.WARNED),
        (
            [
                Check("a", warnings=[Finding("x", "y", "z")]),
                Check("b", failure=Finding("x", "y", "z"), unreachable=True),
            ],
            ExitCode.UNREACHABLE,
        ),
        ([Check("a", failure=Finding("x", "y", "z"))], ExitCode.FAILED),
        (
            [
                Check("a", problems=[Finding("x", "y", "z")]),
                Check("b", failure=Finding("x", "y", "z"), unreachable=True),
            ],
            ExitCode.FAILED,
        ),
    ],
)
def test_the_exit_code_says_the_worst_and_a_check_that_cannot_run_is_no_success(
    checks: list[Check], code: ExitCode
) -> None:
    assert exit_code(checks) is code
