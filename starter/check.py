"""``check`` and ``erase --dry-run``: whether a CSV could be erased, and what that would do."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities import submission
from activities.checking.messages import Check, CheckState, CheckStatus
from activities.contract import Contributor, Finding
from activities.datamap import DataMap
from activities.errors import ErasureError, TransientError
from activities.messages import Batch
from activities.temporal import UnreachableError, idle_queues
from starter import check_tables
from starter.batches import looking
from starter.csv_file import CsvFile, Summary
from starter.exit_codes import ExitCode
from starter.following import Said, looks
from starter.session import Session, out, print_json, run, session
from workflows.check import CheckErasure, CheckRequest
from workflows.messages import Retry

ATTEMPTS = 3
"""Tries of one step: whoever checks waits for the answer."""

PATIENCE = 5.0
"""Seconds that a worker may take to be seen on its task queues."""

GOES_ON = "The check ends by itself, and its copy of the CSV in the vault is shredded then."


def check(
    ids: Annotated[Path, typer.Argument(help="CSV of the contributors: ids, maybe emails and worker ids.")],
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Check whether the contributors of a CSV could be erased now, as each batch does before it begins.

    Writes to no store. The CSV lies in the vault, encrypted, until the check ends. Exit codes: 0 it would start,
    1 it would be refused, 2 bad input, 3 warnings, 5 cannot reach something.

    Example: python -m starter check ids.csv
    """
    run(lambda: checked(ids, config, dry_run=False, as_json=json), GOES_ON)


async def checked(ids: Path, config: Path, *, dry_run: bool, as_json: bool) -> ExitCode:
    """Runs the checks of a CSV and shows what they came to.

    Args:
        ids: The CSV.
        config: The data map's file.
        dry_run: Whether to preview the impact as well.
        as_json: Print one JSON document.
    """
    data_map = DataMap.read(config)
    csv = CsvFile(ids, data_map.identity.id_pattern)
    found = csv.inspect()
    first = [_of_csv(found), Check("configuration", f"{config.name}: {', '.join(data_map.policy.order)}")]
    async with session() as opened:
        status = await _run(opened, data_map, csv, found, dry_run=dry_run, as_json=as_json)
    checks = [*first, *status.checks]
    code = exit_code(checks)
    if as_json:
        print_json(_as_json(status, checks, code))
    else:
        out.print(check_tables.whole(status, checks, data_map.policy.retention))
    return code


def exit_code(checks: list[Check]) -> ExitCode:
    """The exit code that checks ask for: the worst that is true."""
    states = {each.state for each in checks}
    if CheckState.FAILED in states or any(each.failure and not each.unreachable for each in checks):
        return ExitCode.FAILED
    if CheckState.NOT_RUN in states:
        return ExitCode.UNREACHABLE
    return ExitCode.WARNED if CheckState.WARNED in states else ExitCode.ERASED


def _of_csv(found: Summary) -> Check:
    columns = [f"column {column} is not used" for column in found.ignored_columns]
    notes = [Finding("CSV", what, "Nothing of it is erased or kept.") for what in columns]
    facts = f"{found.contributors:,} contributors by {', '.join(found.columns)}; {found.duplicates:,} rows twice"
    return Check("CSV", facts, notes=notes)


async def _run(
    opened: Session, data_map: DataMap, csv: CsvFile, found: Summary, *, dry_run: bool, as_json: bool
) -> CheckStatus:
    """Has a worker run the checks; where the vault does not work, nothing can be handed to one."""
    stores = data_map.policy.order
    try:
        await opened.vault.probe()
    except ErasureError as error:
        failure = Finding(error.place, error.what, error.remedy)
        unreachable = isinstance(error, TransientError)
        failed = [Check("vault", failure=failure, unreachable=unreachable)]
        return CheckStatus("", found.contributors, stores, dry_run, failed)
    await _see_workers(opened, stores)
    name = hashlib.sha256(found.digest + data_map.digest.encode()).digest()
    batch = Batch(await opened.vault.name_batch(name, "dry-run" if dry_run else "check"), data_map.digest)
    people = (Contributor(row.contributor_id, row.emails, row.worker_ids) for row in csv.rows())
    await submission.write(await opened.vault.create(batch.batch_id), data_map, people)
    handle = await _start(opened, data_map, batch, found.contributors, dry_run=dry_run)
    return await _follow(opened, handle, quiet=as_json)


async def _see_workers(opened: Session, stores: list[str]) -> None:
    """Waits until every task queue has a worker.

    Raises:
        UnreachableError: One has none.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while idle := await idle_queues(opened.client, opened.temporal, stores):  # noqa: ASYNC110 - happens in other processes
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise UnreachableError(f"No worker answers on {', '.join(idle)}", "Start one: python -m worker") from None


async def _start(
    opened: Session, data_map: DataMap, batch: Batch, contributors: int, *, dry_run: bool
) -> WorkflowHandle[CheckErasure, CheckStatus]:
    """Starts the checks; those of the same file and data map that run already are shown instead."""
    policy = data_map.policy
    request = CheckRequest(
        batch,
        contributors,
        policy.order,
        dry_run,
        policy.shared,
        policy.concurrency,
        Retry(min(ATTEMPTS, policy.max_attempts), policy.give_up_after),
        timedelta(seconds=policy.heartbeat_timeout),
        looking(data_map, data_map.verification.depth) if data_map.verification.after_batch else None,
    )
    what = "Dry run of an erasure" if dry_run else "Checks before an erasure"
    return await opened.client.start_workflow(
        CheckErasure.run,
        request,
        id=batch.batch_id,
        task_queue=opened.temporal.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{what} of {contributors:,} contributors",
    )


async def _follow(opened: Session, handle: WorkflowHandle[CheckErasure, CheckStatus], *, quiet: bool) -> CheckStatus:
    """Shows checks as they end.

    Raises:
        UnreachableError: They ended without a result.
    """
    live = None if quiet or not out.is_terminal else Live(console=out, refresh_per_second=4, transient=True)
    with live or nullcontext():
        async for look in looks(opened, handle, CheckErasure.status, CheckStatus, Said()):
            if live:
                live.update(check_tables.of_checks(look.status.checks))
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        raise UnreachableError(f"The check {handle.id} did not end: {error.cause}", "Look at Temporal's log") from None


def _as_json(status: CheckStatus, checks: list[Check], code: ExitCode) -> dict[str, Any]:
    forecast = status.forecast
    return {
        "batch_id": status.batch_id,
        "contributors": status.contributors,
        "dry_run": status.dry_run,
        "exit_code": int(code),
        "checks": [{"name": each.name, "state": each.state, **asdict(each)} for each in checks],
        "people": asdict(status.people) | {"unknown": status.people.unknown} if status.people else None,
        "impact": [asdict(each) | {"records": each.records, "extent": asdict(each.extent)} for each in status.previews],
        "irreversible": status.irreversible,
        "forecast": asdict(forecast) | {"seconds": forecast.seconds} if forecast else None,
    }
