"""``hold``: contributors who must not be erased now."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from activities.holds import Holds
from activities.settings import load
from activities.stores.postgres import PostgresSettings, connect
from starter.exit_codes import ExitCode
from starter.session import err, out, print_json, run

app = typer.Typer(help="Legal holds: contributors who must not be erased now.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Contributor ids.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@asynccontextmanager
async def _holds() -> AsyncIterator[Holds]:
    async with connect(load(PostgresSettings)) as pool:
        yield Holds(pool)


@app.command()
def add(
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why.")],
    operator: Annotated[str | None, typer.Option(help="Who asks.", envvar="ERASURE_OPERATOR")] = None,
    json: Json = False,
) -> None:
    """Place holds.

    Example: python -m starter hold add 1042 1043 --reason "case 17/2026"
    """

    async def main() -> ExitCode:
        async with _holds() as holds:
            new = await holds.add(ids, operator or getpass.getuser(), reason)
        err.print(f"Placed {new} holds, {len(set(ids)) - new} were there already.", highlight=False)
        if json:
            print_json({"placed": new, "there_already": len(set(ids)) - new})
        return ExitCode.ERASED

    run(main)


@app.command()
def remove(ids: Ids, json: Json = False) -> None:
    """Lift holds.

    Example: python -m starter hold remove 1042
    """

    async def main() -> ExitCode:
        async with _holds() as holds:
            lifted = await holds.remove(ids)
        err.print(f"Lifted {lifted} holds, {len(set(ids)) - lifted} were not there.", highlight=False)
        if json:
            print_json({"lifted": lifted, "not_there": len(set(ids)) - lifted})
        return ExitCode.ERASED

    run(main)


@app.command("list")
def list_holds(json: Json = False) -> None:
    """List the holds.

    Example: python -m starter hold list
    """

    async def main() -> ExitCode:
        async with _holds() as holds:
            found = await holds.all()
        if json:
            print_json([asdict(hold) | {"placed_at": hold.placed_at.isoformat()} for hold in found])
            return ExitCode.ERASED
        table = Table(box=None, pad_edge=False)
        for name in ("contributor", "placed", "operator", "reason"):
            table.add_column(name)
        for hold in found:
            placed = hold.placed_at.strftime("%Y-%m-%d %H:%M")
            table.add_row(hold.contributor_id, placed, hold.operator, hold.reason)
        out.print(table)
        return ExitCode.ERASED

    run(main)
