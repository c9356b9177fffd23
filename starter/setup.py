"""``setup``: whether all that a batch needs is there, works, and may be used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from activities.setup import Result, Setup, State, checks
from starter.exit_codes import ExitCode
from starter.session import err, out, print_json, run

_CODES = {
    State.OK: ExitCode.ERASED,
    State.UNUSED: ExitCode.ERASED,
    State.WARNED: ExitCode.WARNED,
    State.FAILED: ExitCode.FAILED,
    State.UNREACHABLE: ExitCode.UNREACHABLE,
    State.BAD_INPUT: ExitCode.BAD_INPUT,
}

_STYLES = {
    State.OK: "green",
    State.UNUSED: "dim",
    State.WARNED: "yellow",
    State.FAILED: "bold red",
    State.UNREACHABLE: "bold red",
    State.BAD_INPUT: "bold red",
}


def setup(
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    retry: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="Try what failed again, for so many seconds at most."),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Make what is missing of the tool's own: vault bucket, schema erasure."),
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long one check may take.")] = 30,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check all that a batch needs: packages, data map, vault, stores, Temporal, workers, the platform's API.

    Run it where the worker runs, in the worker's environment: it connects from here. Each right that a batch will need
    is tried on something harmless. ClickHouse is reached through its tunnel, which is open as long as its check.

    Exit codes: 0 all fine, 1 something is wrong, 2 a setting or the data map is, 3 warnings, 5 something cannot be
    reached.

    Example: python -m starter setup --fix --retry 300
    """

    async def main() -> ExitCode:
        everything = checks(config)
        screen = _Screen([check.name for check in everything])
        made = Setup(everything, timeout, screen.tell)
        async with screen.shown(quiet=json or not out.is_terminal):
            await made.run()
            fixed = await made.fix() if fix else {}
            if retry is not None:
                await made.retry(retry)
        code = _CODES[made.worst]
        if json:
            print_json(_as_json(made, fixed, code))
        else:
            _print(made, fixed)
        return code

    run(main, "Nothing was changed that --fix was not asked for.")


class _Screen:
    """The checks as they run.

    Args:
        names: What is checked.
    """

    def __init__(self, names: list[str]) -> None:
        self._results: dict[str, Result | None] = dict.fromkeys(names)
        self._live: Live | None = None

    @asynccontextmanager
    async def shown(self, *, quiet: bool) -> AsyncIterator[None]:
        """Shows them for as long as the block."""
        if quiet:
            yield
            return
        with Live(self._table(), console=out, refresh_per_second=8, transient=True) as self._live:
            yield

    def tell(self, name: str, result: Result | None) -> None:
        """Takes a result."""
        self._results[name] = result
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, result in self._results.items():
            state = Text("...", style="dim") if result is None else Text(result.state, style=_STYLES[result.state])
            table.add_row(name, state, result.version if result else "")
        return table


def _as_json(made: Setup, fixed: dict[str, str], code: ExitCode) -> dict[str, Any]:
    return {
        "checks": [{"name": name, **asdict(result)} for name, result in made.results.items()],
        "fixed": fixed,
        "exit_code": int(code),
    }


def _print(made: Setup, fixed: dict[str, str]) -> None:
    """A line a check, with what is wrong and what to do below it."""
    for name, result in made.results.items():
        line = Text(f"{name:<15}")
        line.append(f"{result.state:<12}", style=_STYLES[result.state])
        line.append(f"{result.latency_ms:>8,.0f} ms  {result.version}")
        out.print(line, soft_wrap=True)
        for finding in result.findings:
            out.print(f"  {finding}", style=_STYLES[result.state], highlight=False, markup=False, soft_wrap=True)
    for name, said in fixed.items():
        err.print(f"{name}: {said}", highlight=False, markup=False, soft_wrap=True)
    if made.failed:
        failed = ", ".join(check.name for check in made.failed)
        out.print(f"Not ready: {failed}. Mend it, then again; --retry waits for it.", style="bold red", soft_wrap=True)
    else:
        out.print("Ready.", style="bold green")
