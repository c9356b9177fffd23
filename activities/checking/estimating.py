"""How long an erasure will take: reckoned from what the dry run measured, and from what the last batches here took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import TypeAdapter

from activities import report
from activities.checking.messages import Forecast, Measured, Pace, Preview
from activities.contract import Heartbeat
from activities.status import ERASED, BatchStatus, Outcome, PhaseStatus
from activities.vault import Vault, VaultMissingError, VaultTamperedError

LOOKED_AT = 40
"""Reports that are looked at, the newest first."""

ENOUGH = 5
"""Reports of batches that ran through by themselves; more of them would be old."""

AROUND = "around the phases"
"""Checks, identities, back-up, recount, report and certificate; by earlier batches also their verification."""

VERIFICATION = "verification"

_STATUS = TypeAdapter(BatchStatus)


@dataclass(frozen=True)
class Cost:
    """What a step costs beyond looking for the records, in seconds, and what its back-up takes, in bytes.

    Args:
        once: However little there is to do.
        record: Each record.
        rewritten: Each byte of a file that is written anew for it.
        kept: Bytes that the back-up has of each record, beside what it held.
        whole: Whether the back-up has what it held as well.
    """

    once: float
    record: float = 0.0
    rewritten: float = 0.0
    kept: int = 400
    whole: bool = True

    def of(self, records: int, rewritten: int = 0) -> float:
        """The cost of so many."""
        return self.once + self.record * records + self.rewritten * rewritten


COSTS = {
    "elasticsearch": Cost(0.6, 1 / 6_000, kept=280),
    "clickhouse": Cost(0.8, rewritten=1 / 40e6, kept=20, whole=False),
    "postgres": Cost(0.3, 1 / 10_000, kept=380),
    "s3": Cost(0.3, 1 / 200, kept=290),
    "redis": Cost(0.3, 1 / 20_000, kept=100, whole=False),
}
"""Measured with all stores, Temporal and the worker on one machine of two cores."""

OF_ANOTHER = Cost(0.5, 1 / 2_000)
"""A store of one's own."""

COST_AROUND = Cost(2.5, 1 / 15_000)

MEASURED_HERE = "rates of a machine of two cores with everything on it"


@dataclass(frozen=True)
class Past:
    """What an earlier batch took for one step.

    Args:
        records: Records that it dealt with.
        seconds: What it took.
    """

    records: int
    seconds: float


async def forecast(vaults: Vault, measured: Measured, heartbeat: Heartbeat) -> Forecast:
    """How long the erasure will take.

    Args:
        vaults: The vault; its archive has the reports of earlier batches.
        measured: What the dry run measured.
        heartbeat: Told each report.

    Raises:
        ErasureError: The vault cannot be read.
    """
    return reckon(measured, await _reports(vaults, heartbeat), await vaults.room())


def reckon(measured: Measured, earlier: Sequence[BatchStatus], room: int | None) -> Forecast:
    """The same, from reports that are read already.

    Args:
        measured: What the dry run measured.
        earlier: Batches that ran through by themselves.
        room: Bytes that the vault may still take; None where that is not known.
    """
    paces = [_phase(preview, earlier) for preview in measured.previews]
    paces += _around(measured, earlier)
    size, basis = _back_up(measured.previews, earlier)
    return Forecast(paces, size, basis, room)


def _phase(preview: Preview, earlier: Sequence[BatchStatus]) -> Pace:
    """A phase looks for its records as the preview did, and then writes."""
    cost, records = COSTS.get(preview.store, OF_ANOTHER), preview.records
    if not records:
        return Pace(preview.store, preview.seconds + cost.once, "there is nothing to write, only to look")
    past = [
        Past(phase.tally.changed, phase.seconds)
        for phase in _phases(earlier, preview.store)
        if phase.seconds is not None and phase.tally.changed
    ]
    if past:
        seconds = max(preview.seconds, _scaled(cost, records, past))
        return Pace(preview.store, seconds, _of_the_last(past))
    basis = f"finding them took {preview.seconds:,.1f} s; {MEASURED_HERE}"
    return Pace(preview.store, preview.seconds + cost.of(records, preview.extent.rewritten), basis)


def _around(measured: Measured, earlier: Sequence[BatchStatus]) -> list[Pace]:
    """What comes before and after the phases; earlier batches are a measure where they ended with the same."""
    records = sum(preview.records for preview in measured.previews)
    looks = [preview.seconds for preview in measured.previews]
    past = []
    for batch in earlier:
        taken = _seconds(batch)
        if taken is not None and (batch.verification is None) == (measured.verifying is None):
            phases = sum(phase.seconds or 0.0 for phase in batch.phases)
            past.append(Past(sum(phase.tally.changed for phase in batch.phases), taken - phases))
    if past:
        seconds = max(measured.before + max(looks), _scaled(COST_AROUND, records, past))
        return [Pace(AROUND, seconds, _of_the_last(past))]
    # back-up and recount look as well, but in all stores at once, and the recount finds nothing
    looked = 0.75 * (max(looks) + sum(looks))
    paces = [
        Pace(AROUND, measured.before + looked + COST_AROUND.of(records), f"the dry run's own time; {MEASURED_HERE}")
    ]
    if measured.verifying is not None:
        paces.append(Pace(VERIFICATION, measured.verifying, "the speed of reading, as measured now"))
    return paces


def _back_up(previews: Sequence[Preview], earlier: Sequence[BatchStatus]) -> tuple[int, str]:
    """Bytes of the pre-images: as earlier ones were where there are any, or else by the size of the records."""
    size, told = 0.0, True
    for preview in previews:
        past = [phase for phase in _phases(earlier, preview.store) if sum(phase.before.values())]
        told = told and bool(past or not preview.records)
        if past:
            each = sum(phase.backup_bytes for phase in past) / sum(sum(phase.before.values()) for phase in past)
            size += each * preview.records
        else:
            cost = COSTS.get(preview.store, OF_ANOTHER)
            size += cost.kept * preview.records + (preview.extent.bytes or 0) * cost.whole
    return round(size), "the last batches' own" if told and earlier else "the size of the records"


def _scaled(cost: Cost, records: int, past: Sequence[Past]) -> float:
    """What earlier batches took, each scaled from its records to these."""
    return median(each.seconds * cost.of(records) / cost.of(each.records) for each in past)


def _of_the_last(past: Sequence[Past]) -> str:
    return f"the last {len(past)} batches here" if len(past) > 1 else "the last batch here"


def _phases(earlier: Iterable[BatchStatus], store: str) -> list[PhaseStatus]:
    """The phases of a store that went through."""
    return [phase for batch in earlier for phase in batch.phases if phase.store == store and phase.state in ERASED]


def _seconds(batch: BatchStatus) -> float | None:
    if batch.started_at is None or batch.ended_at is None:
        return None
    return (batch.ended_at - batch.started_at).total_seconds()


async def _reports(vaults: Vault, heartbeat: Heartbeat) -> list[BatchStatus]:
    """The newest batches that ran through without a person: what an operator thought about is no measure."""
    found: list[BatchStatus] = []
    for looked, batch_id in enumerate(await vaults.reported(LOOKED_AT), 1):
        try:
            kept = await report.read(await vaults.archive(batch_id))
        except (VaultMissingError, VaultTamperedError):
            continue  # another key's, or cut while it was written: nothing to reckon from
        status = _STATUS.validate_python(kept["json"])
        done = status.outcome in (Outcome.ERASED, Outcome.WARNED)
        if done and not status.commands and not status.approvals_needed:
            found.append(status)
        heartbeat("reports read", looked)
        if len(found) >= ENOUGH:
            break
    return found
