"""The report of a batch: JSON for machines, Markdown for people. Holds counts and places, no personal data."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from activities import manifest
from activities.holds import Holds
from activities.sharing import NAMED, Shared, Stayer
from activities.status import ERASED, BatchStatus, Outcome, PhaseStatus
from activities.vault import BatchVault, Vault, VaultMissingError


@dataclass(frozen=True)
class Held:
    """Somebody under a legal hold.

    Args:
        contributor_id: Who.
        left_out: Stores in which nothing of them was touched.
        too_late: Stores in which they were erased before the hold.
    """

    contributor_id: str
    left_out: list[str] = field(default_factory=list)
    too_late: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        late = f"; erased before the hold: {', '.join(self.too_late)}" if self.too_late else ""
        return f"`{self.contributor_id}` left out: {', '.join(self.left_out) or 'nowhere'}{late}"


_VERDICTS = {
    Outcome.RUNNING: "still running",
    Outcome.ERASED: "erased from every store of the data map",
    Outcome.WARNED: "erased, with warnings: the batch is not complete",
    Outcome.REFUSED: "refused by the check: nothing was touched",
    Outcome.ROLLED_BACK: "rolled back",
}


def as_json(status: BatchStatus) -> dict[str, Any]:
    """The report as JSON values."""
    report: dict[str, Any] = asdict(status)
    for phase, known in zip(report["phases"], status.phases, strict=True):
        phase["tally"] = asdict(known.tally)
    report["verdict"] = _verdict(status)
    plain = _plain(report)
    assert isinstance(plain, dict)
    return plain


def as_markdown(status: BatchStatus, held: Sequence[Held] = (), stayers: Sequence[Stayer] = ()) -> str:
    """The report as Markdown.

    Args:
        status: What is known of the batch.
        held: The people under a legal hold.
        stayers: People who stay and have an identity of somebody of the batch.
    """
    lines = [
        f"# Batch {status.batch_id}: {_verdict(status)}",
        "",
        f"{status.contributors:,} contributors, submitted by {status.operator}; {status.duplicates:,} duplicate rows "
        f"folded; {status.unknown:,} not in the identity table (searched for by the CSV's own identities).",
        "",
        f"Started {_time(status.started_at)}, ended {_time(status.ended_at)}. {_back_up(status)}",
        "",
        "| phase | state | before | matched | changed | already clean | conflicted | after | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(phase) for phase in status.phases),
    ]
    notes = [note for phase in status.phases for note in phase.notes]
    findings = [("Problems", status.problems), ("Warnings", status.warnings), ("Notes", notes)]
    for title, found in findings:
        if found:
            lines += ["", f"## {title}", "", *(f"- {finding}" for finding in found)]
    if errors := [phase for phase in status.phases if phase.error]:
        lines += ["", "## Failures", "", *(f"- {phase.store}: {phase.error}" for phase in errors)]
    lines += ["", "## Places", "", "| store | place | before | changed | after |", "|---|---|---:|---:|---:|"]
    for phase in status.phases:
        for place in sorted({*phase.before, *phase.erased, *(phase.after or {})}):
            changed = phase.erased[place].changed if place in phase.erased else 0
            after = "not counted" if phase.after is None else f"{phase.after.get(place, 0):,}"
            lines.append(f"| {phase.store} | `{place}` | {phase.before.get(place, 0):,} | {changed:,} | {after} |")
    if any(phase.restored for phase in status.phases):
        lines += ["", "## Rollback", "", "| store | place | pre-images | put back | intact | conflicted |"]
        lines += ["|---|---|---:|---:|---:|---:|"]
        lines += [
            f"| {phase.store} | `{place}` | {one.found:,} | {one.restored:,} | {one.intact:,} | {one.conflicted:,} |"
            for phase in status.phases
            for place, one in sorted(phase.restored.items())
        ]
    if held:
        lines += ["", "## Legal holds", "", *(f"- {each}" for each in held)]
    if stayers:
        count = f"{status.shared:,} identities of the batch are those of somebody who stays as well"
        lines += ["", f"## Shared identities: {status.when_shared}", "", f"{count}:", ""]
        lines += [f"- {each}" for each in stayers]
        lines += ["- and more"] * (len(stayers) == NAMED)
    if status.commands:
        lines += [
            "",
            "## Commands",
            "",
            "| at | command | phase | operator | reason | effect |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {_time(each.at)} | {each.kind} | {each.phase or 'the batch'} | {each.operator} | {each.reason} "
            f"| {f'none: {each.ignored}' if each.ignored else 'taken'} |"
            for each in status.commands
        ]
    lines += ["", f"Data map `{status.data_map_digest[:16]}`, manifest `{status.manifest_digest[:16]}`.", ""]
    return "\n".join(lines)


async def write(archive: BatchVault, status: BatchStatus, held: Sequence[Held], stayers: Sequence[Stayer]) -> str:
    """Puts the report into the vault, where it outlives the batch key.

    Args:
        archive: The batch's archive.
        status: What is known of the batch.
        held: The people under a legal hold. A report names nobody but them and the next, since they are not erased.
        stayers: People who stay and have an identity of somebody of the batch.

    Returns:
        Its name.
    """
    name = f"report/{len(await archive.names('report/')):06}"
    named = {"holds": [asdict(each) for each in held], "stayers": [asdict(each) for each in stayers]}
    async with archive.recording(name) as recording:
        document = {"json": as_json(status) | named, "markdown": as_markdown(status, held, stayers)}
        await recording.add("report", document)
    return name


async def read(archive: BatchVault) -> dict[str, Any]:
    """The batch's newest report: ``json`` and ``markdown``.

    Raises:
        VaultMissingError: The batch has none yet.
    """
    for name in reversed(await archive.names("report/")):
        async for _, report in archive.records(name):
            return report
    raise VaultMissingError("vault", f"batch {archive.batch_id} has no report yet", "Wait for the batch to end.")


async def leave_out(vault: BatchVault, store: str, slice_name: str, contributor_ids: Collection[str]) -> None:
    """Puts down for the report who was left out of a slice's erasure.

    Args:
        vault: The batch.
        store: The store.
        slice_name: The slice.
        contributor_ids: Who.
    """
    async with vault.recording(f"held/{store}/{slice_name}-{secrets.token_hex(4)}") as recording:
        for contributor_id in sorted(contributor_ids):
            await recording.add("held", {"i": contributor_id})


async def holds(archive: BatchVault, vaults: Vault, current: Holds, status: BatchStatus) -> list[Held]:
    """Everybody of a batch who is under a legal hold, or was when the batch met them.

    Args:
        archive: The batch's archive; tells it where the batch key is destroyed already.
        vaults: The vault.
        current: The legal holds of now.
        status: What is known of the batch.
    """
    try:
        vault = await vaults.open(status.batch_id)
    except VaultMissingError:
        return [Held(**each) for each in (await read(archive))["json"]["holds"]] if status.shredded else []
    stores = [phase.store for phase in status.phases]
    left_out: dict[str, set[str]] = {}
    from_the_start = manifest.held_name(status.attempt)
    if await vault.receipt(from_the_start) is not None:
        left_out = {record["i"]: set(stores) async for _, record in vault.records(from_the_start)}
    for name in await vault.names("held/"):
        async for _, record in vault.records(name):
            left_out.setdefault(record["i"], set()).add(name.split("/")[1])
    async for page in manifest.ManifestSlice(vault, None, status.slices, status.attempt).pages():
        for contributor_id in await current.among([contributor.contributor_id for contributor in page]):
            left_out.setdefault(contributor_id, set())
    erased = [phase.store for phase in status.phases if phase.state in ERASED]
    return [
        Held(
            contributor_id,
            [store for store in stores if store in out],
            [store for store in erased if store not in out],
        )
        for contributor_id, out in sorted(left_out.items())
    ]


async def stayers(archive: BatchVault, vaults: Vault, status: BatchStatus) -> list[Stayer]:
    """People who stay and have an identity of somebody of the batch, as the manifest's attempt found them.

    Args:
        archive: The batch's archive; tells it where the batch key is destroyed already.
        vaults: The vault.
        status: What is known of the batch.
    """
    try:
        vault = await vaults.open(status.batch_id)
    except VaultMissingError:
        return [Stayer(**each) for each in (await read(archive))["json"]["stayers"]] if status.shredded else []
    name = manifest.shared_name(status.attempt)
    return [] if await vault.receipt(name) is None else (await Shared.read(vault, name)).stayers


def _verdict(status: BatchStatus) -> str:
    but = f", but for {', '.join(stores)}: that was not put back" if (stores := status.left_erased) else ""
    return f"{_VERDICTS[status.outcome]}{but}"


def _back_up(status: BatchStatus) -> str:
    if status.shredded:
        return "The back-up was shredded: nobody can roll back any more."
    one_way = (
        f"The data map says that this cannot be undone: {', '.join(stores)}." if (stores := status.irreversible) else ""
    )
    until = f"A rollback is possible until {_time(status.retained_until)}." if status.retained_until else ""
    return " ".join(filter(None, (until, one_way)))


def _row(phase: PhaseStatus) -> str:
    tally = phase.tally
    seconds = "" if phase.seconds is None else f"{phase.seconds:.1f}"
    after = "not counted" if phase.after is None else f"{sum(phase.after.values()):,}"
    return (
        f"| {phase.store} | {phase.state} | {sum(phase.before.values()):,} | {tally.matched:,} | {tally.changed:,} "
        f"| {tally.already_clean:,} | {tally.conflicted:,} | {after} | {seconds} |"
    )


def _time(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "not yet"


def _plain(value: Any) -> Any:
    """Datetimes as ISO 8601, the rest as it is."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {key: _plain(entry) for key, entry in value.items()}
        case list():
            return [_plain(entry) for entry in value]
    return value
