"""The files of a fetch: whole or not there at all, readable by their owner only, and no copy ever replaced."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.errors import TransientError
from starter import fetch_file
from starter.session import UsageError

STAMP = datetime(2026, 11, 26, 1, 15, tzinfo=UTC)


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_file_and_its_dated_copies_are_written_and_no_copy_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    copies = [
        await fetch_file.write(path, _pieces(b"number", text), STAMP, force=number > 0)
        for number, text in enumerate((b" one", b" two", b" three"))
    ]
    assert [copy.name for copy in copies] == [
        "ids-20261126T011500Z.csv",
        "ids-20261126T011500Z-2.csv",
        "ids-20261126T011500Z-3.csv",
    ]
    assert [copy.read_text() for copy in copies] == ["number one", "number two", "number three"]
    assert path.read_text() == "number three"
    for file in _in(tmp_path):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_nlink == 1, "a copy, and not another name of the same file"
    assert len(_in(tmp_path)) == 4, "nothing else is left behind"


async def test_a_file_that_is_there_or_comes_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    fetch_file.check(path, force=False)
    path.write_text("somebody's")
    with pytest.raises(UsageError, match=r"is there already.*--force"):
        fetch_file.check(path, force=False)
    with pytest.raises(UsageError, match="came to be there meanwhile"):
        await fetch_file.write(path, _pieces(b"new"), STAMP, force=False)
    assert path.read_text() == "somebody's"
    fetch_file.check(path, force=True)


async def test_a_file_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise TransientError("vault", "the connection was lost", "It is tried again.")

    with pytest.raises(TransientError):
        await fetch_file.write(tmp_path / "ids.csv", breaks(), STAMP, force=False)
    assert _in(tmp_path) == []


def test_a_place_where_no_file_can_be_is_refused_before_anybody_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        fetch_file.check(tmp_path, force=True)
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        fetch_file.check(tmp_path / "none" / "ids.csv", force=False)
