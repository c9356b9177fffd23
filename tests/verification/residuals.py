"""What the tests of scans share: people, and how one store is scanned for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from activities.contract import Contributor
from activities.verification import scanning
from activities.verification.contract import Scan, Scanner, Scope

ANN = Contributor("c-4711-a", ("Ann@x.io",), ("w-7",))
BOB = Contributor("6f1c2a9e-2b7d-4c6f-9a53-0d1e8f7b6c5a", ("bob.o'neil+x@x.io",), ("4711",))

NEIGHBOURS = ("w-77", "W-7", "c-4711-ab", "notann@x.io", "ann@x.io.uk", "ann+b@x.io", "47110", "bob.oneil+x@x.io")
"""What must never be found: others' identities that have one of these people's in them, or nearly so."""


@dataclass(frozen=True)
class People:
    """People who are given outright, one page each."""

    contributors: Sequence[Contributor]

    async def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        for person in self.contributors:
            yield [person]


async def scanned(store: str, scanner: Scanner, scope: Scope, *people: Contributor, at_once: int = 1_000) -> Scan:
    """Scans a store for Ann and Bob, or for others."""
    everybody = People(people or (ANN, BOB))
    return await scanning.scan(store, scanner, scope, everybody, lambda *_: None, at_once=at_once)


def found(scan: Scan, prefix: str = "") -> dict[str, int]:
    """What was found, by place and kind, without the test's own prefix; no value is shown."""
    everything = repr(scan).lower()
    for person in (ANN, BOB):
        for value in (person.contributor_id, *person.emails, *person.worker_ids):
            assert value.lower() not in everything
    return {f"{each.place.removeprefix(prefix)} {each.kind}": each.count for each in scan.residuals}


def unproven(scan: Scan, prefix: str = "") -> Iterable[str]:
    """Places that are not proven, and why."""
    return [f"{each.place.removeprefix(prefix)}: {each.what}" for each in scan.not_proven if each.place != scan.store]


def uncertain(scan: Scan, prefix: str = "") -> dict[str, int]:
    """Records that hold what only looks like an identity, by place."""
    said = [each.what.partition("looks like one: ")[2] for each in scan.not_proven if "looks like one: " in each.what]
    places = [place.rpartition(" (") for all_of_them in said for place in all_of_them.split(", ")]
    return {place.removeprefix(prefix): int(count.rstrip(")")) for place, _, count in places}
