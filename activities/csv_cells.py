"""The cells of a CSV of contributors: what may stand in them, for who reads such a file and for who writes one."""

from __future__ import annotations

import re

COLUMNS = ("contributor_id", "email", "worker_id")
"""What the columns are called."""

SEPARATOR = ";"
"""Between several addresses, or worker ids, of one cell."""

_SEPARATORS = re.compile(r"[;|,\s]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def several(cell: str) -> tuple[str, ...]:
    """The values of a cell that may hold several."""
    return tuple(dict.fromkeys(value for value in _SEPARATORS.split(cell) if value))


def is_address(value: str) -> bool:
    """Whether a value may stand in a cell of addresses."""
    name, at, host = value.rpartition("@")
    return bool(name and at and host) and not _CONTROL.search(value)


def is_worker_id(value: str) -> bool:
    """Whether a value may stand in a cell of worker ids."""
    return not _CONTROL.search(value)


def is_decoded(cell: str) -> bool:
    """Whether a cell was text in its file's encoding; what was not is left as a surrogate, or replaced."""
    return cell.isascii() or not any("\ud800" <= letter <= "\udfff" or letter == "\ufffd" for letter in cell)
