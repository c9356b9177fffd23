"""A vault whose batch keys are wrapped by a key that never leaves its service, on a real one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from activities.errors import CriticalError, TransientError
from activities.object_storage import aws_client
from activities.settings import S3Settings, VaultSettings
from activities.vault import Vault, VaultMissingError, VaultTamperedError
from devstack.kms import Kms
from tests.bench import HasEnv
from tests.stores.conftest import s3_settings


@dataclass(frozen=True)
class Service:
    """A key management service, and how vaults are opened whose keys it wraps."""

    server: Kms
    bucket: str
    s3: S3Settings

    @property
    def url(self) -> str:
        return self.server.env["ERASURE_VAULT__KMS_ENDPOINT_URL"]

    async def make_key(self) -> str:
        async with aws_client("kms", self.s3.model_copy(update={"endpoint_url": self.url})) as client:
            key_id: str = (await client.create_key())["KeyMetadata"]["KeyId"]
            return key_id

    def vault(self, key_id: str) -> AbstractAsyncContextManager[Vault]:
        settings = VaultSettings(
            bucket=self.bucket,
            kms_key_id=key_id,
            kms_endpoint_url=self.url,
            endpoint_url=self.s3.endpoint_url,
            access_key=self.s3.access_key,
            secret_key=self.s3.secret_key,
        )
        return Vault.connect(settings, self.s3)


@pytest.fixture
async def service(stack: HasEnv, tmp_path: Path) -> AsyncIterator[Service]:
    server = Kms(tmp_path / "kms", tied=True)
    try:
        await asyncio.to_thread(server.start)
        yield Service(server, stack.env["ERASURE_VAULT__BUCKET"], s3_settings(stack))
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_batch_key_is_wrapped_by_the_service_and_gone_after_shredding(service: Service) -> None:
    batch_id = f"test-{secrets.token_hex(6)}"
    key_id = await service.make_key()
    async with service.vault(key_id) as one, service.vault(key_id) as other:
        await one.probe()
        made = await one.create(batch_id)
        async with made.recording("pre-image/one") as recording:
            await recording.add("place", {"value": "bob@x.io"})
        again = await other.open(batch_id)
        assert [record async for record in again.records("pre-image/one")] == [("place", {"value": "bob@x.io"})]
        assert await one.name_batch(b"digest") == await other.name_batch(b"digest")
        async with (await one.archive(batch_id)).recording("report") as recording:
            await recording.add("report", {"outcome": "erased"})
        await one.shred(batch_id)
        with pytest.raises(VaultMissingError):
            await other.open(batch_id)
        archive = await other.archive(batch_id)
        assert [record async for record in archive.records("report")] == [("report", {"outcome": "erased"})]


async def test_a_wrapped_key_opens_no_other_batch_and_under_no_other_key(service: Service) -> None:
    one, other = f"test-{secrets.token_hex(6)}", f"test-{secrets.token_hex(6)}"
    key_id = await service.make_key()
    async with service.vault(key_id) as vault, aws_client("s3", service.s3) as s3:
        await vault.create(one)
        await vault.create(other)
        source = {"Bucket": service.bucket, "Key": f"batches/{one}/key"}
        await s3.copy_object(Bucket=service.bucket, Key=f"batches/{other}/key", CopySource=source)
        with pytest.raises(VaultTamperedError, match="KMS_KEY_ID"):
            await vault.open(other)
    async with service.vault(await service.make_key()) as vault:
        with pytest.raises(VaultTamperedError, match="KMS_KEY_ID"):
            await vault.open(one)


async def test_a_service_that_refuses_or_is_gone_is_named(service: Service) -> None:
    async with service.vault("00000000-0000-0000-0000-000000000000") as vault:
        with pytest.raises(CriticalError, match=r"KMS refuses \(NotFoundException\).*ERASURE_VAULT__KMS_KEY_ID"):
            await vault.probe()
    key_id = await service.make_key()
    await asyncio.to_thread(service.server.stop)
    async with service.vault(key_id) as vault:
        with pytest.raises(TransientError, match=r"cannot reach KMS.*ERASURE_VAULT__KMS_ENDPOINT_URL"):
            await vault.probe()
