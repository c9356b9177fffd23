"""Setup as its diagram has it: check, fix, retry until all connections are OK; on the real servers."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from packaging.requirements import Requirement

from activities.object_storage import s3_client
from activities.setup import Result, Setup, State, checks, installation, running
from activities.setup.identities import OwnSchemaCheck
from activities.setup.installation import PackagesCheck, PythonCheck, missing
from activities.setup.stores import StoreCheck
from activities.setup.vault import VaultCheck
from activities.stores import kinds
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from starter.exit_codes import ExitCode
from tests.bench import Bench, HasEnv
from tests.processes import ROOT
from tests.setup.conftest import SECONDS, Run
from tests.stores.conftest import s3_settings

ORDER = [
    *("python", "packages", "data map", "vault key", "vault", "identity table", "own schema"),
    *("elasticsearch", "clickhouse", "postgres", "s3", "redis", "temporal", "workers", "platform API"),
]


def unheard(_name: str, _result: Result | None) -> None:
    """Tells nobody."""


def worst(setup: Setup) -> State:
    """The worst state of now."""
    return setup.worst


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that asks for passwords, all but the superuser."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), tied=True)
    server.folder.mkdir(parents=True, exist_ok=True)
    server.command()
    (server.folder / "data" / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    server.start()
    yield server
    server.stop()


async def test_all_is_fine_with_a_worker_and_after_a_fix_and_each_line_says_what_it_is(bench: Bench) -> None:
    async with bench.worker():
        done = await bench.starter("setup", "--config", str(bench.data_map), "--fix", "--retry", "60", "--json")
    assert done.code == ExitCode.ERASED, done.stdout + done.stderr
    assert [each["name"] for each in done.json["checks"]] == ORDER
    assert {each["state"] for each in done.json["checks"]} == {"ok"}
    assert all(each["latency_ms"] > 0 and each["findings"] == [] for each in done.json["checks"])
    versions = {each["name"]: each["version"] for each in done.json["checks"]}
    assert (versions["elasticsearch"], versions["workers"]) == ("9.5.3", "6 task queues")
    assert versions["clickhouse"].startswith("26.")
    assert done.json["fixed"] == {"own schema": "made the schema erasure"}
    assert done.json["exit_code"] == 0

    shown = await bench.starter("setup", "--config", str(bench.data_map), ERASURE_TEMPORAL__TASK_QUEUE="nobody-there")
    assert shown.code == ExitCode.UNREACHABLE
    assert "Not ready: workers." in shown.stdout
    assert "  workers: no worker polls nobody-there, nobody-there-clickhouse" in shown.stdout
    assert "Start one: python -m worker" in shown.stdout
    assert len([line for line in shown.stdout.splitlines() if " ok " in line]) == len(ORDER) - 1
    assert "Traceback" not in shown.stdout + shown.stderr


async def test_the_vaults_bucket_is_made_by_a_fix_and_keeps_versions(answers: Run, stack: HasEnv) -> None:
    bucket = f"fixed-{secrets.token_hex(6)}"
    results = await answers(VAULT__BUCKET=bucket)
    assert results["vault"].state is State.FAILED
    assert "the bucket does not exist" in str(results["vault"].findings[0])
    setup = Setup([VaultCheck()], SECONDS, unheard)
    await setup.run()
    assert await setup.fix() == {"vault": f"made the bucket {bucket}, which keeps versions"}
    assert worst(setup) is State.OK
    assert await setup.fix() == {}, "what is in order is left alone"
    async with s3_client(s3_settings(stack)) as client:
        assert (await client.get_bucket_versioning(Bucket=bucket))["Status"] == "Enabled"
        left = await client.list_object_versions(Bucket=bucket)
        assert (left.get("Versions", []), left.get("DeleteMarkers", [])) == ([], []), "a check leaves nothing behind"
        await client.delete_bucket(Bucket=bucket)


async def test_what_cannot_be_fixed_says_why(answers: Run) -> None:
    await answers(VAULT__BUCKET="No_Bucket_Is_Called_That", S3__SECRET_KEY="wrong")
    setup = Setup([VaultCheck()], SECONDS, unheard)
    await setup.run()
    said = await setup.fix()
    assert said["vault"].startswith("cannot be mended: vault: ")
    assert worst(setup) is State.FAILED


async def test_passwords_and_rights_on_the_own_schema_are_tried(answers: Run, postgres: Postgres) -> None:
    admin_dsn = postgres.env["ERASURE_POSTGRES__DSN"]
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute("CREATE ROLE eraser LOGIN PASSWORD 'right'")
    results = await answers(POSTGRES__DSN=admin_dsn.replace("postgres@", "eraser:secret-word@"))
    for name in ("postgres", "identity table", "own schema"):
        assert results[name].state is State.FAILED
        assert "the server refuses user or password" in str(results[name].findings[0])
        assert "secret-word" not in str(results[name])

    await answers(POSTGRES__DSN=admin_dsn.replace("postgres@", "eraser:right@"))
    setup = Setup([OwnSchemaCheck()], SECONDS, unheard)
    await setup.run()
    assert worst(setup) is State.WARNED
    assert "cannot be mended: " in (await setup.fix())["own schema"], "the role may not make schemas"
    await admin.execute("GRANT CREATE ON DATABASE postgres TO eraser")
    assert await setup.fix() == {"own schema": "made the schema erasure"}
    assert worst(setup) is State.OK
    assert await admin.fetchval("SELECT count(*) FROM erasure.holds") == 0, "what was tried was rolled back"
    await admin.execute("REVOKE ALL ON erasure.holds FROM eraser; ALTER TABLE erasure.holds OWNER TO postgres")
    await setup.run()
    assert worst(setup) is State.FAILED
    assert "a right is missing" in str(setup.results["own schema"].findings[0])
    await admin.close()


async def test_retry_asks_only_what_failed_again_until_it_is_there(
    answers: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PAUSE", 0.2)  # the wait is shorter, nothing else
    valkey = Valkey(tmp_path, tied=True)
    await answers(REDIS__URL=f"redis://127.0.0.1:{valkey.port}/0")
    runs: list[tuple[str, State]] = []

    def tell(name: str, result: Result | None) -> None:
        if result is not None:
            runs.append((name, result.state))

    redis = StoreCheck(kinds()["redis"], None)
    setup = Setup([PythonCheck(), redis], SECONDS, tell)
    await setup.run()
    assert worst(setup) is State.UNREACHABLE
    began = time.monotonic()
    await setup.retry(within=1)
    assert time.monotonic() - began < 10, "it is given up"
    assert worst(setup) is State.UNREACHABLE
    waiting = asyncio.create_task(setup.retry(within=60))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(valkey.start)
    try:
        await waiting
    finally:
        valkey.stop()
    assert worst(setup) is State.OK
    assert [name for name, _ in runs].count("python") == 1
    assert [state for name, state in runs if name == "redis"][-2:] == [State.UNREACHABLE, State.OK]


async def test_settings_and_a_data_map_that_are_wrong_are_bad_input_and_no_retry_waits_for_them(
    answers: Run, tmp_path: Path
) -> None:
    broken = tmp_path / "erasure.toml"
    broken.write_text((ROOT / "erasure.toml").read_text().replace("[redis]", "[reddis]"))
    results = await answers(broken, VAULT__KEY="too-short-a-secret", REDIS__URL="http://secret-word", S3__TIMEOUT="0")
    for name, words in (
        ("data map", "reddis: unknown table"),
        ("vault key", "ERASURE_VAULT__KEY: must be 32 random bytes"),
        ("redis", "ERASURE_REDIS__URL: must start with redis://"),
        ("s3", "ERASURE_S3__TIMEOUT: "),
    ):
        assert results[name].state is State.BAD_INPUT, name
        assert words in str(results[name].findings[0])
    assert not any(secret in str(results) for secret in ("too-short", "secret-word"))
    assert results["temporal"].state is State.OK
    assert results["elasticsearch"].state is State.OK, "it is reached all the same"
    setup = Setup(checks(broken), SECONDS, unheard)
    await setup.run()
    began = time.monotonic()
    await setup.retry(within=60)
    assert time.monotonic() - began < 1
    missing_file = await answers(tmp_path / "not-there.toml")
    assert "cannot be read" in str(missing_file["data map"].findings[0])


async def test_a_store_that_the_data_map_does_not_name_is_not_asked(answers: Run, tmp_path: Path) -> None:
    text = (ROOT / "erasure.toml").read_text()
    before, _, after = text.partition("[redis]")
    short = tmp_path / "erasure.toml"
    short.write_text(f"{before}{after[after.index('[drift]') :]}".replace('"s3", "redis"]', '"s3"]'))
    results = await answers(short, REDIS__URL="redis://127.0.0.1:1/0")
    assert results["data map"].state is State.OK, results["data map"]
    assert results["redis"] == Result(State.UNUSED, latency_ms=results["redis"].latency_ms)


class Surprised:
    """A check that fails as nobody foresaw."""

    name = "surprise"

    async def run(self) -> Result:
        raise LookupError("row of ann@x.io")


async def test_a_check_that_fails_in_an_unknown_way_is_a_failure_of_its_line() -> None:
    setup = Setup([PythonCheck(), Surprised()], SECONDS, unheard)
    await setup.run()
    assert (setup.results["python"].state, setup.results["surprise"].state) == (State.OK, State.FAILED)
    assert "unexpected builtins.LookupError" in str(setup.results["surprise"].findings[0])
    assert "ann@x.io" not in str(setup.results)


async def test_python_and_packages_are_compared_with_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await PythonCheck().run()).state is State.OK
    assert (await PackagesCheck().run()).state is State.OK
    wanted = [
        "rich>=14",
        "rich<1",
        "there-is-no-such-package>=1",
        "elasticsearch[async]>=9",
        "temporalio[lambda-worker-otel]",
        "other; python_version < '3'",
    ]
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nrequires-python = ">=99"\ndependencies = {json.dumps(wanted)}\n'
    )
    monkeypatch.setattr(installation, "SOURCE", tmp_path / "pyproject.toml")  # a file of the test's own
    python, packages = await PythonCheck().run(), await PackagesCheck().run()
    assert python.state is State.FAILED
    assert ">=99" in str(python.findings[0])
    told = {finding.place: finding.what for finding in packages.findings}
    assert told["there-is-no-such-package"] == "is not installed"
    assert told["rich"].endswith("is not <1")
    assert not {"elasticsearch", "aiohttp", "other"} & set(told)
    assert "opentelemetry-exporter-otlp-proto-grpc" in told, "what an extra wants is wanted"
    assert list(missing(Requirement("temporalio[pydantic]"))) == []
