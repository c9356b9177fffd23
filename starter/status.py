"""``status`` and ``list``: one look at a batch, or at all."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from activities import report as reports
from activities.temporal import UnreachableError
from starter import exit_codes, tables
from starter.batches import WORKFLOW_TYPE, look
from starter.exit_codes import ExitCode
from starter.session import UsageError, out, print_json, run, session


def status(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a batch is; the exit code says how it ended.

    Example: python -m starter status erase-0123456789abcdef
    """

    async def main() -> ExitCode:
        async with session() as opened:
            view = await look(opened, batch)
            if view.status is None and view.closed:
                raise UsageError(f"The batch {batch} ended without a report: it was terminated.")
            if view.status is None:
                raise UnreachableError("No worker answers for this batch", "Start one: python -m worker")
            if json:
                print_json(reports.as_json(view.status))
            elif view.closed or view.status.is_settled or view.status.needs_operator:
                out.print(tables.summary(view.status, opened.url(batch)))
            else:
                out.print(tables.live(view, opened.url(batch)))
            return exit_codes.of(view.status)

    run(main)


def list_batches(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the batches that Temporal knows, newest first.

    Example: python -m starter list
    """

    async def main() -> ExitCode:
        async with session() as opened:
            rows: list[dict[str, Any]] = []
            async for found in opened.client.list_workflows(f"WorkflowType = '{WORKFLOW_TYPE}'"):
                memo = await found.memo()
                rows.append(
                    {
                        "batch_id": found.id,
                        "status": found.status.name.lower() if found.status else "unknown",
                        "contributors": memo.get("contributors"),
                        "operator": memo.get("operator"),
                        "started_at": found.start_time.isoformat(timespec="seconds"),
                        "ended_at": found.close_time.isoformat(timespec="seconds") if found.close_time else None,
                    }
                )
        if json:
            print_json(rows)
            return ExitCode.ERASED
        table = Table(box=None, pad_edge=False)
        for name in ("batch", "status", "contributors", "operator", "started", "ended"):
            table.add_column(name, justify="right" if name == "contributors" else "left")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        out.print(table)
        return ExitCode.ERASED

    run(main)
