"""Connections and secrets, from the environment. Each store's own connection stands with the store."""

from __future__ import annotations

import base64
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the environment variable, never its value."""


class TemporalSettings(BaseSettings):
    """Where Temporal is.

    Args:
        address: Host and port of the frontend.
        namespace: The namespace that the batches run in.
        task_queue: The task queue of workflows and control activities; a store's is ``<task_queue>-<store>``.
        ui_url: Base address of the Web UI, to show links to; optional.
        api_key: For Temporal Cloud; implies TLS.
        tls: Whether to use TLS.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_TEMPORAL__", extra="ignore")

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    task_queue: str = "erasure"
    ui_url: str | None = None
    api_key: SecretStr | None = None
    tls: bool = False


class S3Settings(BaseSettings):
    """Where S3 is. Without keys, the AWS SDK's own chain of credentials is used."""

    model_config = SettingsConfigDict(env_prefix="ERASURE_S3__", extra="ignore")

    endpoint_url: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"


class VaultSettings(BaseSettings):
    """The vault: a bucket of its own, and the key that wraps every batch key.

    Args:
        bucket: The bucket.
        key: 32 bytes in base64.
        endpoint_url: Where the bucket is, unless it is where the platform's files are (then also set the keys).
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_VAULT__", extra="ignore")

    bucket: str = Field(min_length=3)
    key: SecretStr
    endpoint_url: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    region: str | None = None

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        try:
            size = len(base64.b64decode(key.get_secret_value(), validate=True))
        except ValueError:
            size = 0
        if size != 32:
            raise ValueError("must be 32 random bytes in base64: make one with `openssl rand -base64 32`")
        return key

    @property
    def master_key(self) -> bytes:
        """The key's 32 bytes."""
        return base64.b64decode(self.key.get_secret_value())

    def storage(self, platform: S3Settings) -> S3Settings:
        """The vault's own connection, or the platform's where it has none of its own."""
        if self.endpoint_url is None and self.access_key is None:
            return platform
        return S3Settings(
            endpoint_url=self.endpoint_url,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region or platform.region,
        )


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(settings: type[AnySettings]) -> AnySettings:
    """Reads one group of settings from the environment.

    Raises:
        SettingsError: Names each variable that is missing or wrong.
    """
    try:
        return settings()
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        faults = "; ".join(
            f"{prefix}{'__'.join(str(part) for part in fault['loc']).upper()}: "
            + ("is not set" if fault["type"] == "missing" else fault["msg"])
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"{faults}. Set it in the environment, see the README's table of settings") from None
