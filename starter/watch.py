"""``watch``: follows a batch to its end."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.live import Live

from activities import report
from starter import exit_codes, tables
from starter.batches import View, look
from starter.exit_codes import ExitCode
from starter.session import Session, err, out, print_json, run, session

INTERVAL = 0.5
"""Seconds between two looks."""


def watch(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON in the end, no more.")] = False,
) -> None:
    """Follow a batch until it is reported, or waits for an operator.

    Example: python -m starter watch erase-0123456789abcdef
    """

    async def main() -> ExitCode:
        async with session() as opened:
            return await follow(opened, batch, as_json=json)

    run(main)


async def follow(opened: Session, batch_id: str, *, as_json: bool) -> ExitCode:
    """Shows a batch until it ends, then its summary.

    Args:
        opened: The session.
        batch_id: The batch.
        as_json: Print only the report, as JSON.

    Returns:
        The exit code that the batch's outcome asks for.
    """
    view = await until_over(opened, batch_id, quietly=as_json)
    if view.status is None:
        err.print(f"The batch {batch_id} ended without a report: it was terminated or its vault is gone.", style="red")
        return ExitCode.FAILED
    if as_json:
        print_json(report.as_json(view.status))
    else:
        out.print(tables.summary(view.status, opened.url(batch_id)))
    return exit_codes.of(view.status)


async def until_over(opened: Session, batch_id: str, *, quietly: bool) -> View:
    """Waits until there is nothing to wait for.

    Args:
        opened: The session.
        batch_id: The batch.
        quietly: Shows nothing on standard output.

    Returns:
        The last look.
    """
    if out.is_terminal and not quietly:
        return await _follow_live(opened, batch_id)
    return await _follow_quietly(opened, batch_id)


def _is_over(view: View) -> bool:
    """Whether there is nothing to wait for: the batch has ended, is reported, or waits for a person."""
    status = view.status
    return view.closed or (status is not None and (status.is_settled or status.needs_operator))


async def _follow_live(opened: Session, batch_id: str) -> View:
    with Live(console=out, refresh_per_second=4, transient=True) as screen:
        while not _is_over(view := await look(opened, batch_id)):
            screen.update(tables.live(view, opened.url(batch_id)))
            await asyncio.sleep(INTERVAL)
    return view


async def _follow_quietly(opened: Session, batch_id: str) -> View:
    """Says on standard error what changed, a line each: fit for logs."""
    said: set[str] = set()
    while not _is_over(view := await look(opened, batch_id)):
        lines = [f"no worker answers on {', '.join(view.idle_queues) or 'the task queue'}: start one, python -m worker"]
        if view.answered and not view.idle_queues:
            lines = []
        if view.status is not None:
            lines += [f"{phase.store}: {phase.state}" for phase in view.status.phases if phase.state != "pending"]
        for line in lines:
            if line not in said:
                said.add(line)
                err.print(line, highlight=False, markup=False)
        await asyncio.sleep(INTERVAL)
    return view
