"""The verdict on a batch: the worst that is true, and never more than was proven."""

from __future__ import annotations

from activities.messages import Verification
from activities.pages import ICONS, Tone, Verdict, counted, moment
from activities.status import ERASED, BatchStatus, Outcome, PhaseState


def verdict(status: BatchStatus) -> Verdict:
    """The verdict on a batch.

    Args:
        status: What is known of it.
    """
    match status.outcome:
        case Outcome.RUNNING:
            return _running(status)
        case Outcome.REFUSED if status.canary is not None and status.canary.problems:
            return Verdict(
                Tone.RED,
                "refused by the canary: nobody of the batch was touched",
                "A made-up contributor goes first, and could not be shown to be gone. Everybody of the batch is in the "
                "stores as before.",
                "barred",
            )
        case Outcome.REFUSED:
            return Verdict(
                Tone.RED,
                "refused by the check: nothing was touched",
                f"The check found {counted(len(status.problems), 'problem', 'problems')} before anything was written. "
                "Everybody of the batch is in the stores as before.",
                "barred",
            )
        case Outcome.ROLLED_BACK:
            return _rolled_back(status)
    return _erased(status)


def left(status: BatchStatus) -> int:
    """Records that held an identity of the batch in the end, by the eraser's own count."""
    return sum(sum((phase.after or {}).values()) for phase in status.phases if phase.state in ERASED)


def given_up(status: BatchStatus) -> list[str]:
    """The stores of a batch that has ended in which the erasure did not go through, in order."""
    return [phase.store for phase in status.phases if phase.state not in ERASED]


def is_stale(status: BatchStatus, found: Verification) -> bool:
    """Whether a store was written to after it had been verified.

    Args:
        status: What is known of the batch.
        found: What the verification found.
    """
    return any(phase.ended_at is not None and phase.ended_at > found.at for phase in status.phases)


def _running(status: BatchStatus) -> Verdict:
    if status.needs_operator:
        says = f"It stands still at the stage “{status.stage}” until an operator decides. Nothing here is final."
        return Verdict(Tone.AMBER, "not finished: it waits for somebody", says, "waits")
    says = f"It was at the stage “{status.stage}” when this report was made. Nothing here is final."
    return Verdict(Tone.GREY, "still running", says, "runs")


def _rolled_back(status: BatchStatus) -> Verdict:
    written = [phase for phase in status.phases if phase.started_at is not None]
    if stores := [phase.store for phase in written if phase.state is not PhaseState.ROLLED_BACK]:
        title = f"rolled back, but for {', '.join(stores)}: that was not put back"
        says = "The other stores were put back. Nobody counts as erased by this batch."
        return Verdict(Tone.AMBER, title, says, "back")
    says = (
        "What was erased was put back from the back-up. Nobody counts as erased by this batch."
        if written
        else "No store was written to before. Nobody counts as erased by this batch."
    )
    if status.warnings:
        warned = f"{counted(len(status.warnings), 'warning names', 'warnings name')} what may not be as before."
        return Verdict(Tone.AMBER, "rolled back, with warnings", f"{says} {warned}", "back")
    return Verdict(Tone.GREY, "rolled back", says, "back")


def _erased(status: BatchStatus) -> Verdict:
    found = status.verification
    if found is not None and found.residuals:
        when = ", before the last run" if is_stale(status, found) else ""
        places = counted(len(found.residuals), "place", "places")
        says = f"The verification of {moment(found.at)}{when} found identities of the batch in {places}."
        return Verdict(Tone.RED, "not fully erased: residuals were found", says, "cross")
    if remains := left(status):
        says = f"The count afterwards found {counted(remains, 'record', 'records')} that still hold an identity."
        return Verdict(Tone.RED, "not fully erased: records still hold identities", says, "cross")
    if stores := given_up(status):
        title = f"not erased from {', '.join(stores)}"
        says = "The erasure did not go through there; in the other stores it did."
        return Verdict(Tone.RED, title, says, "cross")
    with_warnings = " with warnings" if status.warnings else ""
    tone, title, says = _proof(status, found)
    but = f" {counted(status.held, 'person', 'people')} under a legal hold {_was(status.held)} left out."
    return Verdict(tone, f"erased{with_warnings}{title}", says + (but if status.held else ""), ICONS[tone])


def _proof(status: BatchStatus, found: Verification | None) -> tuple[Tone, str, str]:
    """How far an erasure that went through is proven: tone, what the title ends with, and what is said."""
    done = "Erased from every store of the data map"
    if found is None:
        says = f"{done}, by the eraser's own count. Nobody else has looked for what may be left."
        return Tone.AMBER, ", not verified", says
    if is_stale(status, found):
        says = f"{done}. A phase ran again after the verification of {moment(found.at)}: that proves nothing of it."
        return Tone.AMBER, ", not verified since it ran again", says
    uncounted = [phase.store for phase in status.phases if phase.after is None]
    if found.not_proven or not found.proven or uncounted:
        missing = counted(len(found.not_proven) + len(uncounted), "thing was", "things were")
        says = f"{done}, and the verification found nothing; but {missing} not looked at in whole."
        if not found.proven:
            says = f"{done}, but the verification read no place whole."
        return Tone.AMBER, ", not wholly proven", says
    places = counted(len(found.proven), "place", "places")
    if found.depth == "mapped":
        says = f"{done}. The verification read {places} of the data map and found nothing; it looked nowhere else."
        return Tone.AMBER, ", proven where the data map looks", says
    says = f"{done}. A verification apart from the eraser read {places} whole, and found nobody of the batch."
    return Tone.AMBER if status.warnings else Tone.GREEN, " and proven", says


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
