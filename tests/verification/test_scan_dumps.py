"""What the scan of dumps finds in files of folders and objects of S3."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError

from activities.errors import CriticalError
from activities.object_storage import s3_client
from activities.verification.contract import Scan, Scope
from activities.verification.data_map import VerificationMap
from activities.verification.scanners.dumps import KIND, DumpsScanner
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings
from tests.stores.s3_bucket import Bucket, own_bucket
from tests.verification.scans import NEIGHBOURS, assert_shows_nobody, found, not_proven, scan

PAYMENTS = b"""COPY public.payments (id, payee_email, worker_id) FROM stdin;
1\tann.lee@x.io\tw-1
2\t\\N\t12
\\.
"""


@pytest.fixture
async def bucket(stack: HasEnv) -> AsyncIterator[Bucket]:
    async with (
        s3_client(s3_settings(stack)) as client,
        own_bucket(client, "minio", "plain", lambda *_: None) as made,
    ):
        yield made


async def scanned(bucket: Bucket, *locations: str) -> Scan:
    """A scan of locations, as the data map names them."""
    data_map = VerificationMap.model_validate({"dumps": locations})
    return await scan("dumps", DumpsScanner(bucket.client), Scope("catalogue", KIND.mapped(data_map)))


async def test_identities_are_found_in_dumps_however_they_are_packed(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "daily" / "deep").mkdir(parents=True)
    (tmp_path / "daily" / "db.sql.gz").write_bytes(gzip.compress(PAYMENTS))
    (tmp_path / "daily" / "deep" / "users.csv.zst").write_bytes(zstandard.compress(b"id,mail\n1,BOB@x.io\n"))
    (tmp_path / "daily" / "plain.json").write_text('{"who": "w-471100"}')
    (tmp_path / "daily" / "bob@x.io.txt").write_text("x")
    (tmp_path / "daily" / "others.txt").write_text("\n".join(NEIGHBOURS))
    (tmp_path / "sealed.dump").write_bytes(b"PGDMP\x01\x0e" + secrets.token_bytes(99))
    (tmp_path / "clean.csv").write_text("id,mail\n1,x@y.io\n")
    (tmp_path / "elsewhere.txt").write_text("bob@x.io")
    await bucket.put("exports/2024/a.sql.gz", gzip.compress(b"c-1\n"))
    await bucket.put("exports/2024/a.txt", b"c-1\n")
    await bucket.put("other/a.sql.gz", gzip.compress(b"c-1\n"))
    daily, in_s3 = f"file://{tmp_path}/daily/", f"s3://{bucket.name}/exports/*.gz"
    sealed, clean, none = f"file://{tmp_path}/*.dump", f"file://{tmp_path}/clean.csv", f"file://{tmp_path}/none/"
    result = await scanned(bucket, daily, in_s3, sealed, clean, none, "s3://no-such-bucket-anywhere/")
    assert found(result) == {
        f"{daily} (db.sql.gz)": {"email": 1},
        f"{daily} (db.sql.gz): public.payments.payee_email": {"email": 1},
        f"{daily} (db.sql.gz): public.payments.worker_id": {"contributor_id": 1},
        f"{daily} (users.csv.zst)": {"email": 1},
        f"{daily} (plain.json)": {"worker_id": 1},
        f"{daily} (*)": {"email": 1},
        f"{in_s3} (a.sql.gz)": {"contributor_id": 1},
    }
    assert result.proven == [clean]
    left = not_proven(result)
    assert left[f"{sealed} (sealed.dump)"] == ["files whose content nobody can read (pg_dump's custom format): 1"]
    assert left[none] == ["cannot be listed (No such file or directory)"]
    assert left["s3://no-such-bucket-anywhere/"] == ["cannot be listed (NoSuchBucket)"]
    assert_shows_nobody(result)


async def test_a_scan_of_no_file_is_an_error(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(CriticalError, match="no place within the scope"):
        await scanned(bucket, f"file://{tmp_path}/*.sql")


def test_a_location_is_s3_or_a_file() -> None:
    for wrong in ("exports/", "file://host/x", "s3://X/", "http://x/y"):
        with pytest.raises(ValidationError, match=r"has to be s3://bucket/prefix or file:///folder/"):
            VerificationMap.model_validate({"dumps": [wrong]})
