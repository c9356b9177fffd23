"""What the tests of scans of texts and bytes share: two people with short ids, and their neighbours."""

from __future__ import annotations

from activities.contract import Contributor
from activities.verification.contract import Scan, Scanner, Scope
from tests.verification.residuals import scanned

ANN = Contributor("c-1", ("Ann.Lee@x.io",), ("w-471100",))
BOB = Contributor("12", ("bob@x.io",), ())

NEIGHBOURS = ("c-12", "xc-1", "notbob@x.io", "bob@x.io.uk", "bob@x.iox", "w-4711001", "112", "ann.lee@y.io")
"""Values that are somebody else's, one character away."""


async def scan(store: str, scanner: Scanner, scope: Scope) -> Scan:
    """Scans for Ann and Bob."""
    return await scanned(store, scanner, scope, ANN, BOB)


def found(scan: Scan) -> dict[str, dict[str, int]]:
    """Records by place and kind."""
    places: dict[str, dict[str, int]] = {}
    for residual in scan.residuals:
        places.setdefault(residual.place, {})[residual.kind] = residual.count
    return places


def not_proven(scan: Scan) -> dict[str, list[str]]:
    """What is said of each place that is not proven."""
    places: dict[str, list[str]] = {}
    for finding in scan.not_proven:
        places.setdefault(finding.place, []).append(finding.what)
    return places


def assert_shows_nobody(scan: Scan) -> None:
    """Nothing that is said of a scan holds a value."""
    said = repr(scan).lower()
    for value in ("ann.lee@", "bob@", "w-471100", "c-1", *(value for value in NEIGHBOURS[1:] if not value.isdecimal())):
        assert value not in said, value
