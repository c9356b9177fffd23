"""``erase``: submits a CSV as a batch."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities import submission
from activities.canary.person import name_of
from activities.contract import Contributor
from activities.datamap import DataMap
from activities.messages import Batch
from activities.vault import Vault
from starter import exit_codes
from starter.batches import describe, looking, reported
from starter.check import GOES_ON, checked
from starter.csv_file import CsvFile
from starter.exit_codes import ExitCode
from starter.session import Session, UsageError, err, print_json, run, session
from starter.watch import follow
from workflows.erase import EraseContributors
from workflows.messages import EraseRequest, Plan, Retry


class OnCritical(StrEnum):
    """Values of ``--on-critical``."""

    PARK = "park"
    ROLLBACK = "rollback"


BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")


def erase(
    ids: Annotated[Path, typer.Argument(help="CSV of the contributors: ids, maybe emails and worker ids.")],
    config: Annotated[Path, typer.Option(help="The data map.", envvar="ERASURE_CONFIG")] = Path("erasure.toml"),
    batch: Annotated[str | None, typer.Option(help="A name for the batch, instead of one made from the file.")] = None,
    operator: Annotated[
        str | None, typer.Option(help="Who asks; the login name unless said.", envvar="ERASURE_OPERATOR")
    ] = None,
    on_critical: Annotated[
        OnCritical | None, typer.Option(help="What becomes of a critical phase that stays failed; as the policy says.")
    ] = None,
    require_approval: Annotated[
        bool, typer.Option("--require-approval", help="Somebody else has to approve it, whatever the policy says.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and say what would be erased; write to no store.")
    ] = False,
    canary: Annotated[
        bool | None,
        typer.Option("--canary/--no-canary", help="Erase the data map's made-up contributor first; if it names one."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit, and do not wait for the end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Erase the contributors of a CSV from every store of the data map.

    The same file submitted twice shows the running or finished batch; one that was refused or rolled back starts anew.

    Example: python -m starter erase ids.csv
    """

    async def main() -> ExitCode:
        data_map = DataMap.read(config)
        if canary and data_map.canary is None:
            raise UsageError(f"--canary: {config} names no canary. Add [canary] to it; README.md says how.")
        csv = CsvFile(ids, data_map.identity.id_pattern)
        found = csv.inspect()
        for column in found.ignored_columns:
            _say(f"Column {column} is not used.")
        async with session() as opened:
            await opened.vault.probe()
            content = await opened.vault.name_batch(found.digest)
            batch_id = _name(batch) or content
            resumes = await _state(opened, batch_id, content)
            if resumes is not None:
                vault = await opened.vault.create(batch_id)
                await submission.write(vault, data_map, contributors(csv))
                request = EraseRequest(
                    Batch(batch_id, data_map.digest),
                    operator or getpass.getuser(),
                    found.contributors,
                    found.duplicates,
                    await plan(
                        opened.vault,
                        data_map,
                        on_critical,
                        require_approval=require_approval,
                        with_canary=canary is not False,
                    ),
                )
                await _start(opened, request, content)
                err.print(
                    f"Submitted {found.contributors:,} contributors as batch {batch_id}{resumes}.", highlight=False
                )
            else:
                _say(f"This file is batch {batch_id} already: showing it.")
            if not detach:
                return await follow(opened, batch_id, as_json=json)
            if json:
                print_json({"batch_id": batch_id, "contributors": found.contributors, "url": opened.url(batch_id)})
            else:
                _say(f"Follow it: python -m starter watch {batch_id}")
            status = await reported(opened, batch_id) if resumes is None else None
            return exit_codes.of(status) if status else ExitCode.ERASED

    if dry_run:
        run(lambda: checked(ids, config, dry_run=True, as_json=json), GOES_ON)
    run(main)


async def plan(
    vault: Vault,
    data_map: DataMap,
    on_critical: OnCritical | None = None,
    *,
    require_approval: bool = False,
    with_canary: bool = True,
) -> Plan:
    """How a batch runs.

    Args:
        vault: Names the data map's canary.
        data_map: The data map.
        on_critical: What becomes of a critical phase that stays failed; as the policy says, unless given.
        require_approval: Whether somebody else has to approve it, whatever the policy says.
        with_canary: Whether the data map's canary is erased first, if it has one.
    """
    policy, canary = data_map.policy, data_map.canary
    return Plan(
        order=policy.order,
        critical=policy.critical,
        slice_size=policy.slice_size,
        concurrency=policy.concurrency,
        heartbeat_timeout=timedelta(seconds=policy.heartbeat_timeout),
        retry=Retry(policy.max_attempts, policy.give_up_after),
        retries={store: Retry(rule.max_attempts, rule.give_up_after) for store, rule in policy.retry.items()},
        approvals=max(policy.approvals, 1) if require_approval else policy.approvals,
        on_critical=on_critical.value if on_critical else policy.on_critical,
        park_timeout=policy.park_timeout,
        retention=policy.retention,
        shared=policy.shared,
        verify=looking(data_map, data_map.verification.depth) if data_map.verification.after_batch else None,
        canary=await name_of(vault, canary.person) if with_canary and canary is not None else None,
    )


def _say(message: str) -> None:
    err.print(message, highlight=False, markup=False, soft_wrap=True)


def _name(batch: str | None) -> str | None:
    if batch is not None and not BATCH_NAME.fullmatch(batch):
        raise UsageError("--batch takes 3 to 63 lower-case letters, digits and hyphens; no personal data, it is shown.")
    return batch


async def _state(opened: Session, batch_id: str, content: str) -> str | None:
    """Whether the batch is to be started: what to add to the message, or None where it runs or is done.

    Raises:
        UsageError: The name is taken by another file's batch.
    """
    known = await describe(opened, batch_id)
    if known is None:
        return ""
    if (await known.memo()).get("content") != content:
        raise UsageError(f"The batch {batch_id} is of another file. Choose another name with --batch.")
    if known.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        return None
    return f", which had ended as {known.status.name.lower() if known.status else 'unknown'}"


async def _start(opened: Session, request: EraseRequest, content: str) -> None:
    await opened.client.start_workflow(
        EraseContributors.run,
        request,
        id=request.batch.batch_id,
        task_queue=opened.temporal.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        memo=request.memo(content),
        static_summary=request.summary,
        static_details=request.details,
    )


def contributors(csv: CsvFile) -> Iterator[Contributor]:
    """Everybody of a CSV, in order, as often as they stand in it."""
    for row in csv.rows():
        yield Contributor(row.contributor_id, row.emails, row.worker_ids)
