"""What every store's tests need: a vault on the real S3 server, and slices of people."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from activities.contract import Contributor, Heartbeat, Slice
from activities.settings import S3Settings, VaultSettings
from activities.vault import BatchVault, Vault
from tests.bench import HasEnv


@dataclass(frozen=True)
class People:
    """A slice that is given outright."""

    contributors: Sequence[Contributor]
    batch_id: str = "test"
    name: str = "000000"

    async def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        yield self.contributors


@pytest.fixture
def slice_of() -> Callable[..., Slice]:
    """Makes a slice of the contributors given."""
    return lambda *contributors: People(contributors)


@pytest.fixture
def beats() -> list[tuple[str, int]]:
    """Every heartbeat of the test."""
    return []


@pytest.fixture
def heartbeat(beats: list[tuple[str, int]]) -> Heartbeat:
    return lambda place, done: beats.append((place, done))


def s3_settings(stack: HasEnv) -> S3Settings:
    """The stack's S3."""
    env = stack.env
    return S3Settings(
        endpoint_url=env["ERASURE_S3__ENDPOINT_URL"],
        access_key=SecretStr(env["ERASURE_S3__ACCESS_KEY"]),
        secret_key=SecretStr(env["ERASURE_S3__SECRET_KEY"]),
        region=env["ERASURE_S3__REGION"],
    )


@pytest.fixture
async def vault(stack: HasEnv) -> AsyncIterator[BatchVault]:
    """A batch of its own in the vault's real bucket."""
    key = SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
    settings = VaultSettings(bucket=stack.env["ERASURE_VAULT__BUCKET"], key=key)
    async with Vault.connect(settings, s3_settings(stack)) as opened:
        yield await opened.create(f"test-{secrets.token_hex(6)}")
