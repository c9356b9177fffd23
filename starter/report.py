"""``report``: a batch's report out of the vault."""

from __future__ import annotations

import json as _json
from pathlib import Path
from typing import Annotated

import typer

from activities import report as reports
from starter.exit_codes import ExitCode
from starter.session import err, print_json, run, session


def report(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write BATCH.md and BATCH.json there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, not as Markdown.")] = False,
) -> None:
    """Show a batch's report, or write it to a folder.

    Example: python -m starter report erase-0123456789abcdef -o reports
    """

    async def main() -> ExitCode:
        async with session() as opened:
            found = await reports.read(await opened.vault.archive(batch))
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            markdown, document = output / f"{batch}.md", output / f"{batch}.json"
            markdown.write_text(found["markdown"], encoding="utf-8")
            document.write_text(_json.dumps(found["json"], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            err.print(f"Wrote {markdown} and {document}.", highlight=False)
        elif json:
            print_json(found["json"])
        else:
            typer.echo(found["markdown"])
        return ExitCode.ERASED

    run(main)
