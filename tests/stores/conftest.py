"""What every store's tests need: a vault on the real S3 server, and slices of people."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from activities.contract import Contributor, Heartbeat, Slice
from activities.object_storage import s3_client
from activities.settings import S3Settings, VaultSettings
from activities.stores import elasticsearch, postgres
from activities.stores.elasticsearch.connection import ElasticsearchSettings
from activities.vault import BatchVault, Vault
from tests.bench import HasEnv
from tests.stores import clickhouse_database, graves
from tests.stores.elasticsearch_cluster import ANN, Cluster
from tests.stores.postgres_schema import Database, settings_of
from tests.stores.s3_bucket import EVERYWHERE, SERVERS, Bucket, own_bucket


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


@pytest.fixture(params=EVERYWHERE, ids="-".join)
async def bucket(request: pytest.FixtureRequest, heartbeat: Heartbeat) -> AsyncIterator[Bucket]:
    """A bucket of the test's own."""
    server, state = request.param
    settings = s3_settings(request.getfixturevalue(SERVERS[server]))
    async with s3_client(settings) as client, own_bucket(client, server, state, heartbeat) as made:
        yield made


@pytest.fixture
async def vaults(stack: HasEnv) -> AsyncIterator[Vault]:
    """The vault's real bucket, under a key of its own."""
    key = SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
    settings = VaultSettings(bucket=stack.env["ERASURE_VAULT__BUCKET"], key=key)
    async with Vault.connect(settings, s3_settings(stack)) as opened:
        yield opened


@pytest.fixture
async def vault(vaults: Vault) -> BatchVault:
    """A batch of its own in it."""
    return await vaults.create(f"test-{secrets.token_hex(6)}")


@pytest.fixture(name="graves")
async def own_graves(stack: HasEnv) -> AsyncIterator[graves.Graves]:
    async with graves.dug(stack) as made:
        yield made


@pytest.fixture
async def cluster(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Cluster]:
    async with elasticsearch.connection.connect(
        ElasticsearchSettings(url=stack.env["ERASURE_ELASTICSEARCH__URL"])
    ) as client:
        cluster = Cluster(client, heartbeat)
        yield cluster
        await cluster.drop()


@pytest.fixture
def ann(slice_of: Callable[..., Slice]) -> Slice:
    return slice_of(ANN)


@pytest.fixture
async def db(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[Database]:
    async with postgres.connect(settings_of(stack)) as pool:
        database = Database(pool, f"t_{secrets.token_hex(6)}", heartbeat)
        await pool.execute(f"CREATE SCHEMA {database.schema}")
        yield database
        await pool.execute(f"DROP SCHEMA {database.schema} CASCADE")


@pytest.fixture
async def filled(db: Database) -> Database:
    await db.fill()
    return db


@pytest.fixture
async def database(stack: HasEnv, heartbeat: Heartbeat) -> AsyncIterator[clickhouse_database.Database]:
    async with clickhouse_database.database(stack.env["ERASURE_CLICKHOUSE__URL"], heartbeat) as opened:
        yield opened
