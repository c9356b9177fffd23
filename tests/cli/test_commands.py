"""The command line as a user meets it where something is wrong: exit codes, messages, and what is never printed."""

from __future__ import annotations

import asyncio
import base64
import secrets
import signal
import socket
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from starter.__main__ import app
from starter.exit_codes import ExitCode
from tests.bench import Bench, HasEnv, bare_environment, starter
from tests.processes import ROOT


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "ids.csv"
    file.write_text("contributor_id\n12\n")
    return file


@pytest.fixture
def env(stack: HasEnv) -> dict[str, str]:
    return {**bare_environment(), **stack.env}


def commands(group: Any, *names: str) -> Iterator[list[str]]:
    """The words of every command of a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield [*names, name]


COMMANDS = [*commands(typer.main.get_command(app))]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_by_an_example(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "300"}, prog_name="python -m starter")
    assert shown.exit_code == 0
    assert f"Usage: python -m starter {' '.join(command)}" in shown.output
    assert f"python -m starter {' '.join(command)}" in shown.output.partition("Example: ")[2]
    assert "--json" in shown.output


async def test_the_program_explains_itself_its_exit_codes_and_is_completed_by_a_shell_once_it_is_installed() -> None:
    shown = await starter(bare_environment(), "--help")
    assert (shown.code, "Exit codes: 0 erased" in shown.stdout) == (0, True)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, attribute = scripts["erasure"].partition(":")
    assert getattr(import_module(module), attribute) is app
    asks = {"_ERASURE_COMPLETE": "complete_bash", "COMP_WORDS": "erasure ver", "COMP_CWORD": "1"}
    completed = CliRunner().invoke(app, [], env=asks, prog_name="erasure")
    assert completed.output.split() == ["verify"]


async def test_a_setting_that_is_missing_or_wrong_is_named_and_its_value_never_shown(
    env: dict[str, str], csv: Path
) -> None:
    del env["ERASURE_VAULT__BUCKET"]
    env["ERASURE_VAULT__KEY"] = "too-short-a-secret"
    refused = await starter(env, "erase", str(csv))
    assert refused.code == ExitCode.BAD_INPUT
    assert "ERASURE_VAULT__BUCKET: is not set" in refused.stderr
    assert "ERASURE_VAULT__KEY: " in refused.stderr
    assert "openssl rand -base64 32" in refused.stderr
    assert "too-short-a-secret" not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_temporal_that_is_not_there_is_named_within_seconds(env: dict[str, str], csv: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env["ERASURE_TEMPORAL__ADDRESS"] = f"127.0.0.1:{unused.getsockname()[1]}"
        for command in (["erase", str(csv)], ["watch", "some-batch"], ["status", "some-batch"], ["list"]):
            began = time.monotonic()
            refused = await starter(env, *command)
            assert refused.code == ExitCode.UNREACHABLE, command
            assert f"Temporal at {env['ERASURE_TEMPORAL__ADDRESS']} does not answer" in refused.stderr
            assert "ERASURE_TEMPORAL__ADDRESS" in refused.stderr
            assert time.monotonic() - began < 15


async def test_a_vault_that_is_not_there_is_named(env: dict[str, str], csv: Path) -> None:
    refused = await starter({**env, "ERASURE_S3__ENDPOINT_URL": "http://127.0.0.1:1"}, "erase", str(csv))
    assert refused.code == ExitCode.UNREACHABLE
    assert refused.stderr.startswith("vault: cannot reach S3")
    missing = await starter({**env, "ERASURE_VAULT__BUCKET": "there-is-none"}, "erase", str(csv))
    assert missing.code == ExitCode.FAILED
    assert "vault: the bucket does not exist" in missing.stderr
    wrong = await starter({**env, "ERASURE_S3__SECRET_KEY": "a-wrong-secret"}, "erase", str(csv))
    assert wrong.code == ExitCode.FAILED
    assert "vault: access denied" in wrong.stderr
    assert "a-wrong-secret" not in wrong.stderr


async def test_a_bad_file_is_refused_as_a_whole_with_its_lines_and_starts_nothing(
    env: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("contributor_id\n12\nno good id\n\n13\nalso/bad\n")
    batch = f"bad-{secrets.token_hex(4)}"
    refused = await starter(env, "erase", str(file), "--batch", batch)
    assert refused.code == ExitCode.BAD_INPUT
    assert "line 3" in refused.stderr
    assert "line 6" in refused.stderr
    assert "no good id" not in refused.stderr, "an id may be an email by mistake"
    unknown = await starter(env, "status", batch)
    assert unknown.code == ExitCode.BAD_INPUT
    assert "does not know this batch" in unknown.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("slice_size = 5000", "slice_size = 0", "policy.slice_size: "),
        ("[redis]", "[rediss]", "rediss: unknown table"),
        ('auth = ["auth:{contributor_id}"]', 'auth = ["auth:*"]', "redis"),
        ('worker_id = "worker_id"', 'worker_id = "phone"', 'elasticsearch."project-*".worker_id'),
        ("[policy]", "[policy", "is not TOML"),
    ],
)
async def test_a_data_map_that_is_wrong_is_refused_with_its_key(
    env: dict[str, str], csv: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = (ROOT / "erasure.toml").read_text()
    assert old in text
    config = tmp_path / "wrong.toml"
    config.write_text(text.replace(old, new, 1))
    refused = await starter(env, "erase", str(csv), "--config", str(config))
    assert refused.code == ExitCode.BAD_INPUT
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_name_that_is_no_name_is_refused(env: dict[str, str], csv: Path) -> None:
    refused = await starter(env, "erase", str(csv), "--batch", "Ann Example")
    assert refused.code == ExitCode.BAD_INPUT
    assert "--batch takes" in refused.stderr


async def test_a_batch_that_ends_with_warnings_says_so_by_its_exit_code(bench: Bench) -> None:
    more = '[clickhouse."nothing_here*"]\nemail = "email"\n\n'
    bench.change_map('[clickhouse."unit_metrics*"]', more + '[clickhouse."unit_metrics*"]')
    async with bench.worker():
        warned = await bench.erase()
    assert warned.code == ExitCode.WARNED, warned.stderr
    assert warned.json["outcome"] == "erased with warnings"
    (warning,) = [warning for phase in warned.json["phases"] for warning in phase["warnings"]]
    assert (warning["place"], warning["what"]) == ("nothing_here*", "names no table")


async def test_a_batch_that_failed_says_so_by_its_exit_code_and_names_no_secret(bench: Bench) -> None:
    bench.env["ERASURE_CLICKHOUSE__DATABASE"] = "there_is_none"
    async with bench.worker():
        failed = await bench.erase()
    assert failed.code == ExitCode.FAILED
    assert failed.json["outcome"] == "refused"
    (problem,) = failed.json["problems"]
    assert "the database does not exist" in problem["what"]
    for name in ("ERASURE_VAULT__KEY", "ERASURE_S3__SECRET_KEY"):
        assert bench.env[name] not in failed.stdout + failed.stderr


async def test_without_a_worker_erase_and_watch_and_status_say_so_within_seconds(bench: Bench) -> None:
    batch_id = (await bench.erase("--detach")).json["batch_id"]
    for command in (["erase", str(bench.csv), "--config", str(bench.data_map)], ["watch", batch_id]):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "starter", *command, cwd=ROOT, env=bench.env, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(60):
            while "no worker answers" not in said:
                said += (await process.stderr.readline()).decode()
        assert bench.env["ERASURE_TEMPORAL__TASK_QUEUE"] in said
        process.send_signal(signal.SIGINT)
        rest = (await asyncio.wait_for(process.communicate(), 60))[1].decode()
        assert "The batch goes on" in rest
        assert "Traceback" not in rest
    shown = await bench.starter("status", batch_id)
    assert shown.code == ExitCode.UNREACHABLE
    assert "No worker answers for this batch. Start one: python -m worker" in shown.stderr


async def test_a_reason_that_names_an_address_is_refused_and_not_repeated(stack: HasEnv) -> None:
    refused = await starter({**bare_environment(), **stack.env}, "rollback", "some-batch", "--reason", "bob@x.io asked")
    assert (refused.code, "without personal data" in " ".join(refused.stderr.split())) == (ExitCode.BAD_INPUT, True)
    assert "bob" not in refused.stdout + refused.stderr


async def test_a_report_is_only_read_with_the_key_that_it_was_written_with(bench: Bench) -> None:
    async with bench.worker():
        batch_id = (await bench.erase()).json["batch_id"]
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    other = await bench.starter("report", batch_id, ERASURE_VAULT__KEY=key)
    assert other.code == ExitCode.FAILED
    assert "Check that ERASURE_VAULT__KEY (or __KEY_FILE, or __KMS_KEY_ID) is the key of then" in other.stderr
