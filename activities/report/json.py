"""The report for machines."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from activities.report.contents import Contents
from activities.report.verdict import verdict
from activities.status import BatchStatus


def as_json(status: BatchStatus) -> dict[str, Any]:
    """What is known of a batch, and the verdict on it, as JSON values: counts and places, no personal data."""
    report: dict[str, Any] = asdict(status)
    for phase, known in zip(report["phases"], status.phases, strict=True):
        phase["tally"] = asdict(known.tally)
    found = verdict(status)
    plain = _plain(report | {"verdict": found.title, "tone": str(found.tone)})
    assert isinstance(plain, dict)
    return plain


def with_names(contents: Contents) -> dict[str, Any]:
    """The whole report as JSON values: with when it was made, and the people who stay."""
    return as_json(contents.status) | {
        "reported_at": contents.at.isoformat(),
        "holds": [asdict(each) for each in contents.held],
        "stayers": [asdict(each) for each in contents.stayers],
    }


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
