"""ClickHouse's connection: settings, the client, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
from aiochclient import ChClient
from aiochclient.exceptions import ChClientError
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.errors import CriticalError, ErasureError, TransientError
from activities.stores.clickhouse.cluster import Cluster

PLACE = "clickhouse"
CONNECTIONS = 16
INSERT_CHUNK = 2_000
"""Rows an insert."""


class ClickHouseSettings(BaseSettings):
    """Where ClickHouse is.

    Args:
        url: Its HTTP address.
        database: The database whose tables the data map names; the tool's staging tables are made there too.
        user: The user.
        password: Its password.
        cluster: The cluster whose servers hold the tables; unset where one server holds them.
        timeout: Seconds that the server may stay silent; then the request counts as failed, and is tried again.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_CLICKHOUSE__", extra="ignore")

    url: str = "http://127.0.0.1:8123/"
    database: str = "default"
    user: str | None = None
    password: SecretStr | None = None
    cluster: str | None = None
    timeout: float = Field(default=600, gt=0)


class Client:
    """What the store needs of ClickHouse: aiochclient, and one request that it cannot make.

    Args:
        session: Carries all requests.
        settings: Where ClickHouse is.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: ClickHouseSettings) -> None:
        self.database = settings.database
        self.cluster = Cluster(settings.cluster)
        self._session = session
        self._url = settings.url
        # without wait_end_of_query an error in mid-stream would put result rows into the error's text
        self._chclient = ChClient(
            session,
            url=settings.url,
            user=settings.user,
            password=settings.password.get_secret_value() if settings.password else None,
            database=settings.database,
            wait_end_of_query=1,
        )

    async def execute(self, statement: str) -> None:
        """Runs a statement that returns nothing."""
        await self._chclient.execute(statement)

    async def fetch(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Fetches the rows of a query; ``{name}`` stands for a parameter."""
        rows = await self._chclient.fetch(query, params=params or None)
        return [dict(row.items()) for row in rows]

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Inserts texts, in hexadecimal on their way, so that no character of theirs means anything.

        Args:
            table: The table, quoted.
            columns: Its columns, of type String.
            rows: Their values.
        """
        names = ", ".join(columns)
        structure = ", ".join(f"{column} String" for column in columns)
        values = ", ".join(f"unhex({column})" for column in columns)
        statement = f"INSERT INTO {table} ({names}) SELECT {values} FROM input('{structure}') FORMAT Values"
        for start in range(0, len(rows), INSERT_CHUNK):
            chunk = [tuple(_hex(value) for value in row) for row in rows[start : start + INSERT_CHUNK]]
            await self._chclient.execute(statement, *chunk)

    async def select(self, query: str, sent: Iterable[tuple[str, str]]) -> AsyncGenerator[list[str], None]:
        """Runs a query that reads the table ``sent (name, value)``, sent along with it: nothing is written.

        Args:
            query: Returns columns of hexadecimal text or of numbers.
            sent: Names and values; a name is one of `literal`.

        Yields:
            The rows, as text; they are read as they come.
        """
        form = aiohttp.FormData()
        lines = BytesIO("".join(f"{_escape(name)}\t{_hex(value)}\n" for name, value in sent).encode())
        form.add_field("sent", lines, filename="sent", content_type="text/tab-separated-values")
        options = {"sent_structure": "name String, value String", "query": f"{query} FORMAT TSV"}
        async with self._session.post(
            self._url,
            params={**self._chclient.params, **options},
            headers=self._chclient.headers,
            data=form,
        ) as answer:
            if answer.status != 200:
                raise ChClientError(await answer.text())
            rest = b""
            async for chunk in answer.content.iter_any():
                *full, rest = (rest + chunk).split(b"\n")
                for line in full:
                    yield line.decode().split("\t")


@asynccontextmanager
async def connect(settings: ClickHouseSettings) -> AsyncIterator[Client]:
    """Opens the client; makes no request."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=settings.timeout)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        yield Client(session, settings)


def text_of(hexadecimal: str) -> str:
    """A value as it is stored; bytes that are not UTF-8 are kept as lone surrogates."""
    return bytes.fromhex(hexadecimal).decode("utf-8", "surrogateescape")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _hex(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").hex()


_CODE = re.compile(r"Code: (\d+)")

_CRITICAL = {
    60: ("a table does not exist", "Correct the data map."),
    81: ("the database does not exist", "Set ERASURE_CLICKHOUSE__DATABASE."),
    47: ("a column does not exist", "Correct the data map."),
    48: ("a table's engine cannot be mutated", "Leave the table out of the data map, and erase there by hand."),
    164: ("the user may only read", "Use a user that may ALTER UPDATE, CREATE, INSERT and DROP."),
    242: ("a table is read-only", "Look at the replica's state, then submit again."),
    420: ("a key column cannot be updated", "Take the column out of the data map, or rebuild the table without it."),
    497: (
        "a right is missing",
        "Grant SELECT, ALTER UPDATE, ALTER SETTINGS, CREATE TABLE, INSERT, DROP TABLE on the database.",
    ),
    516: ("the login is refused", "Check ERASURE_CLICKHOUSE__USER and __PASSWORD."),
    243: ("there is no room on the disk", "Make room: a mutation rewrites the parts that it touches."),
}

_TRANSIENT = {
    159: "a time-out",
    202: "too many queries at once",
    209: "a socket time-out",
    210: "a network error",
    236: "a query was cancelled",
    241: "the memory limit was reached",
    252: "too many parts",
    394: "a query was killed",
    473: "a deadlock was avoided",
    999: "Keeper cannot be reached",
}


def error_code(text: str) -> int:
    """ClickHouse's number of an error; 0 where there is none."""
    found = _CODE.search(text)
    return int(found[1]) if found else 0


def translate(error: Exception) -> ErasureError | None:
    """Maps aiochclient's and aiohttp's errors to the taxonomy, by ClickHouse's number."""
    if isinstance(error, ChClientError):
        code = error_code(str(error))
        if code in _TRANSIENT:
            return TransientError(PLACE, f"{_TRANSIENT[code]} (code {code})", "Wait; it is tried again.")
        what, remedy = _CRITICAL.get(code, ("an error", "Look into ClickHouse's own log at this time."))
        return CriticalError(PLACE, f"{what} (code {code})", remedy)
    if isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
        return TransientError(
            PLACE, f"cannot be reached ({type(error).__name__})", "Check ERASURE_CLICKHOUSE__URL and the network."
        )
    return None
