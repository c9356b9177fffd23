"""The keys that sign certificates, in the vault on the real S3 server."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from activities.object_storage import s3_client
from activities.vault import MasterKey, Vault, VaultTamperedError
from activities.vault.signing import SigningKeys, key_id
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.fixture
async def s3(stack: HasEnv) -> AsyncIterator[S3Client]:
    async with s3_client(s3_settings(stack)) as client:
        yield client


@pytest.fixture
def bucket(stack: HasEnv) -> str:
    return stack.env["ERASURE_VAULT__BUCKET"]


@pytest.fixture
def master() -> MasterKey:
    return MasterKey(secrets.token_bytes(32))


@pytest.fixture
def keys(s3: S3Client, bucket: str, master: MasterKey) -> SigningKeys:
    """The keys of a vault that has none yet."""
    return Vault(s3, bucket, master).signing


async def test_whoever_comes_first_makes_the_key_and_all_sign_with_that(keys: SigningKeys) -> None:
    assert await keys.all() == []
    made = await asyncio.gather(*(keys.current() for _ in range(4)))
    assert len({key.public for key in made}) == 1
    (kept,) = await keys.all()
    assert (kept.id, kept.number) == (made[0].id, 0)
    assert kept.id == key_id(kept.private.public_key())


async def test_a_rotation_signs_with_the_new_key_and_keeps_the_old(keys: SigningKeys) -> None:
    old = await keys.current()
    new = await keys.add(1)
    assert [key.public for key in await keys.all()] == [old.public, new.public]
    assert (await keys.current()).public == new.public != old.public
    assert (await keys.add(1)).public == new.public, "two who rotate at once make one key"


async def test_no_private_half_lies_open_and_an_altered_record_is_refused(
    keys: SigningKeys, s3: S3Client, bucket: str, master: MasterKey
) -> None:
    made, other = await keys.current(), await keys.add(1)
    path = f"signing/{master.name}/000000"
    body = await (await s3.get_object(Bucket=bucket, Key=path))["Body"].read()
    private = made.private.private_bytes_raw()
    assert private not in body
    assert private.hex() not in body.decode()
    record = json.loads(body)
    for changed in (
        {**record, "created_at": "2020-01-01T00:00:00+00:00"},
        {**record, "public": other.public},
        {**record, "key": record["key"][:-4] + "AAAA"},
        {"v": 1},
    ):
        await s3.put_object(Bucket=bucket, Key=path, Body=json.dumps(changed).encode())
        with pytest.raises(VaultTamperedError, match="000000 is not what was written"):
            await keys.all()
    await s3.put_object(Bucket=bucket, Key=path, Body=body)
    assert [key.public for key in await keys.all()] == [made.public, other.public]
    elsewhere = Vault(s3, bucket, MasterKey(secrets.token_bytes(32))).signing
    assert await elsewhere.all() == [], "another vault key has keys of its own"
