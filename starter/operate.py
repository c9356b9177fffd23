"""``approve``, ``pause``, ``resume``, ``retry``, ``skip``, ``rollback``, ``shred``: an operator's commands."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from typing import Annotated

import typer
from temporalio.client import WorkflowUpdateFailedError

from activities.status import CommandKind, objection
from activities.temporal import UnreachableError
from starter.batches import look
from starter.exit_codes import ExitCode
from starter.session import Session, UsageError, err, print_json, run, session
from starter.watch import follow
from workflows.erase import EraseContributors
from workflows.messages import Command

Batch = Annotated[str, typer.Argument(help="The batch's id.")]
Phase = Annotated[str | None, typer.Option(help="One phase, by its store; else all that it makes sense for.")]
Operator = Annotated[str | None, typer.Option(help="Who asks; the login name unless said.", envvar="ERASURE_OPERATOR")]


def _names_nobody(reason: str) -> str:
    """Refuses an address in a reason: Temporal keeps it, and shows it to whoever may look there."""
    if _ADDRESS.search(reason):
        raise typer.BadParameter("names an address, and Temporal would keep it: say why without personal data")
    return reason


_ADDRESS = re.compile(r"\S@\S")

Reason = Annotated[
    str,
    typer.Option(help="Why; it is kept and shown with the batch: no personal data.", callback=_names_nobody),
]
Detach = Annotated[bool, typer.Option("--detach", help="Ask, and do not wait for the end.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON in the end, no more.")]
JsonAnswer = Annotated[bool, typer.Option("--json", help="Print what was asked as JSON.")]


def retry(
    batch: Batch,
    phase: Phase = None,
    operator: Operator = None,
    reason: Reason = "",
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run parked phases again; until the batch is shredded also those that ended.

    Example: python -m starter retry erase-0123456789abcdef --phase clickhouse
    """
    _ask(CommandKind.RETRY, batch, Command(_who(operator), reason, phase), detach=detach, json=json)


def skip(
    batch: Batch,
    phase: Phase = None,
    operator: Operator = None,
    reason: Reason = "",
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Give a parked phase up and go on without it: the batch ends with a warning.

    Example: python -m starter skip erase-0123456789abcdef --phase s3 --reason "legal hold on the bucket"
    """
    _ask(CommandKind.SKIP, batch, Command(_who(operator), reason, phase), detach=detach, json=json)


def rollback(
    batch: Batch, operator: Operator = None, reason: Reason = "", detach: Detach = False, json: Json = False
) -> None:
    """Put back whatever the batch erased.

    Example: python -m starter rollback erase-0123456789abcdef --reason "wrong file"
    """
    _ask(CommandKind.ROLLBACK, batch, Command(_who(operator), reason), detach=detach, json=json)


def pause(batch: Batch, operator: Operator = None, reason: Reason = "", json: JsonAnswer = False) -> None:
    """Start nothing more until `resume`; slices that run are ended first.

    Example: python -m starter pause erase-0123456789abcdef
    """
    _ask(CommandKind.PAUSE, batch, Command(_who(operator), reason), detach=True, json=json)


def resume(
    batch: Batch, operator: Operator = None, reason: Reason = "", detach: Detach = False, json: Json = False
) -> None:
    """Go on after `pause`.

    Example: python -m starter resume erase-0123456789abcdef
    """
    _ask(CommandKind.RESUME, batch, Command(_who(operator), reason), detach=detach, json=json)


def shred(batch: Batch, operator: Operator = None, reason: Reason = "", json: JsonAnswer = False) -> None:
    """Destroy the back-up now, instead of at the end of its retention. There is no way back after it.

    Example: python -m starter shred erase-0123456789abcdef
    """
    _ask(CommandKind.SHRED, batch, Command(_who(operator), reason), detach=True, json=json)


def approve(batch: Batch, operator: Operator = None, reason: Reason = "", json: JsonAnswer = False) -> None:
    """Approve a batch that waits for it; who submitted it cannot.

    Example: python -m starter approve erase-0123456789abcdef --operator dana
    """

    async def main() -> ExitCode:
        async with session() as opened:
            await _refuse(opened, batch, CommandKind.APPROVE, None)
            handle = opened.client.get_workflow_handle(batch)
            try:
                missing = await handle.execute_update(EraseContributors.approve, Command(_who(operator), reason))
            except WorkflowUpdateFailedError as error:
                raise UsageError(f"Refused: {error.cause}.") from None
            err.print("Approved." if not missing else f"Approved; {missing} more to go.", highlight=False)
            if json:
                print_json({"batch_id": batch, "approvals_missing": missing})
            return ExitCode.ERASED

    run(main)


_SIGNALS: dict[CommandKind, Callable[[EraseContributors, Command], None]] = {
    CommandKind.RETRY: EraseContributors.retry,
    CommandKind.SKIP: EraseContributors.skip,
    CommandKind.ROLLBACK: EraseContributors.rollback,
    CommandKind.PAUSE: EraseContributors.pause,
    CommandKind.RESUME: EraseContributors.resume,
    CommandKind.SHRED: EraseContributors.shred,
}


def _ask(kind: CommandKind, batch: str, command: Command, *, detach: bool, json: bool) -> None:
    async def main() -> ExitCode:
        async with session() as opened:
            await _refuse(opened, batch, kind, command.phase)
            handle = opened.client.get_workflow_handle(batch)
            await handle.signal(_SIGNALS[kind], command)
            err.print(f"Asked batch {batch} to {kind}.", highlight=False)
            if detach:
                if json:
                    print_json({"batch_id": batch, "asked": str(kind)})
                return ExitCode.ERASED
            await handle.query(EraseContributors.status)  # is answered after the signal was taken
            return await follow(opened, batch, as_json=json)

    run(main)


async def _refuse(opened: Session, batch: str, kind: CommandKind, phase: str | None) -> None:
    """Refuses what makes no sense now, with the reason.

    Raises:
        UsageError: It makes no sense.
        UnreachableError: No worker answers, so it cannot be known.
    """
    view = await look(opened, batch)
    if view.closed:
        raise UsageError(f"The batch {batch} has ended: there is nothing to {kind}.")
    if view.status is None:
        raise UnreachableError("No worker answers for this batch", "Start one: python -m worker")
    if reason := objection(view.status, kind, phase):
        raise UsageError(f"It makes no sense to {kind} now: {reason}.")


def _who(operator: str | None) -> str:
    return operator or getpass.getuser()
