"""Connections and secrets, from the environment. Each store's own connection stands with the store."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Self, TypeVar

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_KEY_SIZE = 32


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
    """Where S3 is. Without keys, the AWS SDK's own chain of credentials is used.

    Args:
        endpoint_url: Only where it is not AWS.
        access_key: The access key, with
        secret_key: its secret.
        region: The region.
        timeout: Seconds that the server may stay silent; then the request counts as failed, and is tried again.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_S3__", extra="ignore")

    endpoint_url: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"
    timeout: float = Field(default=60, gt=0)


class PlatformApiSettings(BaseSettings):
    """Where the platform's API is, which gives work to contributors; what it is asked stands in the data map.

    Args:
        base_url: Its address, to which the data map's paths are added; None where there is none to ask.
        token: What the caller proves itself by, sent as ``Authorization: Bearer``; optional.
        job_url: The URL of a job, with its secret, with which a verification asks; None where it is not to ask.
        control: Id of a contributor of that job who stays: where even they are unknown, the answers prove nothing.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_API__", extra="ignore")

    base_url: str | None = None
    token: SecretStr | None = None
    job_url: SecretStr | None = None
    control: SecretStr | None = None

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#@]*)?", url):
            raise ValueError("must look like https://host/path; a token has a setting of its own")
        return url.rstrip("/") if url else url

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("must be one word of ASCII")
        return token


class VaultSettings(BaseSettings):
    """The vault: a bucket of its own, and what wraps every batch key: a key, a file with a key, or a key of AWS KMS.

    Args:
        bucket: The bucket.
        key: 32 bytes in base64.
        key_file: A file that holds the same, as mounted secrets do; or the 32 bytes as they are.
        kms_key_id: A symmetric key of AWS KMS: id, ARN or alias. It never leaves KMS.
        kms_endpoint_url: Where KMS is, unless it is AWS's own.
        kms_region: Its region, unless it is the bucket's.
        endpoint_url: Where the bucket is, unless it is where the platform's files are (then also set the keys).
        quota: What the bucket may hold, as in ``50GiB``, where it has a quota: S3 itself tells nobody.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_VAULT__", extra="ignore")

    bucket: str = Field(min_length=3)
    key: SecretStr | None = None
    key_file: Path | None = None
    kms_key_id: str | None = Field(default=None, min_length=1)
    kms_endpoint_url: str | None = None
    kms_region: str | None = None
    endpoint_url: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    region: str | None = None
    quota: ByteSize | None = None

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            _key_of(key.get_secret_value().encode())
        return key

    @field_validator("key_file")
    @classmethod
    def _holds_a_key(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                _key_of(file.read_bytes())
            except OSError as error:
                raise ValueError(f"cannot be read: {error.strerror}") from None
        return file

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        given = [name for name in ("KEY", "KEY_FILE", "KMS_KEY_ID") if getattr(self, name.lower()) is not None]
        if len(given) != 1:
            names = [f"ERASURE_VAULT__{name}" for name in given]
            what = f"{' and '.join(names)} are both set" if given else "ERASURE_VAULT__KEY is not set"
            raise ValueError(f"{what}: the vault needs one of KEY, KEY_FILE and KMS_KEY_ID")
        return self

    @property
    def master_key(self) -> bytes:
        """The key's 32 bytes, where it is not a key of KMS."""
        if self.key_file is not None:
            return _key_of(self.key_file.read_bytes())
        return _key_of(self.key.get_secret_value().encode() if self.key else b"")

    @property
    def kms(self) -> S3Settings:
        """Where KMS is; its credentials are the vault's own, or those of the AWS SDK's chain."""
        return S3Settings(
            endpoint_url=self.kms_endpoint_url,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.kms_region or self.region or S3Settings().region,
        )

    def storage(self, platform: S3Settings) -> S3Settings:
        """The vault's own connection, or the platform's where it has none of its own."""
        if self.endpoint_url is None and self.access_key is None:
            return platform
        return S3Settings(
            endpoint_url=self.endpoint_url,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region or platform.region,
            timeout=platform.timeout,
        )


def _key_of(text: bytes) -> bytes:
    """The 32 bytes of a key, given as they are or in base64."""
    if len(text) == _KEY_SIZE:
        return text
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_SIZE:
        raise ValueError("must be 32 random bytes in base64: make one with `openssl rand -base64 32`")
    return key


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
            (f"{prefix}{'__'.join(str(part) for part in fault['loc']).upper()}: " if fault["loc"] else "")
            + ("is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, "))
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"{faults}. Set it in the environment, see the README's table of settings") from None
