"""Reads one relation, row by row as it comes out of ``COPY``, and all large objects, page by page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from asyncpg import exceptions

from activities.contract import Finding
from activities.messages import Depth
from activities.verification.content import WINDOW, Content
from activities.verification.evidence import Evidence, Inside
from activities.verification.scanners.postgres.catalogue import (
    LARGE_OBJECTS,
    Column,
    Relation,
    named,
    quoted,
)

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

LONGEST = {"mapped": 1024 * 1024, "catalogue": 1024 * 1024, "deep": 16 * 1024 * 1024}
"""Characters, or bytes, of one value that are read at each depth."""

SILENCE = 600.0
"""Seconds for which the server may send nothing."""

AT_ONCE = 2_000
"""Values that are searched together, unless they are long."""

LOCK_WAIT = "15s"
"""How long another's lock on a table is waited for."""

LARGE_OBJECT_PAGE = 1024 * 1024
"""Bytes of a large object that are read at once."""

BEGIN = """
    SET LOCAL row_security = off; SET LOCAL bytea_output = 'hex'; SET LOCAL lock_timeout = '{lock_wait}';
    SET LOCAL statement_timeout = 0; SET LOCAL search_path = pg_catalog
"""
"""Without row security, a policy that would hide rows is an error. Extensions' types are written out by their names."""

LARGE_OBJECT_IDS = "SELECT oid FROM pg_largeobject_metadata WHERE oid > $1 ORDER BY oid LIMIT 1000"
LARGE_OBJECT_PART = "SELECT lo_get($1, $2, $3)"

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_HEX = re.compile(rb"\\\\x((?:[0-9a-f]{2}){2,})")
_PEOPLE = re.compile(r"contributors?|workers?|users?|people|persons?|accounts?|members?|customers?", re.IGNORECASE)


class Stopped(Exception):  # noqa: N818 it is an answer, caught where the place is read
    """A place could not be read, or not to its end; holds why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


@asynccontextmanager
async def reading(connection: Connection, place: str) -> AsyncIterator[None]:
    """A transaction that can only read; what concerns its one place alone is `Stopped`, no error.

    Args:
        connection: The connection.
        place: What is read in it.
    """
    try:
        async with connection.transaction(readonly=True):
            await connection.execute(BEGIN.format(lock_wait=LOCK_WAIT))
            yield
    except (exceptions.UndefinedTableError, exceptions.InvalidSchemaNameError):
        raise Stopped(Finding(place, "was dropped while it was to be read", "Verify again.")) from None
    except exceptions.InsufficientPrivilegeError:
        what = "this user may not read it, or not every row of it"
        raise Stopped(Finding(place, what, "Grant SELECT, and BYPASSRLS where it has policies.")) from None
    except exceptions.LockNotAvailableError:
        what = f"was locked for longer than {LOCK_WAIT}"
        raise Stopped(Finding(place, what, "Verify again when nobody alters it.")) from None
    except (TimeoutError, exceptions.QueryCanceledError):
        raise Stopped(Finding(place, "timed out, or was cancelled", "Verify again when the server is idle.")) from None
    except (
        exceptions.PostgresConnectionError,
        exceptions.InsufficientResourcesError,
        exceptions.OperatorInterventionError,
        exceptions.IdleInTransactionSessionTimeoutError,
    ):
        raise  # concerns the whole server
    except asyncpg.PostgresError as error:
        what = f"could not be read to its end ({type(error).__name__})"
        raise Stopped(Finding(place, what, "Look into the server's log; the error's text is withheld.")) from None


async def read_relation(
    connection: Connection, relation: Relation, depth: Depth, evidence: Evidence, progress: Callable[[int], None]
) -> None:
    """Reads a relation in one statement, so that no row can move out of sight.

    Args:
        connection: In `reading`.
        relation: What to read.
        depth: How far.
        evidence: What was seen.
        progress: Told how many rows were read.

    Raises:
        Stopped: It was not read to its end.
    """
    limit = LONGEST[depth]
    rows = Rows(relation, limit, evidence)
    async with asyncio.timeout(SILENCE) as silence:

        async def take(chunk: bytes) -> None:
            silence.reschedule(asyncio.get_running_loop().time() + SILENCE)
            rows.take(chunk)
            progress(evidence.records)

        query = f"SELECT {', '.join(_expression(column, limit) for column in relation.columns)} FROM {relation.source}"
        try:
            status = await connection.copy_from_query(query, output=take, timeout=_NEVER)
        finally:
            rows.search()
    if (sent := int(status.removeprefix("COPY "))) != evidence.records:
        what = f"the server sent {sent:,} rows, {evidence.records:,} were read"
        raise Stopped(Finding(relation.place, what, "Verify again."))


_NEVER = 10 * 365 * 24 * 3600.0
"""Seconds: how long a table takes says nothing, `SILENCE` does."""


def _expression(column: Column, limit: int) -> str:
    name = quoted(column.name)
    if column.how == "bytes":
        return f"substring({name} from 1 for {limit})"
    return f"left({f'to_json({name})' if column.how == 'document' else name}::text, {limit})"


class Rows:
    """Takes what ``COPY`` sends: a line a row, a tab between values, special characters after a backslash.

    Args:
        relation: What is read.
        limit: Characters of a value after which the rest of it was not sent.
        evidence: What was seen.
    """

    def __init__(self, relation: Relation, limit: int, evidence: Evidence) -> None:
        places = [named(each.name) for each in relation.columns]
        self._columns = [
            (f"{relation.place}.{name}", _called(relation, each), each)
            for name, each in zip(places, relation.columns, strict=True)
        ]
        self._limit = limit
        self._evidence = evidence
        self._rest = b""
        self._texts: list[str] = []
        self._size = 0
        self._where: list[tuple[int, str, str]] = []

    def take(self, chunk: bytes) -> None:
        """Takes some lines."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._evidence.records += 1
            self._evidence.bytes += len(line)
            for (place, name, column), raw in zip(self._columns, line.split(b"\t"), strict=True):
                if raw and raw != b"\\N":
                    self._value(place, name, column, _ESCAPE.sub(_unescaped, raw) if b"\\" in raw else raw)
            if len(self._texts) >= AT_ONCE or self._size >= WINDOW:
                self.search()

    def search(self) -> None:
        """Searches what was taken since the last time."""
        places = [place for _, place, _ in self._where]
        names = [name for _, _, name in self._where]
        for number, found in self._evidence.found(self._texts, places, names):
            self._evidence.add(self._where[number][0], found)
        self._texts.clear()
        self._where.clear()
        self._size = 0

    def _value(self, place: str, name: str, column: Column, plain: bytes) -> None:
        if column.how == "bytes":
            data = bytes.fromhex(plain[2:].decode("ascii"))
            self._content(place, data, len(data))
            return
        if len(plain) <= WINDOW:
            self._texts.append(plain.decode("utf-8", "replace"))
            self._where.append((self._evidence.records, place, name))
            self._size += len(plain)
        else:
            self._content(place, plain, len(plain.decode("utf-8", "replace")))
        if column.how == "document" and b"\\\\x" in plain:
            for digits in _HEX.findall(plain):
                self._content(place, bytes.fromhex(digits.decode("ascii")), 0)

    def _content(self, place: str, data: bytes, length: int) -> None:
        """Searches a value that is long, or of bytes; its length tells whether all of it came."""
        inside = Inside(self._evidence, place)

        def sealed(kind: str) -> None:
            self._evidence.miss(place, f"values whose content nobody can read ({kind})", "Look into them by hand.")

        content = Content(inside.look, sealed)
        content.feed(data)
        content.end()
        self.search()  # what comes before it in the row, so that a row is counted once
        self._evidence.add(self._evidence.records, inside.holds)
        if length >= self._limit:
            what = f"values that were read up to {self._limit:,} characters only"
            self._evidence.miss(place, what, "Verify at depth deep, or look into them by hand.")


def _called(relation: Relation, column: Column) -> str:
    """What decides whether a short id there is somebody's: a count or a serial number beside people is not."""
    table = relation.place.rpartition(".")[2]
    if column.is_number and not (column.name == "id" and _PEOPLE.fullmatch(table)):
        return column.name
    return f"{relation.place}.{column.name}"


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return _CONTROL.get(escape[1], escape[1])


async def read_large_objects(connection: Connection, evidence: Evidence, progress: Callable[[int], None]) -> None:
    """Reads every large object, page by page.

    Args:
        connection: In `reading`.
        evidence: What was seen.
        progress: Told how many objects were read.
    """
    last = 0
    while ids := [row["oid"] for row in await connection.fetch(LARGE_OBJECT_IDS, last)]:
        for oid in ids:
            try:
                async with connection.transaction():
                    await _read_large_object(connection, oid, evidence)
            except exceptions.UndefinedObjectError:
                pass  # was removed meanwhile
            except exceptions.InsufficientPrivilegeError:
                what = "large objects that this user may not read"
                evidence.miss(LARGE_OBJECTS, what, "Grant SELECT ON LARGE OBJECT on them.")
            progress(evidence.records)
        last = ids[-1]


async def _read_large_object(connection: Connection, oid: int, evidence: Evidence) -> None:
    inside = Inside(evidence, LARGE_OBJECTS)
    size = 0

    def sealed(kind: str) -> None:
        what = f"large objects whose content nobody can read ({kind})"
        evidence.miss(LARGE_OBJECTS, what, "Look into them by hand.")

    content = Content(inside.look, sealed)
    while part := await connection.fetchval(LARGE_OBJECT_PART, oid, size, LARGE_OBJECT_PAGE):
        content.feed(part)
        size += len(part)
    content.end()
    evidence.records += 1
    evidence.bytes += size
    evidence.add(evidence.records, inside.holds)
