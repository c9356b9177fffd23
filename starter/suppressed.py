"""``suppressed``: whether somebody was erased, so that whoever imports data can refuse them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from activities.identities import IdentityKind
from activities.settings import load
from activities.stores.postgres import PostgresSettings, connect
from activities.tombstones import Tombstones
from starter.exit_codes import ExitCode
from starter.session import UsageError, err, opened_vault, out, print_json, run

AT_ONCE = 10_000


@dataclass(frozen=True)
class Answer:
    """What is known of one value.

    Args:
        value: It, as it was given.
        kind: As what it was erased; None where it was not.
        batch_id: By which batch, of several the latest.
        erased_at: When.
    """

    value: str
    kind: IdentityKind | None = None
    batch_id: str | None = None
    erased_at: datetime | None = None


def suppressed(
    ids: Annotated[list[str] | None, typer.Argument(help="Contributor ids, worker ids or addresses.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="A file with one of them a line; - reads standard input, away from `ps`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say of each contributor id, worker id or address whether it was erased, by which batch and when.

    Exit codes: 0 nobody of them was erased; 3 somebody was; 2 and 5 as everywhere.

    Example: python -m starter suppressed --file new-accounts.txt
    """

    async def main() -> ExitCode:
        values = [*(ids or []), *_lines(file)]
        if not values:
            raise UsageError("Name somebody, or a file with --file.")
        async with opened_vault() as vault, connect(load(PostgresSettings)) as pool:
            tombstones = await Tombstones.open(vault, pool)
            answers: list[Answer] = []
            for start in range(0, len(values), AT_ONCE):
                answers += await _look_up(tombstones, values[start : start + AT_ONCE])
            if await tombstones.has_other_keys():
                err.print("Some tombstones were made under another key of the vault: of these nothing is known here.")
        erased = [answer for answer in answers if answer.kind is not None]
        if json:
            print_json([_as_json(answer) for answer in answers])
        elif erased:
            out.print(_table(erased))
        if not json:
            out.print(f"{len(erased):,} of {len(answers):,} were erased.", highlight=False)
        return ExitCode.WARNED if erased else ExitCode.ERASED

    run(main)


async def _look_up(tombstones: Tombstones, values: list[str]) -> list[Answer]:
    """One query for all; a value counts as whatever kind it was erased."""
    marks = {
        (value, kind): tombstones.key.marks(kind, value) for value in dict.fromkeys(values) for kind in IdentityKind
    }
    found = await tombstones.among({mark for each in marks.values() for mark in each})
    answers: list[Answer] = []
    for value in values:
        erased = [
            Answer(value, kind, found[mark].batch_id, found[mark].erased_at)
            for kind in IdentityKind
            for mark in marks[value, kind]
            if mark in found
        ]
        answers.append(erased[0] if erased else Answer(value))
    return answers


def _lines(file: Path | None) -> list[str]:
    """The lines of a file that are not blank; an address may have blanks around it, an id has none."""
    if file is None:
        return []
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return [line for line in text.decode("utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8.") from None


def _as_json(answer: Answer) -> dict[str, str | bool | None]:
    return {
        "value": answer.value,
        "suppressed": answer.kind is not None,
        "kind": answer.kind,
        "batch_id": answer.batch_id,
        "erased_at": answer.erased_at.isoformat() if answer.erased_at else None,
    }


def _table(answers: list[Answer]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("value", "kind", "batch", "erased"):
        table.add_column(name)
    for answer in answers:
        when = f"{answer.erased_at:%Y-%m-%d %H:%M} UTC" if answer.erased_at else ""
        table.add_row(escape(answer.value), answer.kind, answer.batch_id, when)
    return table
