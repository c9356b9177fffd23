"""A whole batch's certificate, on the real servers: issued, continued, checked offline, and without anybody in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from activities.settings import VaultSettings
from activities.vault.keys import MasterKey
from devstack.platform.clients import connect
from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished, bare_environment, starter
from tests.history import leaks, leaves

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


async def offline(*arguments: str) -> Finished:
    """Runs a command of ``certificate`` where nothing is configured and nothing can be reached."""
    return await starter(bare_environment(), "certificate", *arguments)


async def exported(bench: Bench, batch_id: str, name: str) -> tuple[Path, dict[str, Any]]:
    """The batch's newest certificate: its file, and its body."""
    file = bench.folder / f"{name}.cert.json"
    finished = await bench.starter("certificate", "export", batch_id, "-o", str(file), "--json")
    assert finished.code == ExitCode.ERASED, finished.stderr
    body: dict[str, Any] = json.loads(file.read_bytes())["certificate"]
    assert finished.json == {"file": str(file), "number": body["number"], "batch_id": batch_id}
    return file, body


async def test_a_batchs_certificate_has_its_true_counts_is_checked_offline_and_outlives_its_keys(bench: Bench) -> None:
    held, person = bench.platform.sample[0], bench.platform.sample[1]
    bench.named_by_operators |= {held, person}
    keys = bench.folder / "keys.txt"
    first_key = (await bench.starter("keys", "init", "--json")).json[0]["public_key"]
    twice = await bench.starter("keys", "init")
    assert (twice.code, "There is a key already" in twice.stderr) == (ExitCode.BAD_INPUT, True)
    placed = await bench.starter("hold", "add", held.contributor_id, "--reason", "case 17", "--json")
    assert placed.json == {"placed": 1, "there_already": 0}
    try:
        async with bench.worker() as worker:
            report = (await bench.erase("--operator", "dana")).json
            batch_id = report["batch_id"]
            first, body = await exported(bench, batch_id, "first")
            rotated = await bench.starter("keys", "rotate")
            reason = f"{person.worker_id} asked twice, unlike {held.contributor_id}"
            await bench.starter("retry", batch_id, "--phase", "redis", "--operator", "eve", "--reason", reason)
            reason = f"as {person.worker_id} said"
            asked = await bench.starter("shred", batch_id, "--operator", "mo", "--reason", reason, "--json")
            assert (asked.code, asked.json["asked"]) == (ExitCode.ERASED, "shred"), asked.stderr
            await (await bench.temporal()).get_workflow_handle(batch_id).result()
            last, final = await exported(bench, batch_id, "last")
            keys.write_text((await bench.starter("keys", "list")).stdout)
            receipt = (await bench.starter("certificate", "key", batch_id, person.contributor_id, "--json")).json["key"]
            whole = (await bench.starter("certificate", "key", batch_id)).stdout.strip()
    finally:
        await bench.starter("hold", "remove", held.contributor_id)

    # what it says is what was done
    for store, phase in zip(body["stores"], report["phases"], strict=True):
        assert store["store"] == phase["store"]
        assert store["counts"] == {**phase["tally"], "held": 1}
        assert store["counts"]["changed"] > 0
        assert {place["place"]: place["before"] for place in store["places"] if place["before"]} == phase["before"]
        assert sum(place["after"] for place in store["places"]) == 0
    assert (body["outcome"], body["submission"]["held"], body["complete"]) == ("erased", 1, True)
    assert body["submission"]["data_map_digest"] == report["data_map_digest"]
    assert len(body["contributors"]["digests"]) == len(bench.platform.sample) - 1
    assert body["verification"]["verdict"] == "not verified"
    assert body["shredding"]["state"].startswith("not shredded")
    assert final["shredding"]["state"] == "shredded"
    assert sum(one["purged"] for one in final["shredding"]["purged"] if one["store"] == "s3") > 0

    # who, when and why, from the submission to the shredding
    told = [(event["kind"], event["who"], event["why"]) for event in final["events"]]
    assert told[0] == ("submitted", "dana", "")
    assert told[-1] == ("shredded", "", "mo asked for it")
    assert ("retry", "eve", "[withheld] asked twice, unlike [withheld]") in told
    assert ("shred", "mo", "as [withheld] said") in told
    assert [kind for kind, *_ in told].count("phase ended") == len(STORES) + 1, "redis ran twice"
    assert final["contributors"] == body["contributors"]
    assert final["submission"] == body["submission"]

    # offline: genuine under the key of then, and not under another
    for file, key in ((first, first_key), (last, rotated.stdout[:64])):
        verified = await offline("verify", str(file), "--public-key", key)
        assert verified.code == ExitCode.ERASED, verified.stdout + verified.stderr
        assert f"The certificate is genuine: batch {batch_id}, erased" in verified.stdout
        assert "not verified" in verified.stdout
    wrong = await offline("verify", str(last), "--public-key", first_key)
    assert (wrong.code, "The certificate is NOT genuine." in wrong.stdout) == (ExitCode.FAILED, True)
    assert "signature: was made with key" in wrong.stdout
    onward = await offline("verify", str(last), "--public-key", str(keys), "--extends", str(first), "--json")
    assert (onward.json["genuine"], onward.json["shredding"]) == (True, "shredded")
    back = await offline("verify", str(first), "--public-key", str(keys), "--extends", str(last), "--json")
    assert (back.code, back.json["faults"][0]["place"]) == (ExitCode.FAILED, "extends")
    altered = bench.folder / "altered"
    altered.write_bytes(last.read_bytes().replace(b'"who":"eve"', b'"who":"eva"'))
    refused = await offline("verify", str(altered), "--public-key", str(keys))
    assert refused.code == ExitCode.FAILED
    assert "(retry, " in refused.stdout
    assert "is not what was written" in refused.stdout

    # who is in it, for those alone who may ask
    for contributor_id, key, code in (
        (person.contributor_id, receipt, ExitCode.ERASED),
        (bench.platform.sample[2].contributor_id, whole, ExitCode.ERASED),
        (bench.platform.sample[2].contributor_id, receipt, ExitCode.FAILED),
        (held.contributor_id, whole, ExitCode.FAILED),
    ):
        asking = ("includes", str(last), contributor_id, "--key", key, "--public-key", str(keys), "--json")
        answer = await offline(*asking)
        assert answer.code == code, answer.stdout + answer.stderr
        assert (
            answer.json["includes"] is {ExitCode.ERASED: True, ExitCode.FAILED: None if key == receipt else False}[code]
        )
    guessed = hashlib.sha256(person.contributor_id.encode()).hexdigest()[:32]
    assert guessed not in final["contributors"]["digests"]

    # nobody
    for text in (first.read_text(), last.read_text(), worker.log.read_text(), keys.read_text()):
        assert leaks(_texts(text), bench.platform.people) == []


async def test_a_certificate_that_cannot_be_issued_holds_the_batch_until_retry_and_a_rollback_is_certified(
    bench: Bench,
) -> None:
    bucket, key = bench.env["ERASURE_VAULT__BUCKET"], _first_signing_key(bench)
    async with bench.worker(), connect(bench.env) as clients:
        await clients.s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
        stuck = await bench.erase()
        assert stuck.code == ExitCode.PARKED, stuck.stderr
        batch_id = stuck.json["batch_id"]
        shown = await bench.starter("status", batch_id)
        assert "Stuck at the stage certify" in shown.stdout
        missing = await bench.starter("certificate", "export", batch_id)
        assert (missing.code, "has no certificate" in missing.stderr) == (ExitCode.BAD_INPUT, True)
        await clients.s3.delete_object(Bucket=bucket, Key=key)
        mended = await bench.starter("retry", batch_id, "--reason", "restored", "--json")
        assert mended.code == ExitCode.ERASED, mended.stderr
        history = await (await bench.temporal()).get_workflow_handle(batch_id).fetch_history()
        again = [event for event in history.events if b"erase_redis" in event.SerializeToString()]
        assert len(again) == 1, "what is erased is not erased again"
        first, erased = await exported(bench, batch_id, "erased")
        assert ("retry", "restored") in [(event["kind"], event["why"]) for event in erased["events"]]
        rolled = await bench.starter("rollback", batch_id, "--reason", "wrong file")
        assert rolled.code == ExitCode.FAILED
        second, back = await exported(bench, batch_id, "back")
        public = (await bench.starter("keys", "list")).stdout[:64]
    assert (back["outcome"], back["complete"]) == ("rolled back", False)
    assert all(store["restored"] for store in back["stores"] if store["store"] != "redis")
    assert [event["kind"] for event in back["events"][len(erased["events"]) :]] == [
        "rollback",
        *["phase ended"] * len(STORES),
        "ended",
        "certified",
    ]
    onward = await offline("verify", str(second), "--public-key", public, "--extends", str(first))
    assert onward.code == ExitCode.ERASED, onward.stdout


def _first_signing_key(bench: Bench) -> str:
    """Where the vault keeps it, under the bench's own master key."""
    secret = SecretStr(bench.env["ERASURE_VAULT__KEY"])
    service = MasterKey(VaultSettings(bucket="vault", key=secret).master_key)
    return f"signing/{service.name}/000000"


def _texts(text: str) -> list[str]:
    """A text, and every text in it where it is JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [text, *leaves(value)]
