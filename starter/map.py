"""``map``: the data map against the stores' own catalogues, and a first one made from them."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from activities import drift, stores
from activities.contract import AnyStoreKind, Finding, Health, Store
from activities.datamap import DataMap
from activities.errors import ErasureError, TransientError
from activities.identity_table import guess
from activities.settings import load
from activities.stores.postgres import PostgresSettings, connect
from activities.suspicion import Suspicion
from starter.draft import Drafted, compose
from starter.exit_codes import ExitCode
from starter.session import UsageError, err, out, print_json, run

app = typer.Typer(help="The data map: compare it with the stores, or draft a first one.", no_args_is_help=True)


@dataclass(frozen=True)
class Looked:
    """What one store answered.

    Args:
        health: What probe and survey found; None where it could not be reached.
        failure: Why it could not.
    """

    health: Health | None = None
    failure: str | None = None


@app.command()
def check(
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the data map with each store's own catalogue, as it is done before each batch; changes nothing.

    Exit codes: 0 all of it is named, 1 something is not or forbids to start, 3 warnings, 5 a store cannot be reached.

    Example: python -m starter map check
    """

    async def main() -> ExitCode:
        data_map = DataMap.read(config)
        names = data_map.policy.order
        answers = await asyncio.gather(*(_look(stores.kinds()[name], data_map) for name in names))
        looked = dict(zip(names, answers, strict=True))
        code = _code(looked)
        if json:
            print_json({"stores": {name: _as_json(each) for name, each in looked.items()}, "exit_code": int(code)})
            return code
        for name, each in looked.items():
            _show(name, each)
        return code

    run(main)


@app.command()
def draft(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there; a new file.")] = None,
    look: Annotated[
        list[str] | None, typer.Option(help='Only these places: globs such as "postgres public.*".')
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with what could not be looked at.")] = False,
) -> None:
    """Write a first data map from the stores' own catalogues: every place that looks as if it held identities.

    Example: python -m starter map draft -o erasure.toml
    """

    async def main() -> ExitCode:
        suspicion = Suspicion(look=look or ["*"])
        kinds = stores.kinds()
        answers = await asyncio.gather(*(_suspect(kind, suspicion) for kind in kinds.values()))
        drafted = dict(zip(kinds, answers, strict=True))
        try:
            async with connect(load(PostgresSettings)) as pool:
                guesses = await guess(pool, suspicion)
        except ErasureError as error:
            _say(str(error), "red")
            guesses = []
        text = compose(drafted, guesses)
        if output is not None:
            _write(output, text)
        elif not json:
            typer.echo(text, nl=False)
        failures = [f"{name}: {each.failure}" for name, each in drafted.items() if each.failure]
        for failure in failures:
            _say(failure, "red")
        if json:
            print_json({"data_map": tomllib.loads(text), "failures": failures})
        return ExitCode.UNREACHABLE if failures else ExitCode.ERASED

    run(main)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already: a draft overwrites nothing. Name another file with -o.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    _say(f"Wrote {path}. Read each entry, then: python -m starter map check --config {path}")


@asynccontextmanager
async def _opened(kind: AnyStoreKind, table: Any) -> AsyncIterator[Store]:
    async with kind.connect(load(kind.settings)) as client:
        yield kind.open(client, table, lambda _place, _done: None)


async def _look(kind: AnyStoreKind, data_map: DataMap) -> Looked:
    try:
        async with _opened(kind, data_map.tables[kind.name]) as store:
            return Looked(await drift.check(kind.name, store, data_map))
    except TransientError as error:
        return Looked(failure=str(error))
    except ErasureError as error:
        return Looked(Health("", problems=[Finding(error.place, error.what, error.remedy)]))


async def _suspect(kind: AnyStoreKind, suspicion: Suspicion) -> Drafted:
    try:
        async with _opened(kind, drift.nothing(kind)) as store:
            return Drafted(await store.survey(suspicion))
    except ErasureError as error:
        return Drafted(failure=str(error))


def _code(looked: dict[str, Looked]) -> ExitCode:
    found = [each.health for each in looked.values() if each.health is not None]
    if any(health.problems for health in found):
        return ExitCode.FAILED
    if len(found) < len(looked):
        return ExitCode.UNREACHABLE
    return ExitCode.WARNED if any(health.warnings for health in found) else ExitCode.ERASED


def _as_json(looked: Looked) -> dict[str, Any]:
    if looked.health is None:
        return {"failure": looked.failure}
    return {**asdict(looked.health), "failure": None}


def _show(name: str, looked: Looked) -> None:
    health = looked.health
    if health is None:
        _say(f"{name}: {looked.failure}", "red")
        return
    clean = "" if health.problems or health.warnings else ": all of it is named"
    out.print(f"{name} {health.version}".rstrip() + clean, highlight=False, markup=False)
    for title, style, findings in (
        ("problem", "red", health.problems),
        ("warning", "yellow", health.warnings),
        ("note", None, health.notes),
    ):
        for finding in findings:
            out.print(f"  {title}: {finding}", style=style, highlight=False, markup=False, soft_wrap=True)


def _say(message: str, style: str | None = None) -> None:
    err.print(message, style=style, highlight=False, markup=False, soft_wrap=True)
