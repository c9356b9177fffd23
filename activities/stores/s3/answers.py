"""What S3 says when it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from botocore.exceptions import ClientError

from activities.contract import Finding

Reasons = dict[str, Counter[str]]
"""Why something was not done: reasons with their counts, by place; never by key, since keys hold identities."""

ABSENT = frozenset({"NoSuchKey", "404"})
"""Codes for an object that is not there."""

CHANGED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", *ABSENT})
"""Codes for an object that is not what a guarded write expects."""


def code_of(error: ClientError) -> str:
    """S3's code of an error."""
    return str(error.response.get("Error", {}).get("Code", "?"))


def passes(error: ClientError) -> bool:
    """Whether an error says nothing of what was asked for: the server is busy, or fails."""
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status in (0, 408, 429) or (status >= 500 and status != 501)


def listed(counts: Mapping[str, int]) -> str:
    """Reasons with their counts, for messages."""
    return ", ".join(f"{count:,} x {reason}" for reason, count in sorted(counts.items()))


def findings(reasons: Reasons, what: str, remedy: str) -> list[Finding]:
    """One finding a place, with every reason and its count.

    Args:
        reasons: Why, by place.
        what: What was not done.
        remedy: What the operator can do.
    """
    return [
        Finding(place, f"{counts.total():,} {what} ({listed(counts)})", remedy) for place, counts in reasons.items()
    ]
