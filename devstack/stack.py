"""The stack: all servers together, started at the same time and ended together."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from activities.object_storage import s3_client
from activities.settings import S3Settings
from devstack.clickhouse import ClickHouse
from devstack.elasticsearch import Elasticsearch
from devstack.platform_api import PlatformApi
from devstack.postgres import Postgres
from devstack.process import Server
from devstack.s3 import Minio
from devstack.temporal import Temporal
from devstack.valkey import Valkey

VAULT = "erasure-vault"


class Stack:
    """Seven real servers on free ports of the loopback interface.

    Args:
        folder: For everything they keep; a stack's own.
        tied: Whether they end with this process, however it ends.
    """

    def __init__(self, folder: Path, *, tied: bool = True) -> None:
        self.folder = folder
        self.temporal = Temporal(folder / "temporal", tied=tied)
        self.elasticsearch = Elasticsearch(folder / "elasticsearch", tied=tied)
        self.clickhouse = ClickHouse(folder / "clickhouse", tied=tied)
        self.postgres = Postgres(folder / "postgres", tied=tied)
        self.s3 = Minio(folder / "minio", tied=tied)
        self.valkey = Valkey(folder / "valkey", tied=tied)
        self.platform_api = PlatformApi(folder / "platform-api", {**self.postgres.env, **self.valkey.env}, tied=tied)
        self._vault_key = base64.b64encode(secrets.token_bytes(32)).decode()

    @property
    def servers(self) -> list[Server]:
        """The servers: the one that needs others, then the slowest to start first."""
        stores = [self.elasticsearch, self.temporal, self.clickhouse, self.postgres, self.s3, self.valkey]
        return [self.platform_api, *stores]

    @property
    def env(self) -> dict[str, str]:
        """How the product reaches everything."""
        env = {"ERASURE_VAULT__BUCKET": VAULT, "ERASURE_VAULT__KEY": self._vault_key}
        for server in self.servers:
            env |= server.env
        return env

    def fetch(self) -> None:
        """Puts every program into the cache, one after the other: builds need memory.

        Raises:
            StackError: A tool is missing, or a build failed.
        """
        for server in self.servers:
            server.fetch()

    def start(self) -> None:
        """Starts every server, waits until all answer, and makes the vault's bucket.

        Raises:
            StackError: One cannot be fetched or started; none is left running.
        """
        self.fetch()
        try:
            for server in self.servers:
                server.spawn()
            for server in reversed(self.servers):
                server.wait()
            asyncio.run(_make_vault(self.s3.env))
        except BaseException:  # a Ctrl-C too: no server is left running; it is raised again
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every server, all at the same time."""
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


async def _make_vault(env: Mapping[str, str]) -> None:
    settings = S3Settings(
        endpoint_url=env["ERASURE_S3__ENDPOINT_URL"],
        access_key=env["ERASURE_S3__ACCESS_KEY"],
        secret_key=env["ERASURE_S3__SECRET_KEY"],
    )
    async with s3_client(settings) as client:
        await client.create_bucket(Bucket=VAULT)
        await client.put_bucket_versioning(Bucket=VAULT, VersioningConfiguration={"Status": "Enabled"})
