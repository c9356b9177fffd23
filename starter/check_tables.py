"""How checks and a preview look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from rich import filesize
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activities.checking.messages import Check, CheckState, CheckStatus, Forecast, Preview
from activities.contract import Extent

_STYLES = {
    CheckState.OK: "green",
    CheckState.WARNED: "yellow",
    CheckState.FAILED: "bold red",
    CheckState.NOT_RUN: "bold red",
}


def whole(status: CheckStatus, checks: Sequence[Check], retention: timedelta) -> RenderableType:
    """Checks, and what the erasure would do where that was asked for.

    Args:
        status: What is known.
        checks: All checks, those of the command line too.
        retention: How long an erasure could be undone.
    """
    parts: list[RenderableType] = [of_checks(checks)]
    if status.previews:
        parts += [Text(), _of_impact(status.previews)]
        parts += [Text(line, style="yellow") for line in _one_way(status, retention)]
    if status.forecast is not None:
        parts += [Text(), _of_forecast(status.forecast)]
    if status.dry_run:
        parts.append(Text("Nothing was written to any store; the vault's copy of the CSV is shredded."))
    return Group(*parts)


def of_checks(checks: Sequence[Check]) -> RenderableType:
    """A row a check, and below it what was found and what to do."""
    table = Table(box=None, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        shown = [Text(check.facts)] if check.facts and check.state in (CheckState.OK, CheckState.WARNED) else []
        shown += [Text(line, style=style) for line, style in _findings(check)]
        table.add_row(check.name, Text(check.state, style=_STYLES[check.state]), Text("\n").join(shown))
    return table


def _findings(check: Check) -> Iterator[tuple[str, str]]:
    for problem in check.problems:
        yield str(problem), "red"
    if check.failure is not None:
        yield str(check.failure), "red"
    for warning in check.warnings:
        yield str(warning), "yellow"
    for note in check.notes:
        yield f"note: {note}", ""


def _of_impact(previews: Sequence[Preview]) -> Table:
    table = Table(title="What an erasure would touch", title_justify="left", box=None, pad_edge=False)
    table.add_column("place", overflow="fold")
    for name in ("records", "bytes", "parts", "rewritten", "one-way"):
        table.add_column(name, justify="right", no_wrap=True)
    for preview in previews:
        table.add_row(Text(preview.store, style="bold"), *_cells(preview.records, preview.extent))
        for place, records in preview.places.items():
            table.add_row(Text(f"  {place}"), *_cells(records, preview.extents.get(place, Extent())))
    return table


def _cells(records: int, extent: Extent) -> list[str]:
    size = "" if extent.bytes is None else filesize.decimal(extent.bytes)
    rewritten = filesize.decimal(extent.rewritten) if extent.parts else ""
    parts, lost = (f"{count:,}" if count else "" for count in (extent.parts, extent.lost))
    return [f"{records:,}", size, parts, rewritten, lost]


def _one_way(status: CheckStatus, retention: timedelta) -> Iterator[str]:
    """What cannot be undone."""
    for preview in status.previews:
        if lost := preview.extent.lost:
            yield f"Cannot be undone: {lost:,} records of {preview.store} are not put back by a rollback."
    if status.irreversible:
        yield f"Cannot be undone, by the data map: {', '.join(status.irreversible)}."
    after = str(retention).removesuffix(", 0:00:00")
    yield f"All else can be rolled back until its back-up is shredded, {after} after the end."


def _of_forecast(forecast: Forecast) -> Table:
    title = f"About {timedelta(seconds=round(forecast.seconds))} in all"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("reckoned from", overflow="fold")
    for pace in forecast.paces:
        table.add_row(pace.step, f"{pace.seconds:,.1f}", Text(pace.basis))
    table.add_row("size of the back-up", filesize.decimal(forecast.back_up), Text(forecast.basis))
    return table
