"""The vault, on the real S3 server."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from activities.errors import CriticalError, TransientError
from activities.object_storage import s3_client
from activities.settings import S3Settings, VaultSettings
from activities.vault import PART_SIZE, BatchVault, MasterKey, Vault, VaultMissingError, VaultTamperedError
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

SECRET = "bob@x.io"


@pytest.fixture
async def s3(stack: HasEnv) -> AsyncIterator[S3Client]:
    async with s3_client(s3_settings(stack)) as client:
        yield client


@pytest.fixture
def bucket(stack: HasEnv) -> str:
    return stack.env["ERASURE_VAULT__BUCKET"]


async def keys(s3: S3Client, bucket: str, vault: BatchVault) -> list[str]:
    answer = await s3.list_objects_v2(Bucket=bucket, Prefix=f"batches/{vault.batch_id}/")
    return [entry["Key"] for entry in answer.get("Contents", [])]


async def write(vault: BatchVault, name: str, *values: str) -> None:
    async with vault.recording(name) as recording:
        for value in values:
            await recording.add("place", {"value": value})


async def read(vault: BatchVault, name: str) -> list[str]:
    return [record["value"] async for _, record in vault.records(name)]


async def test_records_come_back_as_they_were_written(vault: BatchVault) -> None:
    values = [SECRET, "", 'İ\n\t"\\', "\ud800", "x" * 1000]
    await write(vault, "some/name", *values)
    assert await read(vault, "some/name") == values


async def test_a_receipt_counts_records_by_place(vault: BatchVault) -> None:
    async with vault.recording("name") as recording:
        await recording.add("b", {})
        await recording.add("a", {})
        await recording.add("b", {})
    assert recording.receipt == await vault.receipt("name")
    assert recording.receipt is not None
    assert recording.receipt.back_up.places == {"a": 1, "b": 2}
    assert recording.receipt.back_up.records == 3


async def test_what_is_longer_than_a_part_is_split_and_joined(vault: BatchVault) -> None:
    body = os.urandom(2 * PART_SIZE + 17)
    async with vault.recording("body") as recording:
        for start in range(0, len(body), 1_000_003):
            await recording.write(body[start : start + 1_000_003])
    assert recording.receipt is not None
    assert len(recording.receipt.parts) == 3
    assert b"".join([chunk async for chunk in vault.chunks("body")]) == body


async def test_a_name_is_written_once(vault: BatchVault) -> None:
    await write(vault, "name", "first")
    await write(vault, "name", "second")
    assert await read(vault, "name") == ["first"]


async def test_a_recording_that_was_cut_leaves_no_name(vault: BatchVault) -> None:
    async def cut_recording() -> None:
        async with vault.recording("name") as recording:
            await recording.write(b"x" * (PART_SIZE + 1))
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        await cut_recording()
    assert await vault.receipt("name") is None
    assert await vault.names("") == []
    await write(vault, "name", "again")
    assert await read(vault, "name") == ["again"]


async def test_names_are_listed_below_a_prefix(vault: BatchVault) -> None:
    for name in ("pre-image/s3/000001", "pre-image/s3/000000", "csv"):
        await write(vault, name, "x")
    assert await vault.names("pre-image/") == ["pre-image/s3/000000", "pre-image/s3/000001"]


async def test_no_object_holds_plain_text(vault: BatchVault, s3: S3Client, bucket: str) -> None:
    await write(vault, "csv", SECRET)
    for key in await keys(s3, bucket, vault):
        answer = await s3.get_object(Bucket=bucket, Key=key)
        assert SECRET.encode() not in await answer["Body"].read()
        assert SECRET not in key


async def test_a_missing_name_is_named(vault: BatchVault) -> None:
    with pytest.raises(VaultMissingError, match="pre-image/redis/all"):
        await read(vault, "pre-image/redis/all")


async def test_an_object_cannot_stand_in_for_another(vault: BatchVault, s3: S3Client, bucket: str) -> None:
    await write(vault, "one", "1")
    await write(vault, "two", "2")
    base = f"batches/{vault.batch_id}"
    await s3.copy_object(Bucket=bucket, Key=f"{base}/one/index", CopySource=f"{bucket}/{base}/two/index")
    with pytest.raises(VaultTamperedError, match="one/index"):
        await read(vault, "one")


async def test_an_altered_or_missing_part_is_found(vault: BatchVault, s3: S3Client, bucket: str) -> None:
    await write(vault, "name", "value")
    (part,) = [key for key in await keys(s3, bucket, vault) if "/name/" in key and not key.endswith("index")]
    sealed = bytearray(await (await s3.get_object(Bucket=bucket, Key=part))["Body"].read())
    sealed[-1] ^= 1
    await s3.put_object(Bucket=bucket, Key=part, Body=bytes(sealed))
    with pytest.raises(VaultTamperedError):
        await read(vault, "name")
    await s3.delete_object(Bucket=bucket, Key=part)
    with pytest.raises(VaultMissingError):
        await read(vault, "name")


async def test_two_callers_who_create_a_batch_get_the_same_key(bucket: str, s3: S3Client) -> None:
    opened = Vault(s3, bucket, MasterKey(b"m" * 32))
    name = f"test-{secrets.token_hex(6)}"
    one, other = await opened.create(name), await opened.create(name)
    assert one.masker.token("x") == other.masker.token("x") == (await opened.open(name)).masker.token("x")


async def test_another_master_key_does_not_open_a_batch(bucket: str, s3: S3Client) -> None:
    name = f"test-{secrets.token_hex(6)}"
    await Vault(s3, bucket, MasterKey(b"m" * 32)).create(name)
    with pytest.raises(VaultTamperedError, match="ERASURE_VAULT__KEY"):
        await Vault(s3, bucket, MasterKey(b"n" * 32)).open(name)


async def test_the_same_content_names_the_same_batch_only_under_the_same_key(bucket: str, s3: S3Client) -> None:
    one, other = Vault(s3, bucket, MasterKey(b"m" * 32)), Vault(s3, bucket, MasterKey(b"n" * 32))
    assert await one.name_batch(b"digest") == await one.name_batch(b"digest") != await other.name_batch(b"digest")


async def test_a_probe_leaves_nothing_behind(bucket: str, s3: S3Client) -> None:
    await Vault(s3, bucket, MasterKey(b"m" * 32)).probe()
    assert "Contents" not in await s3.list_objects_v2(Bucket=bucket, Prefix="probe/")


async def test_a_missing_bucket_is_critical(s3: S3Client) -> None:
    with pytest.raises(CriticalError, match="bucket does not exist"):
        await Vault(s3, "no-such-bucket", MasterKey(b"m" * 32)).probe()


async def test_wrong_credentials_are_critical(stack: HasEnv, bucket: str) -> None:
    endpoint = s3_settings(stack).endpoint_url
    settings = S3Settings(endpoint_url=endpoint, access_key=SecretStr("nobody"), secret_key=SecretStr("wrong-secret"))
    async with s3_client(settings) as client:
        with pytest.raises(CriticalError, match="access"):
            await Vault(client, bucket, MasterKey(b"m" * 32)).probe()


async def test_an_unreachable_server_is_transient() -> None:
    platform = S3Settings(endpoint_url="http://127.0.0.1:9", access_key=SecretStr("a"), secret_key=SecretStr("b"))
    settings = VaultSettings(bucket="vault", key=SecretStr(base64.b64encode(b"m" * 32).decode()))
    async with Vault.connect(settings, platform) as opened:
        with pytest.raises(TransientError, match="cannot reach S3"):
            await opened.probe()


async def test_a_vault_knows_its_room_by_its_quota_alone(s3: S3Client) -> None:
    name = f"vault-{secrets.token_hex(6)}"
    await s3.create_bucket(Bucket=name)
    await s3.put_object(Bucket=name, Key="archive/some", Body=b"x" * 1000)
    assert await Vault(s3, name, MasterKey(b"m" * 32)).room() is None, "S3 tells nobody"
    roomy = Vault(s3, name, MasterKey(b"m" * 32), quota=1_500)
    assert await roomy.room() == 500
    await roomy.probe()
    with pytest.raises(CriticalError, match="holds 100 bytes more than ERASURE_VAULT__QUOTA allows"):
        await Vault(s3, name, MasterKey(b"m" * 32), quota=900).probe()


async def test_the_batches_that_were_reported_last_come_first(s3: S3Client) -> None:
    name = f"vault-{secrets.token_hex(6)}"
    await s3.create_bucket(Bucket=name)
    vaults = Vault(s3, name, MasterKey(b"m" * 32))
    assert await vaults.reported(5) == []
    for batch_id, kept in (
        ("a", "report/000000"),
        ("b", "report/000000"),
        ("c", "certificate/0"),
        ("a", "report/000001"),
    ):
        await write(await vaults.archive(batch_id), kept, "counts")
        await asyncio.sleep(0.05)
    assert await vaults.reported(5) == ["a", "b"]
    assert await vaults.reported(1) == ["a"]


@pytest.fixture
async def whole(stack: HasEnv, bucket: str) -> AsyncIterator[Vault]:
    """A vault under a master key of its own, in the real bucket."""
    settings = VaultSettings(bucket=bucket, key=SecretStr(base64.b64encode(secrets.token_bytes(32)).decode()))
    async with Vault.connect(settings, s3_settings(stack)) as opened:
        yield opened


async def test_a_back_up_is_verified_with_all_that_lies_below_it(vault: BatchVault) -> None:
    async with vault.recording("pre-image/s3/000000") as recording:
        await recording.add("place", {"value": SECRET})
    await write(vault, "pre-image/s3/000000/body/x", "body")
    assert recording.receipt is not None
    await vault.verify("pre-image/s3/000000", recording.receipt.digest)
    with pytest.raises(VaultTamperedError):
        await vault.verify("pre-image/s3/000000", "0" * 64)
    with pytest.raises(VaultMissingError):
        await vault.verify("pre-image/s3/000001", recording.receipt.digest)


@pytest.mark.parametrize("below", ["pre-image/s3/000000/", "pre-image/s3/000000/body/x/"])
async def test_verifying_finds_a_part_that_is_gone(s3: S3Client, bucket: str, vault: BatchVault, below: str) -> None:
    async with vault.recording("pre-image/s3/000000") as recording:
        await recording.add("place", {"value": SECRET})
    await write(vault, "pre-image/s3/000000/body/x", "body")
    root = f"batches/{vault.batch_id}/{below}"
    (part,) = [
        key
        for key in await keys(s3, bucket, vault)
        if key.startswith(root) and "/" not in key.removeprefix(root) and not key.endswith("index")
    ]
    await s3.delete_object(Bucket=bucket, Key=part)
    assert recording.receipt is not None
    with pytest.raises(VaultMissingError):
        await vault.verify("pre-image/s3/000000", recording.receipt.digest)


async def test_after_shredding_no_version_is_left_and_even_a_copy_of_the_bucket_cannot_be_opened(
    s3: S3Client, bucket: str, whole: Vault
) -> None:
    batch = await whole.create(f"test-{secrets.token_hex(6)}")
    for number in range(3):
        await write(batch, f"pre-image/{number}", SECRET)
    archive = await whole.archive(batch.batch_id)
    await write(archive, "report/000000", "counts")
    copies = {
        key: await (await s3.get_object(Bucket=bucket, Key=key))["Body"].read()
        for key in await keys(s3, bucket, batch)
        if not key.endswith("/key")
    }
    assert len(copies) == 6

    assert await whole.shred(batch.batch_id) == 7

    versions = await s3.list_object_versions(Bucket=bucket, Prefix=f"batches/{batch.batch_id}/")
    assert not versions.get("Versions")
    assert not versions.get("DeleteMarkers")
    with pytest.raises(VaultMissingError):
        await whole.open(batch.batch_id)
    # somebody kept a copy of every sealed object, and the master key: a new key of the same batch opens none
    for key, body in copies.items():
        await s3.put_object(Bucket=bucket, Key=key, Body=body)
    again = await whole.create(batch.batch_id)
    for number in range(3):
        with pytest.raises(VaultTamperedError):
            await read(again, f"pre-image/{number}")
    assert await read(await whole.archive(batch.batch_id), "report/000000") == ["counts"], "reports outlive the key"
    await whole.shred(batch.batch_id)
    assert await whole.shred(batch.batch_id) == 0, "a second time finds nothing"


async def test_a_key_that_cannot_be_destroyed_is_no_success(stack: HasEnv) -> None:
    name = f"vault-{secrets.token_hex(6)}"
    settings = VaultSettings(bucket=name, key=SecretStr(base64.b64encode(secrets.token_bytes(32)).decode()))
    async with s3_client(s3_settings(stack)) as s3, Vault.connect(settings, s3_settings(stack)) as vaults:
        await s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        batch = await vaults.create("locked")
        await s3.put_object_legal_hold(Bucket=name, Key="batches/locked/key", LegalHold={"Status": "ON"})
        with pytest.raises(CriticalError, match="1 versions cannot be deleted"):
            await vaults.shred("locked")
        key = (await s3.list_object_versions(Bucket=name, Prefix="batches/locked/key"))["Versions"][0]["VersionId"]
        await s3.put_object_legal_hold(
            Bucket=name, Key="batches/locked/key", VersionId=key, LegalHold={"Status": "OFF"}
        )
        assert await vaults.shred("locked") == 1
        assert batch.batch_id == "locked"
