"""After shredding: who kept every object of a batch, and has everything that is left, reads none of them."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from activities import report
from activities.vault.sealing import derive
from devstack.platform import sample
from devstack.platform.clients import Clients, connect
from starter.exit_codes import ExitCode
from tests.bench import Bench, key_of, vault_of
from tests.history import leaks, recorded

Objects = Mapping[str, bytes]
"""Objects of the vault's bucket, by key."""

PURPOSES = (b"batch keys", b"batch names", b"archive", b"vault objects", b"mask tokens")
"""What the vault derives keys for."""


async def test_after_shredding_nothing_of_a_batch_can_be_decrypted_with_anything_that_is_left(bench: Bench) -> None:
    others = [person for person in bench.platform.people if person not in bench.platform.sample]
    async with bench.worker(), connect(bench.env) as clients:
        batch_id = (await bench.erase()).json["batch_id"]
        sample.write(bench.csv, others[:1])
        stays = (await bench.erase()).json["batch_id"]
        root = f"batches/{batch_id}/"
        copies = await _objects(clients, bench, root)
        wrapped = copies.pop(f"{root}key")
        assert len(copies) > 20
        assert leaks([body.decode("latin-1") for body in copies.values()], bench.platform.people) == []
        key = await _unwrapped(bench, f"{root}key", wrapped)
        assert _readable(copies, [key]) == sorted(copies), "it is read by its key"

        assert (await bench.starter("shred", batch_id)).code == ExitCode.ERASED
        await (await bench.temporal()).get_workflow_handle(batch_id).result()
        assert await _objects(clients, bench, root) == {}
        left = await _left(clients, bench, batch_id, stays)
        assert len(left) > 10
        assert _readable(copies, left) == []

        shredded = await bench.starter("report", batch_id, "--json")
        refused = await bench.starter("rollback", batch_id)
        sample.write(bench.csv, bench.platform.sample)
        again = await bench.erase()
    assert [row for row in await bench.census() if row.batch] == [], "behind delete markers neither"
    assert shredded.json["shredded"] is True
    (s3,) = [phase for phase in shredded.json["phases"] if phase["store"] == "s3"]
    assert sum(s3["purged"].values()) > 0
    assert (refused.code, "has ended" in refused.stderr) == (ExitCode.BAD_INPUT, True)
    assert (again.code, again.json["shredded"]) == (ExitCode.ERASED, True), "the same file is the same batch"


async def _objects(clients: Clients, bench: Bench, prefix: str) -> dict[str, bytes]:
    """Every object of the vault below a prefix; of none is there more than one version."""
    bucket = bench.env["ERASURE_VAULT__BUCKET"]
    found: dict[str, bytes] = {}
    async for page in clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            key = version["Key"]
            assert key not in found
            answer = await clients.s3.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
            found[key] = await answer["Body"].read()
    return found


async def _left(clients: Clients, bench: Bench, batch_id: str, other: str) -> set[bytes]:
    """Whatever may be a key: the master key, that of another batch, and every text of 32 bytes anywhere."""
    master = base64.b64decode(bench.env["ERASURE_VAULT__KEY"])
    others = await _objects(clients, bench, f"batches/{other}/key")
    texts = await recorded(await bench.temporal(), bench.env["ERASURE_TEMPORAL__TASK_QUEUE"])
    texts += [json.dumps(await report.read(await vault_of(bench.env, clients).archive(batch_id)))]
    texts += [*bench.env.values(), *(log.read_text() for log in bench.folder.glob("worker-*.log"))]
    written = {
        *(bytes.fromhex(found) for text in texts for found in re.findall(r"\b[0-9a-f]{64}\b", text)),
        *(base64.b64decode(found) for text in texts for found in re.findall(r"[A-Za-z0-9+/]{43}=", text)),
    }
    archive = derive(master, b"archive")
    return {
        *written,
        *[await _unwrapped(bench, key, body) for key, body in others.items()],
        *(derive(master, purpose) for purpose in PURPOSES),
        *(hmac.digest(archive, each.encode(), "sha256") for each in (batch_id, other)),
    }


def _readable(objects: Objects, keys: Iterable[bytes]) -> list[str]:
    """The objects that one of the keys opens, as it is or as a batch's key."""
    openers = [AESGCM(each) for key in keys for each in (key, derive(key, b"vault objects"))]
    return sorted(key for key, sealed in objects.items() if any(_opens(opener, key, sealed) for opener in openers))


def _opens(opener: AESGCM, key: str, sealed: bytes) -> bool:
    try:
        opener.decrypt(sealed[4:16], sealed[16:], key.encode())
    except InvalidTag:
        return False
    return True


async def _unwrapped(bench: Bench, key: str, record: bytes) -> bytes:
    """A batch key, by the master key."""
    return await key_of(bench.env).unwrap(base64.b64decode(json.loads(record)["key"]), key)
