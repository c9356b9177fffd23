"""The connection to Redis: one server, a Cluster, or the primary that Sentinels name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelManagedSSLConnection
from redis.backoff import ExponentialBackoff

from activities.errors import CriticalError, ErasureError, TransientError
from activities.reachability import unreachable
from activities.stores.redis.keyspace import Client, Keyspace, MovedWhileScannedError

PLACE = "redis"

CONNECT_TIMEOUT = 5.0
"""Seconds that a server may take to accept a connection."""

CONNECTIONS = 16
"""Connections to one server at the same time."""


_REFUSED = {
    "MISCONF": ("takes no write, since it cannot save to its disk", "Repair its disk; it is tried again."),
    "NOREPLICAS": ("takes no write, since too few replicas follow it", "Bring them back; it is tried again."),
    "BUSY": ("is busy with somebody's script", "Wait; it is tried again."),
}
"""What it answers where it will not work now, and the driver has no class for."""


def _listed(value: Any) -> Any:
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


class RedisSettings(BaseSettings):
    """Where Redis is.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database. With Sentinels, its host is
            the name under which they know the primary.
        cluster: Whether it is a Redis Cluster; the URL names one of its nodes.
        sentinels: Hosts and ports of Sentinels, with commas between them.
        sentinel_username: For the Sentinels themselves, with
        sentinel_password: its password.
        timeout: Seconds that the server may stay silent; then the request counts as failed, and is tried again.
        keys_per_second: How many keys, or members of large keys, a scan looks at in a second, whoever owns them.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_REDIS__", extra="ignore")

    url: SecretStr
    cluster: bool = False
    sentinels: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()
    sentinel_username: str | None = None
    sentinel_password: SecretStr | None = None
    timeout: float = Field(default=60, gt=0)
    keys_per_second: int = Field(default=100_000, gt=0)

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr) -> SecretStr:
        try:
            parse_url(url.get_secret_value())
        except ValueError:
            raise ValueError("must start with redis://, rediss:// or unix://") from None
        return url

    @field_validator("sentinels")
    @classmethod
    def _have_ports(cls, sentinels: tuple[str, ...]) -> tuple[str, ...]:
        if any(not each.rpartition(":")[0] or not each.rpartition(":")[2].isdecimal() for each in sentinels):
            raise ValueError("write host:port, with commas between several")
        return sentinels

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        target = parse_url(self.url.get_secret_value())
        if self.cluster and self.sentinels:
            raise ValueError("a Cluster has no Sentinels: set CLUSTER or SENTINELS, not both")
        if self.cluster and target.get("db"):
            raise ValueError("a Cluster has database 0 only: take the database out of the URL")
        if self.sentinels and not target.get("host"):
            raise ValueError("with SENTINELS, the URL's host is the name of the primary: redis://mymaster/0")
        return self

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """The Sentinels' hosts and ports."""
        split = [each.rpartition(":") for each in self.sentinels]
        return [(host.strip("[]"), int(port)) for host, _, port in split]


@asynccontextmanager
async def connect(settings: RedisSettings) -> AsyncIterator[Keyspace]:
    """Opens the client; makes no request."""
    async with AsyncExitStack() as opened:
        client = _sentinel_client(settings, opened) if settings.sentinels else _client(settings)
        opened.push_async_callback(client.aclose)
        yield Keyspace(client, settings.keys_per_second)


def _client(settings: RedisSettings) -> Client:
    url = settings.url.get_secret_value()
    if settings.cluster:
        return RedisCluster.from_url(
            url, socket_timeout=settings.timeout, socket_connect_timeout=CONNECT_TIMEOUT, retry=_retry()
        )
    return Redis.from_url(
        url,
        socket_timeout=settings.timeout,
        socket_connect_timeout=CONNECT_TIMEOUT,
        max_connections=CONNECTIONS,
        retry=_retry(),
    )


def _sentinel_client(settings: RedisSettings, opened: AsyncExitStack) -> Redis:
    """A client that asks the Sentinels for the primary whenever it connects."""
    target: Any = dict(parse_url(settings.url.get_secret_value()))
    service = target.pop("host")
    target.pop("port", None)
    common: Any = {"socket_timeout": settings.timeout, "socket_connect_timeout": CONNECT_TIMEOUT, "retry": _retry()}
    if target.pop("connection_class", None) is SSLConnection:
        target["connection_class"] = SentinelManagedSSLConnection
    password = settings.sentinel_password
    untyped: Any = Sentinel
    sentinel = untyped(
        settings.sentinel_addresses,
        sentinel_kwargs={
            **common,
            "username": settings.sentinel_username,
            "password": password.get_secret_value() if password else None,
        },
    )
    opened.push_async_callback(sentinel.aclose)
    client: Redis = sentinel.master_for(service, max_connections=CONNECTIONS, **target, **common)
    return client


def _retry() -> Retry:
    return Retry(ExponentialBackoff(cap=1, base=0.1), 3)


def translate(error: BaseException) -> ErasureError | None:
    """Maps redis-py's errors to the taxonomy."""
    match error:
        case exceptions.NoPermissionError():
            what = "a command, or a key, is not allowed to the user"
            return CriticalError(PLACE, what, "Run `python -m starter map check`: it names each right that is missing.")
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return CriticalError(PLACE, "the login is refused", "Check user and password in ERASURE_REDIS__URL.")
        case exceptions.ReadOnlyError():
            return CriticalError(PLACE, "is a read-only replica", "Point ERASURE_REDIS__URL to the primary.")
        case exceptions.OutOfMemoryError():
            what = "is out of memory (maxmemory), and takes no write"
            return TransientError(PLACE, what, "Raise maxmemory or free memory; it is tried again.")
        case exceptions.BusyLoadingError():
            return TransientError(PLACE, "is loading its data", "Wait; it is tried again.")
        case MasterNotFoundError():
            what = "no Sentinel knows the primary, or none can be reached"
            remedy = "Check ERASURE_REDIS__SENTINELS, and the primary's name, which is the host of ERASURE_REDIS__URL."
            return TransientError(PLACE, what, remedy)
        case MovedWhileScannedError():
            return TransientError(
                PLACE,
                "slots moved to other nodes while it was scanned, so keys may have been missed",
                "Wait until the resharding has ended; it is tried again.",
            )
        case exceptions.MasterDownError() | exceptions.ClusterDownError() | exceptions.TryAgainError():
            what = "a part of it is down or on the move"
            return TransientError(PLACE, what, "Wait; it is tried again. See `CLUSTER INFO` if it stays.")
        case exceptions.RedisClusterException():
            return _translate_cluster(error)
        case exceptions.ResponseError() if (code := str(error).partition(" ")[0]) in _REFUSED:
            return TransientError(PLACE, *_REFUSED[code])
        case exceptions.TimeoutError() | exceptions.ConnectionError() | OSError():
            return unreachable(PLACE, error, "ERASURE_REDIS__URL")
        case exceptions.InvalidResponse():
            return CriticalError(PLACE, "what answers is not Redis", "Check host and port in ERASURE_REDIS__URL.")
    return None


def _translate_cluster(error: exceptions.RedisClusterException) -> ErasureError:
    """What kept the client from the cluster's layout lies below its own error."""
    cause = error.__cause__
    refusal = cause.__context__ if isinstance(cause, exceptions.RedisClusterException) else None
    if isinstance(refusal, exceptions.NoPermissionError):
        return CriticalError(PLACE, "the user may not call CLUSTER SLOTS", "Grant it: ACL SETUSER ... +cluster|slots.")
    if isinstance(refusal, exceptions.ResponseError):
        return CriticalError(PLACE, "is not a Cluster", "Take ERASURE_REDIS__CLUSTER out of the environment.")
    known = translate(cause) if cause is not None else None
    return known or TransientError(
        PLACE, "the cluster is not whole: slots have no node", "Wait; it is tried again. See `CLUSTER INFO`."
    )
