"""The operator's CSV: read by streaming, in whichever dialect it comes, and refused as a whole where a line is bad.

What is said of a bad line names the line, never a cell: a wrong id may be somebody's address.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from activities.csv_cells import is_address, is_decoded, is_worker_id, several
from activities.identities import canonical

ALIASES = {
    "contributor_id": {"contributorid", "contributor", "id", "userid", "uuid", "contributorids", "ids"},
    "email": {"email", "mail", "emailaddress", "emails", "emailaddresses"},
    "worker_id": {"workerid", "worker", "workerids", "workers"},
}
"""Names of the columns, without case, blanks, hyphens and underscores."""

DELIMITERS = (",", ";", "\t", "|")

SHOWN = 20
"""Problems that are listed; the others are counted."""

_MAGIC = {
    b"PK\x03\x04": "is an Excel workbook or a ZIP archive: save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook: save it as CSV UTF-8",
    b"\x1f\x8b": "is compressed: unpack it first",
}

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

_COLUMN_NAME = re.compile(r"[A-Za-z_ -]{1,40}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file.

    Args:
        line: The line, counted from 1; None where it is the whole file.
        what: What is wrong, without any cell's content.
    """

    line: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.line is None else f"line {self.line}: {self.what}"


class CsvError(Exception):
    """The file cannot be used.

    Args:
        path: The file.
        problems: The first of its problems.
        more: How many more there are.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], more: int = 0) -> None:
        lines = [f"{path} cannot be used; nothing was submitted:", *(f"  {problem}" for problem in problems)]
        super().__init__("\n".join([*lines, f"  and {more:,} more"] if more else lines))
        self.problems = list(problems)
        self.more = more


@dataclass(frozen=True, slots=True)
class Row:
    """One contributor as the file names them."""

    contributor_id: str
    emails: tuple[str, ...]
    worker_ids: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Summary:
    """What a file holds.

    Args:
        contributors: Distinct ids.
        duplicates: Rows whose id stood in an earlier one.
        columns: The columns in use.
        ignored_columns: The others, by name where they have one fit to be shown.
        delimiter: Between cells.
        encoding: As Python names it.
        digest: SHA-256 over the contributors; the same for the same content in another dialect.
    """

    contributors: int
    duplicates: int
    columns: list[str]
    ignored_columns: list[str]
    delimiter: str
    encoding: str
    digest: bytes


@dataclass(frozen=True)
class _Layout:
    """Where the columns stand, and whether the first row is data already."""

    columns: dict[str, int]
    width: int
    ignored: list[str] = field(default_factory=list)
    headless: bool = False


class CsvFile:
    """A CSV of contributors.

    Args:
        path: The file.
        id_pattern: Regular expression that a whole id matches.
    """

    def __init__(self, path: Path, id_pattern: str) -> None:
        self._path = path
        self._id = re.compile(id_pattern)
        self._summary: Summary | None = None

    def inspect(self) -> Summary:
        """Reads the whole file.

        Raises:
            CsvError: Names every line that is bad, the first ones in words.
        """
        problems: list[Problem] = []
        more = 0
        digest = hashlib.sha256()
        seen: dict[bytes, int] = {}
        duplicates = 0
        with self._open() as file:
            rows, layout, delimiter = self._rows(file)
            for row in rows:
                if isinstance(row, Problem):
                    if len(problems) < SHOWN:
                        problems.append(row)
                    else:
                        more += 1
                    continue
                known = len(seen)
                if news := _news(row, seen):
                    digest.update(news)
                duplicates += len(seen) == known
            encoding = file.encoding
        if problems:
            raise CsvError(self._path, problems, more)
        if not seen:
            raise CsvError(self._path, [Problem(None, "there is no contributor in it")])
        self._summary = Summary(
            len(seen), duplicates, list(layout.columns), layout.ignored, delimiter, encoding, digest.digest()
        )
        return self._summary

    def rows(self) -> Iterator[Row]:
        """Yields the contributors; one whose id comes again with other identities comes again.

        Raises:
            CsvError: The file is not what `inspect` saw.
        """
        assert self._summary is not None, "a file is inspected before its rows are used"
        digest = hashlib.sha256()
        seen: dict[bytes, int] = {}
        with self._open() as file:
            for row in self._rows(file)[0]:
                if isinstance(row, Row) and (news := _news(row, seen)):
                    digest.update(news)
                    yield row
        if digest.digest() != self._summary.digest:
            raise CsvError(self._path, [Problem(None, "it changed while it was read: submit it again")])

    def _open(self) -> TextIO:
        """Opens the file in its encoding; undecodable bytes are kept, to be found by line."""
        try:
            with self._path.open("rb") as raw:
                start = raw.read(4)
            for magic, what in _MAGIC.items():
                if start.startswith(magic):
                    raise CsvError(self._path, [Problem(None, what)])
            encoding = next((name for bom, name in _BOMS.items() if start.startswith(bom)), "utf-8")
            errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
            return self._path.open(encoding=encoding, errors=errors, newline="")
        except IsADirectoryError:
            raise CsvError(self._path, [Problem(None, "is a folder: name a file in it")]) from None
        except OSError as error:
            raise CsvError(self._path, [Problem(None, f"cannot be read: {error.strerror}")]) from None

    def _rows(self, file: TextIO) -> tuple[Iterator[Row | Problem], _Layout, str]:
        first, delimiter, layout = self._recognise(file)
        lines = _numbered(file, delimiter, skip=0 if layout.headless else first)
        return self._checked(lines, layout), layout, delimiter

    def _recognise(self, file: TextIO) -> tuple[int, str, _Layout]:
        """Finds delimiter and columns in the first row that is not blank; leaves the file at its start."""
        best: tuple[int, str, list[str]] | None = None
        for delimiter in DELIMITERS:
            for line, cells in _numbered(file, delimiter):
                if isinstance(cells, Problem):
                    raise CsvError(self._path, [cells])
                if best is None or _score(cells) > _score(best[2]):
                    best = line, delimiter, cells
                break
            file.seek(0)
        if best is None:
            raise CsvError(self._path, [Problem(None, "is empty")])
        line, delimiter, cells = best
        return line, delimiter, self._layout(line, cells)

    def _layout(self, line: int, cells: list[str]) -> _Layout:
        named = [_alias(cell) for cell in cells]
        columns: dict[str, int] = {}
        for position, name in enumerate(named):
            if name in columns:
                raise CsvError(self._path, [Problem(line, f"two columns are both {name}: keep one")])
            if name is not None:
                columns[name] = position
        if "contributor_id" in columns:
            ignored = [_shown(cell, number) for number, cell in enumerate(cells, 1) if named[number - 1] is None]
            return _Layout(columns, len(cells), ignored)
        if len(cells) == 1 and not columns and self._id.fullmatch(cells[0].strip()):
            return _Layout({"contributor_id": 0}, 1, headless=True)
        what = "no column of ids: the first line has to name one, such as contributor_id"
        raise CsvError(self._path, [Problem(line, what)])

    def _checked(self, lines: Iterator[tuple[int, list[str] | Problem]], layout: _Layout) -> Iterator[Row | Problem]:
        for line, cells in lines:
            if isinstance(cells, Problem):
                yield cells
            elif len(cells) != layout.width:
                yield Problem(line, f"{len(cells)} cells where the first line has {layout.width}")
            else:
                yield self._row(line, cells, layout.columns)

    def _row(self, line: int, cells: list[str], columns: dict[str, int]) -> Row | Problem:
        contributor_id = cells[columns["contributor_id"]].strip()
        if not contributor_id:
            return Problem(line, "the contributor id is empty")
        if not self._id.fullmatch(contributor_id):
            return Problem(line, "the contributor id is not of the form that identity.id_pattern asks for")
        emails = several(cells[columns["email"]]) if "email" in columns else ()
        worker_ids = several(cells[columns["worker_id"]]) if "worker_id" in columns else ()
        if any(not is_address(email) for email in emails):
            return Problem(line, "the cell of addresses holds something that is none")
        if any(not is_worker_id(worker_id) for worker_id in worker_ids):
            return Problem(line, "the worker id holds a control character")
        return Row(contributor_id, emails, worker_ids, line)


def _numbered(file: TextIO, delimiter: str, skip: int = 0) -> Iterator[tuple[int, list[str] | Problem]]:
    """Yields the rows that are not blank with the line they begin on, or what is wrong there.

    Args:
        file: At its start.
        delimiter: Between cells.
        skip: The line of a header to leave out.
    """
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Problem(line, _in_words(str(error)))
            if reader.line_num < line:
                return
            continue
        if line == skip or not any(cell.strip() for cell in cells):
            continue
        if any("\0" in cell for cell in cells):
            yield line, Problem(line, "holds a NUL byte: this is no text file")
        elif not all(map(is_decoded, cells)):
            yield line, Problem(line, "is not UTF-8: save the file as CSV UTF-8")
        else:
            yield line, cells


def _in_words(error: str) -> str:
    """Python's message for a broken line, in ours."""
    if "unexpected end" in error or "field larger" in error:
        return "a quote is opened here and not closed"
    return "its quotes are broken: a quoted cell has to end before the next delimiter"


def _score(cells: Sequence[str]) -> tuple[int, int]:
    """How much a first row looks like one under a delimiter: columns that are known, then columns."""
    return sum(_alias(cell) is not None for cell in cells), len(cells)


def _alias(cell: str) -> str | None:
    plain = re.sub(r"[\s_-]", "", cell).lower()
    return next((name for name, aliases in ALIASES.items() if plain in aliases), None)


def _shown(cell: str, number: int) -> str:
    """A column's name, or its number where the name might be data."""
    name = cell.strip()
    return name if _COLUMN_NAME.fullmatch(name) else f"number {number}"


def _news(row: Row, seen: dict[bytes, int]) -> bytes:
    """What a row says that no earlier one did, in canonical form; nothing where it says nothing new.

    By digests: a million ids have to fit into little memory.

    Args:
        row: The row.
        seen: 96 bits of each id's hash, and 60 of the hash of the identities that came with it first.
    """
    written = canonical(row.contributor_id, row.emails, row.worker_ids)
    key = hashlib.blake2b(row.contributor_id.encode(), digest_size=12).digest()
    identities = 0
    if row.emails or row.worker_ids:
        identities = int.from_bytes(hashlib.blake2b(written, digest_size=8).digest()) >> 4
    if key not in seen:
        seen[key] = identities
        return written
    return b"" if identities in (0, seen[key]) else written
