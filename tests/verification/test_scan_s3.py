"""What the scan of S3 finds that no data map names, on two real servers: each test has a bucket of its own."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import io
import json
import secrets
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore import UNSIGNED

from activities.errors import TransientError
from activities.messages import Depth
from activities.object_storage import s3_client
from activities.stores.s3.data_map import S3Map
from activities.verification.contract import Scan, Scope
from activities.verification.scanners.s3 import KIND
from activities.verification.scanners.s3.places import SMALL
from activities.verification.scanners.s3.scanner import S3Scanner
from devstack.toxiproxy import Toxiproxy
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings
from tests.stores.s3_bucket import Bucket, on, own_bucket
from tests.verification.scans import NEIGHBOURS, assert_shows_nobody, found, not_proven, scan

MAIL = {"email": 1}


@pytest.fixture
async def bucket(stack: HasEnv, request: pytest.FixtureRequest) -> AsyncIterator[Bucket]:
    """A bucket of the test's own."""
    server, state = request.param
    settings = s3_settings(stack if server == "minio" else request.getfixturevalue("versitygw"))
    async with s3_client(settings) as client, own_bucket(client, server, state, lambda *_: None) as made:
        yield made


async def scanned(bucket: Bucket, depth: Depth, *prefixes: str) -> Scan:
    """A scan of the bucket, or of prefixes of it, and of no other one."""
    mapped = [f"s3://{bucket.name}/{prefix}" for prefix in prefixes or ("files/",)]
    return await scan("s3", S3Scanner(bucket.client), Scope(depth, mapped, [f"s3 s3://{bucket.name}/*"]))


def here(bucket: Bucket, result: Scan) -> dict[str, dict[str, int]]:
    """What was found, without the bucket's name."""
    return {place.removeprefix(f"s3://{bucket.name}/"): kinds for place, kinds in found(result).items()}


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return packed.getvalue()


@on(("minio", "plain"), ("versitygw", "plain"))
async def test_identities_are_found_in_names_metadata_tags_and_bodies_and_neighbours_are_not(bucket: Bucket) -> None:
    split = b"lorem ipsum " * 21_844 + b"bob@x.io" + b" dolor" * 100
    await asyncio.gather(
        bucket.put("body/a.txt", b"wrote to ANN.LEE@x.io."),
        bucket.put("chunks/b.txt", split),
        bucket.put("solid/b.bin", b"\xff" * (256 * 1024 - 3) + b"|bob@x.io|" + b"\xff" * 300_000),
        bucket.put("wide/c.csv", codecs.BOM_UTF16_LE + "id;mail\nx;bob@x.io\n".encode("utf-16-le")),
        bucket.put("narrow/d.csv", "id;mail\nx;bob@x.io\n".encode("utf-16-le")),
        bucket.put("latin/e.txt", "Müller bob@x.io".encode("latin-1")),
        bucket.put("packed/f.json.gz", gzip.compress(b'{"worker": "w-471100"}') + gzip.compress(b"bob@x.io")),
        bucket.put(
            "zip/g.zip", zipped(**{"x.txt": b"nothing", "in/y.txt": b"y: bob@x.io", "z.gz": gzip.compress(b"c-1")})
        ),
        bucket.put("table/h.csv", b"n,contributor_id,score\n12,13,14\n1,12,3\n"),
        bucket.put("tree/i.json", b'{"a": [\n {"worker_id": 12,\n "n": 3}]}'),
        bucket.put("lines/j.ndjson", b'{"n": 1}\n{"userId": "12", "n": 3}\n'),
        bucket.put("said/k.bin", b"x", Metadata={"uploaded-by": "bob@x.io"}),
        bucket.put("tagged/l.bin", b"x", Tagging="owner=c-1"),
        bucket.put("called/m.bin", b"x", ContentDisposition='attachment; filename="w-471100.pdf"'),
        bucket.put("users/12.png", b"x"),
        bucket.put("named/c-1/x/face.png", b"x"),
        bucket.put("letters/bob@x.io/1.eml", b"x"),
        bucket.put("empty/n", b""),
        bucket.put("numbers/2024/12/o.txt", b"12 of 112"),
        *(bucket.put(f"others/{number}.txt", value.encode()) for number, value in enumerate(NEIGHBOURS)),
        *(bucket.put(f"others/{value}.png", b"x", Metadata={"by": value}) for value in NEIGHBOURS),
    )
    result = await scanned(bucket, "catalogue")
    assert here(bucket, result) == {
        "body/": MAIL,
        "chunks/": MAIL,
        "solid/": MAIL,
        "wide/": MAIL,
        "narrow/": MAIL,
        "latin/": MAIL,
        "packed/": {"worker_id": 1, "email": 1},
        "zip/": {"email": 1, "contributor_id": 1},
        "table/": {"contributor_id": 1},
        "tree/": {"contributor_id": 1},
        "lines/": {"contributor_id": 1},
        "said/": MAIL,
        "tagged/": {"contributor_id": 1},
        "called/": {"worker_id": 1},
        "users/": {"contributor_id": 1},
        "named/*/x/": {"contributor_id": 1},
        "letters/*/": MAIL,
    }
    assert result.records == 19 + 2 * len(NEIGHBOURS)
    assert_shows_nobody(result)
    assert not any("erasure-canary" in key for key in await bucket.there())


@on(("minio", "Enabled"), ("versitygw", "Enabled"))
async def test_what_lies_behind_delete_markers_is_no_residual_but_named(bucket: Bucket) -> None:
    await bucket.put("files/c-1/a.txt", b"bob@x.io")
    await bucket.put("files/b.txt", b"bob@x.io")
    await bucket.put("files/b.txt", b"masked")
    await bucket.client.delete_object(Bucket=bucket.name, Key="files/c-1/a.txt")
    result = await scanned(bucket, "catalogue")
    assert result.residuals == []
    place = f"s3://{bucket.name}/ (versions)"
    assert not_proven(result)[place] == [
        "versions behind newer ones or delete markers: 2",
        "old versions and delete markers whose names hold an identity: 2",
    ]
    result = await scanned(bucket, "deep")
    assert result.residuals == []
    assert not_proven(result)[place][0] == (
        "versions behind newer ones or delete markers: 2; 2 of them hold an identity"
    )
    assert set(await bucket.versions()) == {"files/c-1/a.txt", "files/b.txt"}, "no version of the canary stayed"
    assert_shows_nobody(result)


@on(("minio", "plain"))
async def test_long_bodies_are_read_at_depth_deep_only_and_sealed_ones_are_named(bucket: Bucket) -> None:
    long = b"lorem ipsum " * (SMALL // 12 + 1)
    await bucket.put("long/a.txt", long + b"bob@x.io", Metadata={"by": "c-1"}, Tagging="mail=bob@x.io")
    await bucket.put("long/b.gz", gzip.compress(secrets.token_bytes(SMALL) + b" bob@x.io"))
    await bucket.put("odd/c.pdf", b"%PDF-1.7 ...")
    await bucket.put("odd/d.gz", gzip.compress(b"x" * 1000)[:20])
    at = f"s3://{bucket.name}/"
    result = await scanned(bucket, "catalogue")
    assert here(bucket, result) == {"long/": {"contributor_id": 1, "email": 1}}
    left = not_proven(result)
    assert left[f"{at}long/"] == ["objects over 1 MiB, of which only name, metadata and tags were read: 2"]
    assert sorted(left[f"{at}odd/"]) == [
        "objects whose content nobody can read (PDF): 1",
        "objects whose content nobody can read (gzip that is cut off): 1",
    ]
    assert result.proven == []
    assert here(bucket, await scanned(bucket, "deep")) == {"long/": {"contributor_id": 1, "email": 2}}


@on(("minio", "plain"), ("versitygw", "plain"))
async def test_at_depth_mapped_only_the_prefixes_of_the_data_map_are_read(bucket: Bucket) -> None:
    await bucket.put("files/c-1/a.txt", b"x")
    await bucket.put("elsewhere/c-1/a.txt", b"x")
    await bucket.put("avatars/x.png", b"x")
    result = await scanned(bucket, "mapped", "files/", "avatars/", "files/below/")
    assert here(bucket, result) == {"files/*/": {"contributor_id": 1}}
    assert result.proven == [f"s3://{bucket.name}/avatars/"]
    assert f"s3://{bucket.name}/" in not_proven(result)
    objects = ["s3://bbb/files/{contributor_id}/", "s3://bbb/a*/{email}.png"]
    content = [{"objects": "s3://bbb/notes/*.txt", "holds": ["email"], "then": "delete"}]
    assert KIND.mapped(S3Map.model_validate({"objects": objects, "content": content})) == [
        "s3://bbb/files/",
        "s3://bbb/a",
        "s3://bbb/notes/",
    ]


@on(("versitygw", "plain"))
async def test_other_buckets_are_named_or_read_but_never_the_vault(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bucket.put("files/a.txt", b"x")
    async with (
        own_bucket(bucket.client, "versitygw", "plain", bucket.heartbeat) as other,
        own_bucket(bucket.client, "versitygw", "plain", bucket.heartbeat) as vault,
    ):
        for each in (other, vault):
            await each.put("c-1", b"x")
        monkeypatch.setenv("ERASURE_VAULT__BUCKET", vault.name)
        monkeypatch.setenv("ERASURE_VAULT__KEY", "A" * 43 + "=")
        for depth in ("catalogue", "deep"):
            scope = Scope(
                depth, [f"s3://{bucket.name}/files/"], [f"s3 s3://{name}/" for name in (bucket.name, other.name)]
            )
            result = await scan("s3", S3Scanner(bucket.client), scope)
            left = not_proven(result)
            assert left[f"s3://{vault.name}/"] == ["the vault is encrypted, and is not read"]
            named = [what for what in left.get("s3", []) if "does not name" in what and f"s3://{other.name}/" in what]
            assert len(named) == (depth == "catalogue")
            assert found(result) == ({} if depth == "catalogue" else {f"s3://{other.name}/": {"contributor_id": 1}})


@on(("minio", "plain"))
async def test_what_may_not_be_read_is_not_proven(bucket: Bucket) -> None:
    """Whoever asks without a key may list the bucket, and read and plant where its policy says so."""
    await bucket.put("open/a.txt", b"x")
    await bucket.put("closed/b.txt", b"bob@x.io")
    await bucket.put("closed/c-1.txt", b"x")
    at = f"arn:aws:s3:::{bucket.name}"
    rights = {
        at: ["s3:ListBucket"],
        f"{at}/open/*": ["s3:GetObject"],
        f"{at}/erasure-canary-*": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
    }
    allowed = [
        {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": resource}
        for resource, actions in rights.items()
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    await bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)
    config = AioConfig(signature_version=UNSIGNED, s3={"addressing_style": "path"})
    url = bucket.client.meta.endpoint_url
    async with aioboto3.Session().client("s3", endpoint_url=url, region_name="us-east-1", config=config) as client:
        result = await scanned(replace(bucket, client=client), "catalogue")
    assert here(bucket, result) == {"closed/": {"contributor_id": 1}}
    left = not_proven(result)
    assert left[f"s3://{bucket.name}/closed/"] == [
        "objects that could not be read, or not to their end (AccessDenied): 2"
    ]
    assert left[f"s3://{bucket.name}/ (tags)"] == ["cannot be read (AccessDenied)"]
    assert left[f"s3://{bucket.name}/ (unfinished uploads)"] == ["cannot be listed (AccessDenied)"]
    assert result.proven == []
    assert "erasure-canary" not in str(await bucket.there())


@on(("minio", "plain"))
async def test_a_body_that_is_cut_off_is_not_proven_and_a_server_that_only_fails_is_an_error(
    bucket: Bucket, stack: HasEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bucket.put("long/a.txt", secrets.token_bytes(900_000))
    await bucket.put("short/b.txt", b"bob@x.io")
    settings = s3_settings(stack)
    server = Toxiproxy(tmp_path, tied=True)
    server.fetch()
    server.start()
    try:
        proxy = server.proxy("s3", (settings.endpoint_url or "").removeprefix("http://"))
        proxy.add("limit_data", {"bytes": 300_000})
        through = settings.model_copy(update={"endpoint_url": f"http://{proxy.address}"})
        async with s3_client(through) as client:
            proxied = replace(bucket, client=client)
            result = await scanned(proxied, "catalogue")
            assert here(bucket, result) == {"short/": {"email": 1}}
            assert not_proven(result)[f"s3://{bucket.name}/long/"] == [
                "objects that could not be read, or not to their end (cut off): 1"
            ]
            monkeypatch.setattr("activities.verification.scanners.s3.objects.IN_A_ROW", 1)  # instead of twenty objects
            with pytest.raises(TransientError, match="cannot reach S3"):
                await scanned(proxied, "catalogue")
    finally:
        server.stop()


@on(("minio", "plain"))
async def test_what_was_planted_goes_also_where_a_scan_was_cut_off(bucket: Bucket) -> None:
    await bucket.put("files/a.txt", b"x")
    scope = Scope("catalogue", [f"s3://{bucket.name}/files/"], [f"s3 s3://{bucket.name}/*"])
    word = f"canary-{secrets.token_hex(8)}"
    cut_off = S3Scanner(bucket.client).planted(word)
    await cut_off.__aenter__()
    scanner = S3Scanner(bucket.client)
    async with scanner.planted(word) as place:
        await bucket.put(f"{place.rpartition('-')[0]}-1", word.encode())
        places = (await scanner.catalogue(scope)).places
        assert [each.name for each in places] == [f"s3://{bucket.name}/", place]
        assert sorted(await bucket.there()) == sorted([place, "files/a.txt"])
    assert list(await bucket.there()) == ["files/a.txt"]
