"""The connection to PostgreSQL, and what becomes of its errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import exceptions
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.reachability import unreachable

if TYPE_CHECKING:
    from asyncpg import Pool, Record
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[Record]

STATEMENT_TIMEOUT = 600
"""Seconds that one statement may take."""

LOCK_TIMEOUT = 15
"""Seconds to wait for a table or row that the application holds; then the slice is tried again."""

PAGE = 1_000
"""Rows, or values, a step of a stream: what is held in memory, and how often the heartbeat goes."""

IDLE_TIMEOUT = 300
"""Seconds that a transaction may stand idle: a worker that froze must not hold its locks for ever."""


class PostgresSettings(BaseSettings):
    """Where PostgreSQL is.

    Args:
        dsn: ``postgresql://user:password@host:port/database?sslmode=...``
        pool_size: Connections of one worker, at most; a sweep needs two at once.
        timeout: Seconds that the server may stay silent; then the connection counts as lost. The default leaves the
            server's own time-out, which cancels cleanly, to come first.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_POSTGRES__", extra="ignore")

    dsn: SecretStr
    pool_size: int = Field(default=8, ge=2)
    timeout: float = Field(default=STATEMENT_TIMEOUT + 30, gt=0)


@asynccontextmanager
async def connect(settings: PostgresSettings) -> AsyncIterator[Pool[Record]]:
    """Opens a pool; connects to nothing until it is used.

    Args:
        settings: Where PostgreSQL is.
    """
    async with asyncpg.create_pool(
        settings.dsn.get_secret_value(),
        min_size=0,
        max_size=settings.pool_size,
        timeout=10,
        command_timeout=settings.timeout,
        statement_cache_size=0,  # no statement stays in a session: it may be a pooler's, lent for one transaction
        server_settings={"application_name": "contributor-erasure"},
    ) as pool:
        yield pool


async def stream(connection: Connection, query: str, *parameters: Any) -> AsyncGenerator[Record, None]:
    """Yields the rows of a query in pages, and leaves no prepared statement behind.

    Args:
        connection: In a transaction.
        query: The query.
        parameters: Its parameters.
    """
    statement = await connection.prepare(query, name="")
    async for row in statement.cursor(*parameters, prefetch=PAGE):
        yield row


async def copy(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Fills a temporary table.

    Args:
        connection: In a transaction.
        table: The table's name.
        rows: What goes in.
    """
    await connection.copy_records_to_table(table, schema_name="pg_temp", records=rows)


_AGAIN = "It is tried again"

_KNOWN: tuple[tuple[type[Exception], type[ErasureError], str, str], ...] = (
    (exceptions.DeadlockDetectedError, TransientError, "a deadlock with another transaction", f"{_AGAIN}."),
    (exceptions.SerializationError, TransientError, "another transaction changed the same rows", f"{_AGAIN}."),
    (
        exceptions.LockNotAvailableError,
        TransientError,
        f"is locked by another transaction, for longer than {LOCK_TIMEOUT} s",
        f"{_AGAIN}; look for long transactions in pg_stat_activity.",
    ),
    (
        exceptions.QueryCanceledError,
        TransientError,
        f"a statement was cancelled, by a person or after {STATEMENT_TIMEOUT} s",
        f"{_AGAIN}; index the columns that the data map names by `by`.",
    ),
    (exceptions.DiskFullError, CriticalError, "the server's disk is full", "Make room, then signal retry."),
    (
        exceptions.InsufficientResourcesError,
        TransientError,
        "the server is out of connections or memory",
        f"{_AGAIN}; lower ERASURE_POSTGRES__POOL_SIZE or policy.concurrency.",
    ),
    (exceptions.OperatorInterventionError, TransientError, "the server is starting or shutting down", f"{_AGAIN}."),
    (exceptions.PostgresConnectionError, TransientError, "the connection was lost", f"{_AGAIN}; check the network."),
    (
        exceptions.IdleInTransactionSessionTimeoutError,
        TransientError,
        "the transaction stood idle for too long",
        f"{_AGAIN}; check that the vault answers.",
    ),
    (exceptions.TransactionTimeoutError, TransientError, "the transaction took too long", f"{_AGAIN}."),
    (
        exceptions.ReadOnlySQLTransactionError,
        TransientError,
        "the server is read-only",
        f"{_AGAIN}; after a failover, point ERASURE_POSTGRES__DSN to the new primary.",
    ),
    (exceptions.InvalidCachedStatementError, TransientError, "a table was altered meanwhile", f"{_AGAIN}."),
    (exceptions.OutdatedSchemaCacheError, TransientError, "a type was altered meanwhile", f"{_AGAIN}."),
    (
        exceptions.InsufficientPrivilegeError,
        CriticalError,
        "a right is missing, or row-level security would hide rows",
        "Grant what the preflight names on the tables of the data map.",
    ),
    (
        exceptions.InvalidAuthorizationSpecificationError,
        CriticalError,
        "the server refuses user or password",
        "Check ERASURE_POSTGRES__DSN.",
    ),
    (
        exceptions.InvalidCatalogNameError,
        CriticalError,
        "there is no such database",
        "Check ERASURE_POSTGRES__DSN.",
    ),
    (
        exceptions.UndefinedTableError,
        CriticalError,
        "a table is not there any more",
        "Compare erasure.toml with the database.",
    ),
    (
        exceptions.UndefinedColumnError,
        CriticalError,
        "a column is not there any more",
        "Compare erasure.toml with the database.",
    ),
    (
        exceptions.StringDataRightTruncationError,
        CriticalError,
        "a column is too narrow for its mask",
        "Widen it, or mask it with null; the preflight names it.",
    ),
    (
        exceptions.DatatypeMismatchError,
        CriticalError,
        "a column's type cannot hold its mask",
        "Mask it with null; the preflight names it.",
    ),
    (
        exceptions.UntranslatableCharacterError,
        CriticalError,
        "the database's encoding lacks a character of an identity",
        "Move the database to UTF8, or leave that identity out.",
    ),
    (
        exceptions.RaiseError,
        CriticalError,
        "a trigger of the database refused the change",
        "Look into the server's log; let the eraser's role pass.",
    ),
    (
        exceptions.ClientConfigurationError,
        CriticalError,
        "ERASURE_POSTGRES__DSN cannot be read",
        "Write it as postgresql://user:password@host:port/database.",
    ),
    (exceptions.InternalClientError, TransientError, "the connection was lost", f"{_AGAIN}; check the network."),
)
"""The first that fits counts."""


def translated_at(place: str) -> AbstractContextManager[None]:
    """Lets only the taxonomy out of work on one table, and names it also where the server does not: in a lock's error.

    Args:
        place: The table.
    """
    return translated(f"postgres {place}", lambda error: translate(error, place))


def translate(error: Exception, place: str = "") -> ErasureError | None:
    """Maps asyncpg's errors to the taxonomy. Names come from the error's fields, never from its text.

    Args:
        error: What was raised.
        place: The table that was worked on, where the error names none.
    """
    fields = error.as_dict() if isinstance(error, asyncpg.PostgresError) else {}
    table = ".".join(fields[key] for key in ("schema_name", "table_name") if fields.get(key))
    place = f"postgres {table or place}".rstrip()
    if isinstance(error, exceptions.IntegrityConstraintViolationError):
        which = fields.get("constraint_name") or f"NOT NULL of {fields.get('column_name', '?')}"
        return CriticalError(
            place,
            f"constraint {which} refuses the change",
            "Put the rows that it protects into the data map, children first, or choose another mask.",
        )
    if isinstance(error, OSError):
        return _unreachable(place, error)
    for kind, family, what, remedy in _KNOWN:
        if isinstance(error, kind):
            return family(place, what, remedy)
    if isinstance(error, exceptions.InterfaceError) and not isinstance(error, ValueError):
        return TransientError(place, "the connection is closed", f"{_AGAIN}; check the network.")
    return None


def _unreachable(place: str, error: OSError) -> ErasureError:
    """asyncpg has no class of its own for a server that does not take TLS, or is none of PostgreSQL's."""
    if type(error) is ConnectionError and "rejected SSL upgrade" in str(error):
        what = "what listens there does not take TLS as ERASURE_POSTGRES__DSN asks, or is not PostgreSQL"
        return CriticalError(place, what, "Check host, port and sslmode in ERASURE_POSTGRES__DSN.")
    authority = "Name its certificate authority: sslrootcert=FILE in ERASURE_POSTGRES__DSN."
    return unreachable(place, error, "ERASURE_POSTGRES__DSN", authority=authority)
