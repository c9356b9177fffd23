"""The members of a certificate that come from a batch's status, as JSON values. Counts, places and times: nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from activities.certificate.history import time
from activities.contract import Finding
from activities.messages import Verification
from activities.status import BatchStatus, Outcome, PhaseStatus
from activities.version import VERSION


def members(status: BatchStatus, held: Mapping[str, int]) -> dict[str, Any]:
    """What a certificate says of its batch, but for its contributors.

    Args:
        status: What is known of the batch.
        held: People under a legal hold who were left out, by store.
    """
    return {
        "batch_id": status.batch_id,
        "tool": {"name": "contributor-erasure", "version": VERSION},
        "outcome": str(status.outcome),
        "complete": status.outcome is Outcome.ERASED,
        "submission": {
            "operator": status.operator,
            "submitted_at": time(status.started_at),
            "approvals_needed": status.approvals_needed,
            "approved_by": status.approvals,
            "contributors": status.contributors,
            "duplicates": status.duplicates,
            "unknown": status.unknown,
            "held": status.held,
            "shared_identities": status.shared,
            "when_shared": status.when_shared,
            "data_map_digest": status.data_map_digest,
            "manifest_digest": status.manifest_digest,
        },
        "stores": [_store(phase, held.get(phase.store, 0)) for phase in status.phases],
        "cautions": _findings(status.cautions),
        "verification": _verification(status.verification),
        "shredding": _shredding(status),
    }


def _store(phase: PhaseStatus, held: int) -> dict[str, Any]:
    places = sorted({*phase.before, *phase.erased, *(phase.after or {})})
    return {
        "store": phase.store,
        "version": phase.version,
        "state": str(phase.state),
        "critical": phase.critical,
        "began_at": time(phase.started_at),
        "ended_at": time(phase.ended_at),
        "counts": {**asdict(phase.tally), "held": held},
        "places": [
            {
                "place": place,
                "before": phase.before.get(place, 0),
                **(asdict(phase.erased[place]) if place in phase.erased else {}),
                "after": None if phase.after is None else phase.after.get(place, 0),
            }
            for place in places
        ],
        "restored": [{"place": place, **asdict(one)} for place, one in sorted(phase.restored.items())],
        "back_ups": {"bytes": phase.backup_bytes, "digests": phase.backups},
        "error": phase.error,
        "warnings": _findings(phase.warnings),
    }


def _verification(found: Verification | None) -> dict[str, Any]:
    """What was proven; where nobody has looked, that is said and nothing else."""
    if found is None:
        what = "nobody but the eraser has looked for what may be left; its own count afterwards stands with the stores"
        nothing = Finding("every store", what, "Verify the batch.")
        return {
            "verdict": "not verified",
            "depth": None,
            "at": None,
            "proven": [],
            "residuals": [],
            "not_proven": _findings([nothing]),
        }
    return {
        "verdict": _verdict(found),
        "depth": found.depth,
        "at": time(found.at),
        "proven": found.proven,
        "residuals": [{"place": place, "found": number} for place, number in sorted(found.residuals.items())],
        "not_proven": _findings(found.not_proven),
    }


def _verdict(found: Verification) -> str:
    if found.residuals:
        return "residuals found"
    if not found.proven:
        return "not proven"
    where = "proven where the data map looks" if found.depth == "mapped" else "proven"
    return f"{where}, but for the places that are named" if found.not_proven else where


def _shredding(status: BatchStatus) -> dict[str, Any]:
    """The evidence: what could be read before, what was purged, and that it was tried to read it again."""
    if not status.shredded:
        return {"state": "not shredded: the back-up can be read, and most of it put back"}
    return {
        "state": "shredded",
        "batch_key": "destroyed: opening the batch was tried afterwards, and failed",
        "objects_left": 0,
        "back_up_bytes": sum(phase.backup_bytes for phase in status.phases),
        "purged": [
            {"store": phase.store, "place": place, "purged": number}
            for phase in status.phases
            for place, number in sorted(phase.purged.items())
        ],
    }


def _findings(found: list[Finding]) -> list[dict[str, str]]:
    return [asdict(each) for each in found]
