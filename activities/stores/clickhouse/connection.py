"""ClickHouse's connection: settings, the client, and what its errors mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from typing import Any, Self

import aiohttp
from aiochclient import ChClient
from aiochclient.exceptions import ChClientError
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.errors import CriticalError, ErasureError, TransientError
from activities.reachability import unreachable
from activities.stores.clickhouse.cluster import Cluster
from activities.tunnel import Passage, PortForward, Route, SshTunnel, passed

PLACE = "clickhouse"
CONNECTIONS = 16
INSERT_CHUNK = 2_000
"""Rows an insert."""

AGAIN = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before a query is sent again whose connection through a tunnel was lost."""


class ClickHouseSettings(BaseSettings):
    """Where ClickHouse is.

    Args:
        url: Its HTTP address.
        database: The database whose tables the data map names; the tool's staging tables are made there too.
        user: The user.
        password: Its password.
        cluster: The cluster whose servers hold the tables; unset where one server holds them.
        timeout: Seconds that the server may stay silent; then the request counts as failed, and is tried again.
        port_forward: The port of a Kubernetes cluster through which it is reached, or
        ssh_tunnel: the SSH server. The address then says only how to speak to it: scheme, host name for TLS, path.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_CLICKHOUSE__", env_nested_delimiter="__", extra="ignore")

    url: str = "http://127.0.0.1:8123/"
    database: str = "default"
    user: str | None = None
    password: SecretStr | None = None
    cluster: str | None = None
    timeout: float = Field(default=600, gt=0)
    port_forward: PortForward | None = None
    ssh_tunnel: SshTunnel | None = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#@]*)?", url):
            raise ValueError("must look like http://host:8123/; user and password have settings of their own")
        return url

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.port_forward is not None and self.ssh_tunnel is not None:
            raise ValueError("set either PORT_FORWARD or SSH_TUNNEL")
        return self

    @property
    def route(self) -> tuple[Route, str] | None:
        """The tunnel through which it is reached, and what its variables begin with."""
        if self.port_forward is not None:
            return self.port_forward, "ERASURE_CLICKHOUSE__PORT_FORWARD"
        if self.ssh_tunnel is not None:
            return self.ssh_tunnel, "ERASURE_CLICKHOUSE__SSH_TUNNEL"
        return None


class Client:
    """What the store needs of ClickHouse: aiochclient, and one request that it cannot make.

    Args:
        session: Carries all requests.
        settings: Where ClickHouse is.
        again: Seconds before a query is sent again whose connection was lost; a lost answer fails it unless said.
    """

    def __init__(
        self, session: aiohttp.ClientSession, settings: ClickHouseSettings, again: Sequence[float] = ()
    ) -> None:
        self.database = settings.database
        self.cluster = Cluster(settings.cluster)
        self._session = session
        self._url = settings.url
        self._again = again
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
        for pause in self._again:
            try:
                return await self._fetch(query, params)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                await asyncio.sleep(pause)
        return await self._fetch(query, params)

    async def _fetch(self, query: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        rows = await self._chclient.fetch(query, params=params or None)
        return [dict(row.items()) for row in rows]

    async def ask(self, query: str) -> str:
        """The one value that a query answers with, whatever kind of statement it is.

        Raises:
            AnotherServerError: What answers is not ClickHouse.
        """
        params = {**self._chclient.params, "default_format": "TabSeparatedRaw"}
        async with self._session.post(
            self._url, params=params, headers=self._chclient.headers, data=query.encode()
        ) as answer:
            text = await answer.text(errors="replace")
            if not any(header.lower().startswith("x-clickhouse") for header in answer.headers):
                raise AnotherServerError
            if answer.status != 200:
                raise ChClientError(text)
        return text.strip()

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

    async def insert_json(self, table: str, row: str) -> None:
        """Inserts one row; what it does not name is as the table would have it.

        Args:
            table: The table, quoted.
            row: The row as a JSON object: it travels as the request's body, so that no statement holds a value.
        """
        options = {"query": f"INSERT INTO {table} FORMAT JSONEachRow", "async_insert": "0"}
        async with self._session.post(
            self._url,
            params={**self._chclient.params, **options},
            headers=self._chclient.headers,
            data=row.encode("utf-8", "surrogateescape"),
        ) as answer:
            if answer.status != 200:
                raise ChClientError(await answer.text())

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

    async def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        """Runs a query of any size; neither the server nor this program holds its whole answer.

        Args:
            query: The query, with its format.

        Yields:
            The answer as it comes. Where the query fails half-way, it is cut off or has an error's text at its end:
            the format has to have an end that is known.
        """
        params = {**self._chclient.params, "wait_end_of_query": "0"}
        async with self._session.post(
            self._url, params=params, headers=self._chclient.headers, data=query.encode()
        ) as answer:
            if answer.status != 200:
                raise ChClientError(await answer.text())
            async for chunk in answer.content.iter_any():
                yield chunk


@asynccontextmanager
async def connect(settings: ClickHouseSettings) -> AsyncIterator[Client]:
    """Opens the client, and the tunnel if it is reached through one; makes no request, and waits for nothing."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=settings.timeout)
    async with AsyncExitStack() as opened:
        if settings.route is None:
            passage = Passage(settings.url, aiohttp.TCPConnector(limit=CONNECTIONS))
        else:
            through = passed(*settings.route, settings.url, PLACE, CONNECTIONS)
            passage = await opened.enter_async_context(through)
        session = aiohttp.ClientSession(timeout=timeout, connector=passage.connector, trace_configs=passage.traces)
        await opened.enter_async_context(session)
        yield Client(session, settings.model_copy(update={"url": passage.url}), AGAIN if settings.route else ())


class AnotherServerError(Exception):
    """What answers is not ClickHouse."""


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
    192: ("the login is refused", "Check ERASURE_CLICKHOUSE__USER and __PASSWORD."),
    193: ("the login is refused", "Check ERASURE_CLICKHOUSE__USER and __PASSWORD."),
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
        if code == 0 and (busy := re.search(r"\b50[234]\b", str(error))):
            return TransientError(PLACE, f"a proxy before it answers {busy[0]}", "Wait; it is tried again.")
        if code == 0:
            return _another()
        if code in _TRANSIENT:
            return TransientError(PLACE, f"{_TRANSIENT[code]} (code {code})", "Wait; it is tried again.")
        what, remedy = _CRITICAL.get(code, ("an error", "Look into ClickHouse's own log at this time."))
        return CriticalError(PLACE, f"{what} (code {code})", remedy)
    if isinstance(error, AnotherServerError):
        return _another()
    if isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
        return unreachable(PLACE, error, "ERASURE_CLICKHOUSE__URL")
    return None


def _another() -> CriticalError:
    what = "what answers is not ClickHouse's HTTP interface"
    return CriticalError(PLACE, what, "Check ERASURE_CLICKHOUSE__URL (port 8123, or 8443 for TLS), and proxies.")
