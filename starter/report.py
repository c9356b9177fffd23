"""``report``: a batch's report out of the vault."""

from __future__ import annotations

import json as _json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from activities import report as reports
from starter.exit_codes import ExitCode
from starter.session import UsageError, err, opened_vault, print_json, run


class Format(StrEnum):
    """Values of ``--format``; also what files are named after."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"


def report(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER|FILE",
            help="Write BATCH.html, BATCH.md and BATCH.json into a folder, or the one file that is named.",
        ),
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="Print or write this alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show a batch's report, or write it: as a page for people, as Markdown, and as JSON.

    Example: python -m starter report erase-0123456789abcdef -o reports
    """

    async def main() -> ExitCode:
        wanted = Format.JSON if json else format
        files = {} if output is None else _files(output, batch, wanted)
        async with opened_vault() as vault:
            found = await reports.read(await vault.archive(batch))
        if files:
            _write({path: _text(found, kind) for path, kind in files.items()})
        elif wanted is Format.JSON:
            print_json(found["json"])
        else:
            typer.echo(_text(found, wanted or Format.MARKDOWN).rstrip("\n"))
        return ExitCode.ERASED

    run(main)


def _files(output: Path, batch: str, wanted: Format | None) -> dict[Path, Format]:
    """What is to be written where: a name that ends in a format is a file's, any other one a folder's."""
    kinds = {f".{kind}": kind for kind in Format}
    if output.suffix not in kinds or output.is_dir():
        return {output / f"{batch}.{kind}": kind for kind in Format if wanted in (None, kind)}
    kind = kinds[output.suffix]
    if wanted not in (None, kind):
        raise UsageError(f"{output.name} is no name for the format {wanted}: end it in .{wanted}, or name a folder.")
    return {output: kind}


def _text(found: dict[str, Any], kind: Format) -> str:
    match kind:
        case Format.HTML:
            text: str = found["html"]
        case Format.MARKDOWN:
            text = found["markdown"]
        case Format.JSON:
            text = _json.dumps(found["json"], indent=2, ensure_ascii=False) + "\n"
    return text


def _write(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}. Name another place with -o.") from None
    err.print(f"Wrote {', '.join(map(str, texts))}.", highlight=False, markup=False, soft_wrap=True)
