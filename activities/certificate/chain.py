"""The events of a batch, each bound to the one before it: none can be altered, dropped or put in between unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.certificate import canonical


@dataclass(frozen=True)
class Entry:
    """Something that happened to a batch.

    Args:
        at: When, in UTC.
        kind: What: ``submitted``, a command's name, ``phase ended``, ``shredded``, ...
        who: The operator, or ``policy``; empty where it was the tool itself.
        why: The operator's reason.
        detail: More, as JSON values; no personal data.
    """

    at: str
    kind: str
    who: str = ""
    why: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


Link = dict[str, Any]
"""An entry as it stands in a certificate: with ``previous``, the digest before it, and ``digest``, its own."""


def start(batch_id: str) -> str:
    """What the first event of a batch is bound to."""
    return hashlib.sha256(batch_id.encode()).hexdigest()


def extend(batch_id: str, chain: Sequence[Link], entries: Iterable[Entry]) -> list[Link]:
    """A chain with more entries.

    Args:
        batch_id: The batch.
        chain: The chain so far; stays as it is.
        entries: What came then, in order.
    """
    links = list(chain)
    for entry in entries:
        link: Link = {
            "at": entry.at,
            "kind": entry.kind,
            "who": entry.who,
            "why": entry.why,
            "detail": entry.detail,
            "previous": links[-1]["digest"] if links else start(batch_id),
        }
        links.append(link | {"digest": canonical.digest(link)})
    return links


def missing(chain: Sequence[Link], entries: Iterable[Entry]) -> list[Entry]:
    """The entries that a chain does not hold yet; reasons do not count, since they may have been withheld."""

    def known_by(at: str, kind: str, who: str, detail: dict[str, Any]) -> bytes:
        return canonical.encode([at, kind, who, detail])

    known = {known_by(link["at"], link["kind"], link["who"], link["detail"]) for link in chain}
    return [entry for entry in entries if known_by(entry.at, entry.kind, entry.who, entry.detail) not in known]


def broken(batch_id: str, chain: Sequence[Link]) -> list[str]:
    """What is wrong with a chain, an event at a time, in words.

    Args:
        batch_id: The batch.
        chain: Events of any content.
    """
    faults: list[str] = []
    previous = start(batch_id)
    for number, link in enumerate(chain):
        name = f"event {number} ({link['kind']}, {link['at']})"
        if link["previous"] != previous:
            faults.append(f"{name} does not follow the one before it: something was dropped, put in or moved")
        if link["digest"] != canonical.digest({key: value for key, value in link.items() if key != "digest"}):
            faults.append(f"{name} is not what was written")
        previous = link["digest"]
    return faults
