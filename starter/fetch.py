"""``fetch``: finds whom to erase, now or night after night."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from activities.datamap import DataMap
from activities.fetching import exported, messages, order
from activities.fetching.messages import Criteria, Fetch, Fetched
from activities.messages import Batch
from activities.vault import VaultMissingError
from starter import fetch_file, fetch_schedule, fetch_tables
from starter.csv_file import CsvFile
from starter.erase import plan
from starter.exit_codes import ExitCode
from starter.fetch_progress import follow
from starter.session import Session, UsageError, err, out, print_json, run, session
from workflows.fetch import FetchInactive, FetchRequest, HandOver
from workflows.messages import Retry

LEAST = timedelta(hours=1)
"""How long a CSV stays in the vault to be taken, however short the policy's times are."""


class NullActivity(StrEnum):
    """Values of ``--null-activity``."""

    EXCLUDE = "exclude"
    INCLUDE = "include"


def fetch(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The CSV to write.")] = None,
    days_inactive: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Inactive for longer than so many days.")
    ] = None,
    min_projects: Annotated[int | None, typer.Option(min=0, help="In so many projects at least.")] = None,
    max_contributors: Annotated[
        int | None, typer.Option(min=1, help="So many people at most, the longest inactive first.")
    ] = None,
    status: Annotated[str, typer.Option(help="Their status.")] = "INACTIVE",
    max_projects: Annotated[int | None, typer.Option(min=0, help="In so many projects at most.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="CSV of people to leave out, as `erase` reads it.")] = None,
    null_activity: Annotated[
        NullActivity | None,
        typer.Option(help="Whether no last activity counts as inactive; undecided, they are left out and told."),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="DATE", help="Count back from this day's start in UTC, not from now."
        ),
    ] = None,
    vault: Annotated[
        bool,
        typer.Option("--vault", help="Keep CSV and dated copy in the vault too, for the policy's retention."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    from_run: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Take the CSV that an earlier run keeps in the vault.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="CRON", help="Run by itself, as in '0 2 * * *' (UTC); into the vault.")
    ] = None,
    erase: Annotated[
        bool,
        typer.Option("--erase", help="Each scheduled run is submitted, and waits for somebody else's approval."),
    ] = False,
    unschedule: Annotated[bool, typer.Option("--unschedule", help="End the schedule.")] = False,
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    operator: Annotated[
        str | None, typer.Option(help="Who asks; the login name unless said.", envvar="ERASURE_OPERATOR")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Find inactive contributors, and write the CSV that `erase` reads.

    Who is under a legal hold, or erased already, is never fetched. A dated copy lies beside the file, and is never
    replaced. Ids stand in it as they are: a spreadsheet may take one for a formula.

    Exit codes: 0 written, 1 failed, 2 bad input, 3 nobody was found and nothing written, 5 cannot reach something.

    Example: python -m starter fetch -o ids.csv --days-inactive 365 --min-projects 1 --max-contributors 500

    Every night: python -m starter fetch --days-inactive 365 --min-projects 1 --max-contributors 500
    --schedule '0 2 * * *' --erase
    """

    async def main() -> ExitCode:
        if unschedule:
            async with session() as opened:
                await fetch_schedule.remove(opened)
            _say("The schedule has ended. What it handed over goes on.")
            return ExitCode.ERASED
        if from_run is not None:
            file = _target(output, force=force)
            async with session() as opened:
                return await _take(opened, await _kept(opened, from_run), file, force=force, as_json=json)
        criteria = _criteria(days_inactive, min_projects, max_projects, max_contributors, status, null_activity)
        moment = _moment(as_of)
        if erase and schedule is None:
            raise UsageError("--erase goes with --schedule. Look at the file, then: erase FILE --require-approval")
        if schedule is not None and (output is not None or moment is not None):
            raise UsageError("A schedule writes no file, and counts from its own time: leave out -o and --as-of.")
        target = None if schedule is not None else _target(output, force=force)
        data_map = DataMap.read(config)
        if data_map.fetch is None:
            raise UsageError(
                f"{config} has no table [fetch]. Add one that says where status and last activity stand, as in "
                'status = "status" and last_activity = "last_activity_at".'
            )
        excluded = _Excluded(exclude, data_map.identity.id_pattern)
        async with session() as opened:
            await opened.vault.probe()
            policy = data_map.policy
            run_id = f"fetch-{'order-' if schedule is not None else ''}{secrets.token_hex(8)}"
            await order.write(await opened.vault.create(run_id), data_map, excluded.ids())
            request = FetchRequest(
                Batch(run_id, data_map.digest),
                criteria,
                moment,
                Retry(policy.max_attempts, policy.give_up_after),
                timedelta(seconds=policy.heartbeat_timeout),
                keep=vault or (schedule is not None and not erase),
                keep_for=max(LEAST, policy.retention if vault or schedule is not None else policy.park_timeout),
                hand_over=HandOver(
                    operator or getpass.getuser(), await plan(opened.vault, data_map, require_approval=True)
                )
                if erase
                else None,
            )
            if schedule is not None:
                return await _schedule(opened, schedule, request, as_json=json)
            assert target is not None, "a fetch that is not scheduled writes a file"
            return await _once(opened, request, target, force=force, as_json=json)

    run(main, "Its CSV is destroyed in the vault if nobody takes it: python -m starter fetch --from RUN -o FILE")


def _criteria(
    days_inactive: int | None,
    min_projects: int | None,
    max_projects: int | None,
    max_contributors: int | None,
    status: str,
    null_activity: NullActivity | None,
) -> Criteria:
    if days_inactive is None or min_projects is None or max_contributors is None:
        raise UsageError("Say whom to fetch: --days-inactive, --min-projects and --max-contributors are all needed.")
    if max_projects is not None and max_projects < min_projects:
        raise UsageError("--max-projects is less than --min-projects: nobody has so many.")
    decided: messages.NullActivity | None = null_activity.value if null_activity else None
    return Criteria(days_inactive, max_contributors, min_projects, max_projects, status, decided)


def _moment(as_of: datetime | None) -> datetime | None:
    """The day's start in UTC."""
    if as_of is None:
        return None
    if as_of.date() > datetime.now(UTC).date():
        raise UsageError("--as-of lies in the future: people who are active today would count as inactive.")
    return as_of.replace(tzinfo=UTC)


def _target(output: Path | None, *, force: bool) -> Path:
    if output is None:
        raise UsageError("Name the file to write: -o ids.csv")
    fetch_file.check(output, force=force)
    return output


class _Excluded:
    """The people to leave out: read as `erase` reads its file, and refused where a line is bad."""

    def __init__(self, path: Path | None, id_pattern: str) -> None:
        self._file = CsvFile(path, id_pattern) if path else None
        if self._file is not None:
            self._file.inspect()

    def ids(self) -> Iterator[str]:
        """Yields their ids."""
        if self._file is not None:
            for row in self._file.rows():
                yield row.contributor_id


async def _once(opened: Session, request: FetchRequest, target: Path, *, force: bool, as_json: bool) -> ExitCode:
    """Runs a fetch, follows it, and takes its CSV."""
    run_id = request.order.batch_id
    await opened.client.start_workflow(
        FetchInactive.run,
        request,
        id=run_id,
        task_queue=opened.temporal.task_queue,
        static_summary=f"Fetch {request.criteria}"[:200],
    )
    _say(f"Fetches as {run_id}.")
    known = await follow(opened, run_id, quiet=as_json)
    assert known.fetched is not None, "a fetch that did not fail knows how many it found"
    if not known.fetched.contributors:
        task = Fetch(run_id, request.order, request.criteria, known.as_of, known.stamp)
        _show(task, known.fetched, {}, as_json=as_json)
        _say("Nobody was found; nothing was written.", "bold yellow")
        return ExitCode.WARNED
    code = await _take(opened, await _kept(opened, run_id), target, force=force, as_json=as_json)
    if request.keep:
        _say(f"Both stay in the vault for a while: python -m starter fetch --from {run_id} -o FILE")
    return code


async def _kept(opened: Session, run_id: str) -> exported.Export:
    """What a fetch left in the vault."""
    try:
        return await exported.read(await opened.vault.open(run_id))
    except VaultMissingError:
        raise UsageError(
            f"The vault keeps no CSV of {run_id}: it was taken, or its time is over. Fetch anew."
        ) from None


async def _take(opened: Session, found: exported.Export, target: Path, *, force: bool, as_json: bool) -> ExitCode:
    """Takes a fetch's CSV out of the vault."""
    task = found.task
    vault = await opened.vault.open(task.run_id)
    backup = await fetch_file.write(target, vault.chunks(found.csv), task.stamp, force=force)
    await opened.client.get_workflow_handle(task.run_id).signal(FetchInactive.taken)
    _show(task, found.fetched, {"file": str(target), "backup": str(backup)}, as_json=as_json)
    _say(f"Wrote {found.fetched.contributors:,} contributors to {target}, and a copy to {backup}.", "bold green")
    return ExitCode.ERASED


async def _schedule(opened: Session, cron: str, request: FetchRequest, *, as_json: bool) -> ExitCode:
    following = await fetch_schedule.put(opened, cron, request)
    if as_json:
        print_json(
            {
                "schedule": fetch_schedule.handle(opened).id,
                "next": [moment.isoformat() for moment in following],
                "erase": request.hand_over is not None,
            }
        )
        return ExitCode.ERASED
    first = following[0].strftime("%Y-%m-%d %H:%M UTC") if following else "never"
    _say(f"Scheduled as {fetch_schedule.handle(opened).id}, first at {first}.")
    if request.hand_over is not None:
        needed = request.hand_over.plan.approvals
        _say(f"Each batch waits for {needed} approvals by others than {request.hand_over.operator}: see `list`.")
    else:
        _say("Each run keeps its CSV in the vault: python -m starter fetch --from RUN -o FILE")
    return ExitCode.ERASED


def _show(task: Fetch, found: Fetched, files: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(fetch_tables.as_json(task, found) | files)
    else:
        out.print(fetch_tables.summary(task, found))


def _say(message: str, style: str | None = None) -> None:
    err.print(message, style=style, highlight=False, markup=False, soft_wrap=True)
