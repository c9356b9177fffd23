"""The files of a fetch: the CSV and its dated copy, each there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO

from starter.session import UsageError


def check(path: Path, *, force: bool) -> None:
    """Refuses a place where no file can be written, before anybody is looked for.

    Args:
        path: The file.
        force: Whether one that is there may be replaced.

    Raises:
        UsageError: It is there already, or its folder cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it.")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already. Name another file, or replace it with --force.")
    with _reported(path), _temporary(path):
        pass


async def write(path: Path, content: AsyncIterator[bytes], stamp: datetime, *, force: bool) -> Path:
    """Writes a file that only its owner may read, and a dated copy beside it.

    Args:
        path: The file.
        content: What goes in, in pieces.
        stamp: Dates the copy, which never replaces an earlier one.
        force: Whether a file that is there is replaced.

    Returns:
        The copy.

    Raises:
        UsageError: A file came to be there meanwhile, or cannot be written.
    """
    with _reported(path), ExitStack() as opened:
        files = [opened.enter_context(_temporary(path)) for _ in range(2)]
        async for chunk in content:
            for file, _ in files:
                file.write(chunk)
        for file, _ in files:
            file.flush()
            os.fsync(file.fileno())
        (_, whole), (_, copy) = files
        backup = _keep(copy, path, stamp)
        if force:
            whole.replace(path)
        else:
            os.link(whole, path)
        _sync(path.parent)
        return backup


def _keep(copy: Path, path: Path, stamp: datetime) -> Path:
    """Gives the copy its dated name, and a number where that is taken."""
    dated = f"{path.stem}-{stamp:%Y%m%dT%H%M%SZ}"
    for number in count(1):
        named = path.with_name(f"{dated}{f'-{number}' if number > 1 else ''}{path.suffix}")
        with suppress(FileExistsError):
            os.link(copy, named)
            return named
    raise AssertionError("numbers do not end")


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file beside another one, readable by its owner only; gone after the block."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Has the names of a folder survive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise UsageError(f"{path} came to be there meanwhile. Name another file, or replace it with --force.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file with -o.") from None
