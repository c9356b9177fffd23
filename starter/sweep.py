"""``sweep``: finds who was erased and came back, and erases them again; now, or on a schedule."""

from __future__ import annotations

import getpass
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    WorkflowFailureError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities import report, submission
from activities.datamap import DataMap
from activities.errors import CriticalError
from activities.sweeping.messages import Swept
from activities.sweeping.steps import ARCHIVE
from activities.temporal import idle_queues
from starter import exit_codes, tables
from starter.erase import plan
from starter.exit_codes import ExitCode
from starter.session import Session, UsageError, err, out, print_json, run, session
from starter.watch import until_over
from workflows.sweep import SweepErased, SweepRequest


def sweep(
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show who came back, and erase nothing.")] = False,
    schedule: Annotated[
        str | None, typer.Option(help='Do it again and again: five fields of cron, in UTC, as "0 3 * * *".')
    ] = None,
    unschedule: Annotated[bool, typer.Option("--unschedule", help="Do it no more by itself.")] = False,
    operator: Annotated[
        str | None, typer.Option(help="Who asks; the login name unless said.", envvar="ERASURE_OPERATOR")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end of the batch.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Find identities that were erased and came back, by a restored dump or late data, and erase them as a new batch.

    Exit codes: 0 nobody came back, or the batch has erased them; 3 somebody came back and --dry-run was said, or not
    everything could be looked at; the others are the batch's.

    Example: python -m starter sweep --dry-run
    """

    async def main() -> ExitCode:
        if unschedule and (schedule or dry_run):
            raise UsageError("--unschedule goes with no other option.")
        if schedule is not None and len(schedule.split()) != 5:
            raise UsageError('--schedule takes five fields of cron, as "0 3 * * *".')
        async with session() as opened:
            if unschedule:
                return await _unschedule(opened)
            data_map = DataMap.read(config)
            await submission.write_data_map(await opened.vault.archive(ARCHIVE), data_map)
            how = await plan(opened.vault, data_map)
            request = SweepRequest(data_map.digest, operator or getpass.getuser(), how, dry_run=dry_run)
            if schedule is not None:
                return await _schedule(opened, request, schedule)
            return await _sweep(opened, request, detach=detach, as_json=json)

    run(main)


async def _sweep(opened: Session, request: SweepRequest, *, detach: bool, as_json: bool) -> ExitCode:
    if idle := await idle_queues(opened.client, opened.temporal, request.plan.order):
        err.print(f"No worker answers on {', '.join(idle)}: start one, python -m worker", highlight=False)
    handle = await opened.client.start_workflow(
        SweepErased.run,
        request,
        id=f"sweep-{secrets.token_hex(8)}",
        task_queue=opened.temporal.task_queue,
        static_summary=_summary(request),
    )
    try:
        swept = await handle.result()
    except WorkflowFailureError as error:
        raise CriticalError("sweep", _why(error), "Sweep again then.") from None
    shown: dict[str, Any] = asdict(swept)
    if not as_json:
        _show(swept)
    code = ExitCode.ERASED if swept.is_whole and (swept.batch_id or not swept.came_back) else ExitCode.WARNED
    if swept.batch_id is not None and not detach:
        view = await until_over(opened, swept.batch_id, quietly=as_json)
        if view.status is not None:
            shown["batch"] = report.as_json(view.status)
            if not as_json:
                out.print(tables.summary(view.status, opened.url(swept.batch_id)))
            code = exit_codes.of(view.status) or code
    if as_json:
        print_json(shown)
    return code


async def _schedule(opened: Session, request: SweepRequest, cron: str) -> ExitCode:
    """Makes the schedule, or changes it: there is one a task queue."""
    name = _name(opened)
    wanted = Schedule(
        action=ScheduleActionStartWorkflow(
            SweepErased.run,
            request,
            id=name,
            task_queue=opened.temporal.task_queue,
            static_summary=_summary(request),
        ),
        spec=ScheduleSpec(cron_expressions=[cron]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        try:
            handle = await opened.client.create_schedule(name, wanted)
        except ScheduleAlreadyRunningError:
            handle = opened.client.get_schedule_handle(name)
            await handle.update(lambda _: ScheduleUpdate(wanted))
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise UsageError('--schedule takes five fields of cron, as "0 3 * * *".') from None
    following = (await handle.describe()).info.next_action_times
    when = f", next at {following[0]:%Y-%m-%d %H:%M} UTC" if following else ""
    err.print(f"Scheduled as {name}{when}. Say it again whenever the data map changes.", highlight=False)
    return ExitCode.ERASED


async def _unschedule(opened: Session) -> ExitCode:
    name = _name(opened)
    try:
        await opened.client.get_schedule_handle(name).delete()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise UsageError(f"There is no schedule {name}.") from None
    err.print(f"Removed the schedule {name}.", highlight=False)
    return ExitCode.ERASED


def _show(swept: Swept) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("store", "place"):
        table.add_column(heading, overflow="fold")
    for heading in ("came back", "kept"):
        table.add_column(heading, justify="right")
    for store in swept.stores:
        for place in sorted({*store.came_back, *store.kept}):
            counts = (store.came_back.get(place, 0), store.kept.get(place, 0))
            table.add_row(store.store, escape(place), *(f"{count:,}" for count in counts))
    if table.row_count:
        out.print(table)
    for store in swept.stores:
        for finding in store.not_looked_at:
            out.print(f"Not looked at: {finding}", markup=False, highlight=False, soft_wrap=True)
    lines = [f"{swept.came_back:,} identities came back." if swept.came_back else "Nobody came back."]
    if swept.batch_id is not None:
        started = "is on its way since an earlier sweep" if swept.was_running else "erases them again"
        lines.append(f"Batch {swept.batch_id} of {swept.contributors:,} people {started}.")
    if swept.more:
        lines.append("There are more of them than fit into one batch: sweep again once it is through.")
    out.print(" ".join(lines), markup=False, highlight=False, soft_wrap=True)


def _why(error: WorkflowFailureError) -> str:
    cause = error.cause
    why = cause.message if isinstance(cause, ApplicationError) else f"it ended by {type(cause).__name__}"
    return why.removesuffix(".")


def _summary(request: SweepRequest) -> str:
    return f"Who came back after their erasure{' (dry run)' * request.dry_run}, asked by {request.operator}"[:200]


def _name(opened: Session) -> str:
    return f"sweep-{opened.temporal.task_queue}"
