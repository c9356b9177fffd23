"""``verify``: looks for what an erasure left, of a batch or of anybody in a CSV."""

from __future__ import annotations

import hashlib
import json as _json
from contextlib import nullcontext
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities import submission
from activities.datamap import DataMap
from activities.messages import Batch
from activities.verification import report
from activities.verification.messages import Verdict, VerificationStatus
from starter.batches import describe, look, looking
from starter.csv_file import CsvFile
from starter.erase import contributors as contributors_of
from starter.exit_codes import ExitCode
from starter.following import Said, looks
from starter.session import Session, UsageError, err, out, print_json, run, session
from workflows.messages import Retry
from workflows.verify import VerifyErasure, VerifyRequest, Whole

_EXIT = {
    Verdict.RUNNING: ExitCode.FAILED,
    Verdict.ESTIMATED: ExitCode.ERASED,
    Verdict.PROVEN: ExitCode.ERASED,
    Verdict.PARTLY: ExitCode.WARNED,
    Verdict.NOT_PROVEN: ExitCode.WARNED,
    Verdict.RESIDUALS: ExitCode.FAILED,
}

_STYLES = {
    Verdict.PROVEN: "bold green",
    Verdict.ESTIMATED: "bold cyan",
    Verdict.RUNNING: "cyan",
    Verdict.RESIDUALS: "bold red",
}

Handle = WorkflowHandle[VerifyErasure, VerificationStatus]


class HowFar(StrEnum):
    """Values of ``--depth``."""

    MAPPED = "mapped"
    CATALOGUE = "catalogue"
    DEEP = "deep"


def verify(
    target: Annotated[str, typer.Argument(metavar="BATCH|IDS", help="A batch's id, or a CSV of contributors.")],
    depth: Annotated[
        HowFar | None,
        typer.Option(help="The data map's places, all text that the catalogues name, or all that can be read."),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Reckon what it will cost, and read nothing.")] = False,
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report there, as Markdown and JSON.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Look for every identity of a batch, or of a CSV, in all that the stores hold; trust no eraser.

    Exit codes: 0 proven, 1 residuals found, 2 bad input, 3 something could not be read, 5 cannot reach something.

    Example: python -m starter verify erase-0123456789abcdef --depth deep
    """

    csv = Path(target) if Path(target).is_file() else None

    async def main() -> ExitCode:
        data_map = DataMap.read(config)
        far = depth.value if depth else data_map.verification.depth
        async with session() as opened:
            made = _of_batch(opened, target) if csv is None else _of_csv(opened, csv, data_map)
            batch, contributors, manifest = await made
            request = VerifyRequest(
                batch,
                contributors,
                data_map.policy.order,
                looking(data_map, far),
                Retry(data_map.policy.max_attempts, data_map.policy.give_up_after),
                timedelta(seconds=data_map.policy.heartbeat_timeout),
                manifest,
                estimate,
            )
            handle = await _start(opened, request)
            status = await _follow(opened, handle, quiet=json)
            if status is None:
                return ExitCode.FAILED
            if output is not None:
                await _write(opened, status, output)
            if json:
                print_json(report.as_json(status))
            else:
                out.print(_table(status))
            return _EXIT[status.verdict]

    run(main, "The verification goes on: the same command shows it again.")


async def _of_csv(opened: Session, path: Path, data_map: DataMap) -> tuple[Batch, int, Whole | None]:
    """Puts the people of a CSV into the vault, for as long as they are looked for."""
    csv = CsvFile(path, data_map.identity.id_pattern)
    found = csv.inspect()
    await opened.vault.probe()
    name = await opened.vault.name_batch(hashlib.sha256(found.digest + data_map.digest.encode()).digest(), "verify")
    vault = await opened.vault.create(name)
    await submission.write(vault, data_map, contributors_of(csv))
    return Batch(name, data_map.digest), found.contributors, None


async def _of_batch(opened: Session, batch_id: str) -> tuple[Batch, int, Whole | None]:
    """Names a batch, whose manifest is in the vault until it is shredded."""
    if await describe(opened, batch_id) is None:
        raise UsageError(f"There is neither a file nor a batch {batch_id}. See `python -m starter list`.")
    status = (await look(opened, batch_id)).status
    if status is None:
        raise UsageError(f"Nobody can say who is in the batch {batch_id}: start a worker, python -m worker.")
    if status.shredded:
        what = "is shredded: nobody knows any more who was in it"
        raise UsageError(f"The batch {batch_id} {what}. Verify its CSV: python -m starter verify ids.csv")
    if not status.slices:
        raise UsageError(f"The batch {batch_id} has not resolved its identities: there is nothing to verify.")
    batch = Batch(batch_id, status.data_map_digest)
    return batch, status.contributors - status.held, Whole(status.slices, status.attempt)


async def _start(opened: Session, request: VerifyRequest) -> Handle:
    """Starts a verification; one of the same batch and depth that runs already is shown instead."""
    what = "estimate" if request.estimate_only else request.looking.depth
    return await opened.client.start_workflow(
        VerifyErasure.run,
        request,
        id=f"{request.batch.batch_id}-verify-{what}",
        task_queue=opened.temporal.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"Verify that {request.contributors:,} contributors are gone, depth: {request.looking.depth}",
    )


async def _follow(opened: Session, handle: Handle, *, quiet: bool) -> VerificationStatus | None:
    """Shows a verification until it has ended; None where it ended without a result, which is said."""
    said = Said()
    live = None if quiet or not out.is_terminal else Live(console=out, refresh_per_second=4, transient=True)
    with live or nullcontext():
        async for look in looks(opened, handle, VerifyErasure.status, VerificationStatus, said):
            if live:
                live.update(_table(look.status))
            for store, cost in look.status.estimates.items():
                said.say(f"{store}: about {cost.records:,} records, {cost.seconds:,.0f} s ({cost.basis})")
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        err.print(f"The verification {handle.id} did not end: {error.cause}", style="red", markup=False, soft_wrap=True)
        return None


async def _write(opened: Session, status: VerificationStatus, folder: Path) -> None:
    """Writes the report as files."""
    if status.report is None:
        raise UsageError("The verification has no report.")
    found = await report.read(await opened.vault.archive(status.batch_id), status.report)
    _save(found, folder, f"{status.batch_id}-verification")


def _save(found: dict[str, Any], folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(found["markdown"], encoding="utf-8")
        (folder / f"{name}.json").write_text(_json.dumps(found["json"], indent=2), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}. Name another folder with -o.") from None
    err.print(f"Wrote {name}.md and {name}.json into {folder}.", highlight=False, markup=False, soft_wrap=True)


def _table(status: VerificationStatus) -> RenderableType:
    """A verification: a row a scan, then what was found, and what nobody could look at."""
    style = _STYLES.get(status.verdict, "bold yellow")
    title = f"{status.batch_id}: {status.verdict}"
    table = Table(title=title, title_style=style, title_justify="left", box=None, pad_edge=False)
    table.add_column("scan", no_wrap=True)
    for name in ("records", "seconds", "places proven", "residuals", "not proven", "masks"):
        table.add_column(name, justify="right", no_wrap=True)
    scans = {scan.store: scan for scan in status.scans}
    for store in status.stores:
        if scan := scans.get(store):
            found = sum(residual.count for residual in scan.residuals)
            cells = [f"{scan.records:,}", f"{scan.seconds:,.1f}", f"{len(scan.proven):,}", f"{found:,}"]
            table.add_row(store, *cells, f"{len(scan.not_proven):,}", f"{sum(scan.masked.values()):,}")
        elif cost := status.estimates.get(store):
            table.add_row(store, f"~{cost.records:,}", f"~{cost.seconds:,.0f}", "", "", "", "")
        else:
            table.add_row(store, *[""] * 6)
    parts: list[RenderableType] = [table]
    if access := status.access:
        asked = f"platform API: {access.refused:,} of {access.asked:,} answered with SYSTEM_ERROR"
        known = f"{access.known:,} known; identity table: {access.listed:,} still listed"
        parts.append(Text(f"{asked}, {known}"))
    residuals = status.residuals.items()
    parts += [Text(f"residual: {place}: {count:,} records", style="red") for place, count in residuals]
    parts += [Text(f"not proven: {each}", style="yellow") for each in status.not_proven]
    return Group(*parts)
