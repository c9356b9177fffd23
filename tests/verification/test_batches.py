"""A batch that is verified in its end, and again after somebody broke what the eraser did."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devstack.platform.clients import connect
from devstack.platform_api import PlatformApi, job_url
from starter.exit_codes import ExitCode
from tests import bench as benches
from tests.bench import Bench, Finished, HasEnv
from tests.history import leaks, texts

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


@dataclass(frozen=True)
class Verified:
    """A batch that was verified at its end, then broken in every store and verified again.

    Args:
        bench: What it ran on.
        erased: What the batch reported.
        certificate: Its certificate.
        estimated: A verification that only reckons its cost.
        broken: A verification after one record of each store was put back.
        by_csv: One of the same people by their CSV.
        nobody: One of a CSV of people whom no store knows.
        shredded: One of the batch after its identities were destroyed.
        kept: Every text that Temporal keeps of the verifications.
        written: The Markdown report.
    """

    bench: Bench
    erased: Finished
    certificate: dict[str, Any]
    estimated: Finished
    broken: Finished
    by_csv: Finished
    nobody: Finished
    shredded: Finished
    kept: list[str]
    written: str

    @property
    def found(self) -> dict[str, int]:
        """What the batch's own verification found, by store."""
        return _by_store(self.broken.json["residuals"])


@pytest.fixture(scope="module")
def verified(stack: HasEnv, tmp_path_factory: pytest.TempPathFactory) -> Verified:
    """One batch for all tests."""
    return asyncio.run(_run(stack, tmp_path_factory.mktemp("verify")))


async def _run(stack: HasEnv, folder: Path) -> Verified:
    async with benches.bench(stack, folder) as bench:
        bench.change_map("after_batch = false", "after_batch = true")
        server = PlatformApi(folder / "api", bench.env, bench.platform.names, tied=True)
        server.spawn()
        batch = bench.platform.sample
        stays = next(person for person in bench.platform.people if person.worker_id and person not in batch)
        job, control = job_url("https://platform.example"), stays.contributor_id
        bench.env |= {**server.env, "ERASURE_API__JOB_URL": job, "ERASURE_API__CONTROL": control}
        bench.env |= {"ERASURE_CONFIG": str(bench.data_map)}
        strangers = folder / "strangers.csv"
        strangers.write_text("contributor_id,email\nc-99990001,nobody-there@example.org\n")
        try:
            await asyncio.to_thread(server.wait)
            async with bench.worker():
                erased = await bench.erase()
                batch_id = erased.json["batch_id"]
                exported = await bench.starter("certificate", "export", batch_id)
                estimated = await bench.starter("verify", batch_id, "--estimate", "--json")
                await _put_back(bench)
                out = str(folder / "out")
                broken = await bench.starter("verify", batch_id, "--depth", "mapped", "--json", "-o", out)
                by_csv = await bench.starter("verify", str(bench.csv), "--depth", "mapped", "--json")
                nobody = await bench.starter("verify", str(strangers), "--json")
                await bench.starter("shred", batch_id)
                await (await bench.temporal()).get_workflow_handle(batch_id).result()
                shredded = await bench.starter("verify", batch_id)
            client = await bench.temporal()
            ours = f"TaskQueue = '{bench.env['ERASURE_TEMPORAL__TASK_QUEUE']}' AND WorkflowType = 'VerifyErasure'"
            kept = [
                text async for run in client.list_workflows(ours) for text in await texts(client, run.id, run.run_id)
            ]
        finally:
            server.stop()
        certificate = json.loads(exported.stdout)["certificate"]
        written = (folder / "out" / f"{batch_id}-verification.md").read_text()
        return Verified(bench, erased, certificate, estimated, broken, by_csv, nobody, shredded, kept, written)


async def _put_back(bench: Bench) -> None:
    """Makes of a good eraser one that forgot one record in each store."""
    names, person = bench.platform.names, next(each for each in bench.platform.sample if each.worker_id)
    async with connect(bench.env) as clients:
        document = {"worker_email": person.email.upper(), "comment": "was here"}
        await clients.elasticsearch.index(index=names.indices[0], document=document, refresh=True)
        row = f"INSERT INTO `{names.database}`.unit_metrics (worker_id) VALUES"
        await clients.clickhouse.execute(row, (person.worker_id,))
        await clients.postgres.execute(
            f'UPDATE "{names.schema}".payments SET payee_email = $1 '
            f'WHERE id = (SELECT min(id) FROM "{names.schema}".payments)',
            person.email,
        )
        erased = await clients.s3.list_object_versions(Bucket=names.bucket, Prefix="contributors/")
        marker = erased["DeleteMarkers"][0]
        await clients.s3.delete_object(Bucket=names.bucket, Key=marker["Key"], VersionId=marker["VersionId"])
        await clients.redis.set(f"{names.key_prefix}auth:{person.contributor_id}", "token", ex=600)


def _by_store(residuals: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, count in residuals.items():
        store = place.split()[0]
        found[store] = found.get(store, 0) + count
    return found


def test_a_batch_ends_with_what_a_verification_found_and_did_not_find(verified: Verified) -> None:
    report = verified.erased.json
    assert (verified.erased.code, report["outcome"]) == (ExitCode.ERASED, "erased"), verified.erased.stdout
    found = report["verification"]
    assert (found["depth"], found["residuals"]) == ("catalogue", {})
    assert {place.split()[0] for place in found["proven"]} >= {"clickhouse", "postgres", "temporal"}
    assert {place.split()[0] for place in found["masked"]} >= {"elasticsearch", "clickhouse", "postgres"}
    assert not any(each["place"] == "platform API" for each in found["not_proven"])


def test_the_certificate_says_what_was_proven_and_what_was_not(verified: Verified) -> None:
    said = verified.certificate["verification"]
    found = verified.erased.json["verification"]
    assert said["verdict"].startswith("proven")
    assert (said["proven"], said["residuals"]) == (found["proven"], [])
    assert [each["place"] for each in said["not_proven"]] == [each["place"] for each in found["not_proven"]]


def test_one_record_that_an_eraser_forgot_turns_the_verdict_red_in_each_store(verified: Verified) -> None:
    assert verified.broken.code == ExitCode.FAILED, verified.broken.stdout
    assert verified.broken.json["verdict"] == "residuals found"
    assert {store: verified.found.get(store, 0) for store in STORES} == {
        "elasticsearch": 1,
        "clickhouse": 2,  # in the table, and in that of its materialized view
        "postgres": 1,
        "s3": 1,
        "redis": 1,
    }
    assert "residuals found" in verified.written


def test_a_csv_is_verified_as_its_batch_is(verified: Verified) -> None:
    assert verified.by_csv.code == ExitCode.FAILED, verified.by_csv.stderr
    found = _by_store(verified.by_csv.json["residuals"])
    assert {store for store, count in found.items() if count} >= {"s3", "redis"}, "by their ids alone"


def test_people_whom_no_store_knows_are_proven_to_be_nowhere(verified: Verified) -> None:
    assert verified.nobody.code in (ExitCode.ERASED, ExitCode.WARNED), verified.nobody.stderr
    assert verified.nobody.json["residuals"] == {}
    assert {scan["store"] for scan in verified.nobody.json["scans"] if scan["records"]} >= set(STORES)


def test_the_cost_is_reckoned_before_anything_is_read(verified: Verified) -> None:
    report = verified.estimated.json
    assert (verified.estimated.code, report["scans"]) == (ExitCode.ERASED, []), verified.estimated.stderr
    assert {store for store, cost in report["estimates"].items() if cost["records"] > 0} >= set(STORES)
    assert all(cost["seconds"] >= 0 and cost["basis"] for cost in report["estimates"].values())


def test_the_platform_knows_nobody_but_whom_its_cache_still_has(verified: Verified) -> None:
    access, people = verified.broken.json["access"], len(verified.bench.platform.sample)
    assert (access["asked"], access["refused"], access["known"]) == (people, people - 1, 1)
    assert (access["listed"], access["not_proven"]) == (0, [])
    assert verified.broken.json["residuals"]["platform API"] == 1
    assert not any(place.startswith("platform API") for place in verified.erased.json["verification"]["residuals"])


def test_a_batch_whose_identities_are_destroyed_is_verified_by_its_csv(verified: Verified) -> None:
    assert verified.shredded.code == ExitCode.BAD_INPUT
    assert "verify ids.csv" in verified.shredded.stderr


def test_nothing_that_temporal_keeps_of_a_verification_names_a_person(verified: Verified) -> None:
    assert {"scan_postgres", "Residuals in redis"} <= set(verified.kept), "payloads are searched as well"
    assert leaks([*verified.kept, verified.written], verified.bench.platform.people) == []
