"""What came of every place of a store, folded into one answer of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from activities.contract import Finding
from activities.errors import CriticalError
from activities.verification.contract import Place, Reading, Residual, Scan
from activities.verification.needles import Match, Needles, masked
from activities.verification.tally import ELSEWHERE

NAMED = 500
"""Places that are proven, or masked, or not, that a scan names; the rest it counts."""

NAMED_RESIDUALS = 200

NAMED_UNCERTAIN = 20
"""Places that hold what only looks like an identity, by name."""


class Folding:
    """Folds what came of each place.

    Args:
        store: What is scanned.
        planted: What the names of the canary's places start with.
        not_proven: What the catalogue says of places that nobody reads.
    """

    def __init__(self, store: str, planted: str, not_proven: Sequence[Finding]) -> None:
        self._store = store
        self._planted = planted
        self._residuals: dict[tuple[str, str], Residual] = {}
        self._clean: dict[str, bool] = {}
        self._masked: dict[str, int] = {}
        self._records = 0
        self._bytes = 0
        self.passes = 0
        self._found = False
        self._not_proven = dict.fromkeys(not_proven)
        self._uncertain: dict[str, int] = {}

    def begin(self, needles: Needles) -> None:
        """Begins a pass over all places."""
        self._found = False
        self._not_proven = {_blanked(finding, needles): None for finding in self._not_proven}

    def end(self) -> None:
        """Ends a pass.

        Raises:
            CriticalError: It did not find what was planted.
        """
        self.passes += 1
        if not self._found:
            raise CriticalError(
                self._store,
                "the scan did not find the canary that it had planted, so that finding nothing proves nothing",
                "Check that the reach covers erasure-canary*; else look into the server's own log at this time.",
            )

    def add(self, place: Place, reading: Reading, needles: Needles) -> None:
        """Adds what came of one place."""
        in_name = [(match.certain, _in_name(place, match, needles)) for match in needles.find(place.name, place.name)]
        residuals = [*self._without_canary(reading.residuals), *(each for certain, each in in_name if certain)]
        uncertain = [*reading.uncertain, *(each for certain, each in in_name if not certain)]
        for each in uncertain:
            self._uncertain[each.place] = self._uncertain.get(each.place, 0) + each.count
        not_proven = reading.not_proven
        if not place.name.startswith(self._planted):
            name = needles.blanked(place.name)
            # what concerns the store as a whole, such as what is out of reach, says nothing of what was read
            clean = not residuals and not uncertain and all(finding.place == self._store for finding in not_proven)
            self._clean[name] = self._clean.get(name, True) and clean
            if not self.passes:
                self._masked[name] = self._masked.get(name, 0) + reading.masked
                self._records += reading.records
                self._bytes += reading.bytes
        for residual in residuals:
            key = (residual.place, residual.kind)
            known = self._residuals.get(key)
            count = residual.count + (known.count if known else 0)
            self._residuals[key] = Residual(*key, count, residual.sample)
        self._not_proven.update((_blanked(finding, needles), None) for finding in not_proven)

    def scan(self, version: str, seconds: float) -> Scan:
        """The answer."""
        told = {finding.place.partition(": ")[0] for finding in self._not_proven}
        proven = sorted(name for name, clean in self._clean.items() if clean and name not in told)
        return Scan(
            store=self._store,
            version=version,
            proven=proven[:NAMED],
            proven_further=max(0, len(proven) - NAMED),
            residuals=list(_summed_up(list(self._residuals.values()))),
            not_proven=self._named_not_proven(),
            masked=_most({name: count for name, count in self._masked.items() if count}),
            records=self._records,
            bytes=self._bytes,
            seconds=seconds,
            passes=self.passes,
        )

    def _without_canary(self, residuals: Sequence[Residual]) -> Iterator[Residual]:
        for residual in residuals:
            if residual.place.startswith(self._planted):
                self._found = True
            else:
                yield residual

    def _named_not_proven(self) -> list[Finding]:
        findings = [*self._not_proven, *self._of_uncertain()]
        if len(findings) <= NAMED:
            return findings
        what = f"{len(findings) - NAMED + 1} further findings of what is not proven"
        return [*findings[: NAMED - 1], Finding(self._store, what, "Deal with those above, and verify again.")]

    def _of_uncertain(self) -> Iterator[Finding]:
        """One finding for all places that hold what only looks like an identity: short ids do so anywhere."""
        if self._uncertain:
            places = sorted(self._uncertain.items(), key=lambda item: (-item[1], item[0]))
            named = ", ".join(f"{place} ({count:,})" for place, count in places[:NAMED_UNCERTAIN])
            further = f" and {len(places) - NAMED_UNCERTAIN:,} more" if len(places) > NAMED_UNCERTAIN else ""
            what = (
                f"{sum(self._uncertain.values()):,} records hold what may be an id of the batch, or a number, word or "
                f"a longer id that looks like one: {named}{further}"
            )
            yield Finding(self._store, what, "Look at a few of them; ids that are longer than a word leave no doubt.")


def _in_name(place: Place, match: Match, needles: Needles) -> Residual:
    """What the name of a place holds."""
    return Residual(f"{needles.blanked(place.name)} (its name)", match.kind.value, 1, masked(match))


def _blanked(finding: Finding, needles: Needles) -> Finding:
    """A finding without identities: names of tables and fields may hold some."""
    return Finding(needles.blanked(finding.place), needles.blanked(finding.what), finding.remedy)


def _summed_up(residuals: list[Residual]) -> Iterator[Residual]:
    residuals.sort(key=lambda residual: (-residual.count, residual.place))
    named, rest = residuals[:NAMED_RESIDUALS], residuals[NAMED_RESIDUALS:]
    if rest:
        named, rest = residuals[: NAMED_RESIDUALS - 1], residuals[NAMED_RESIDUALS - 1 :]
    yield from named
    if rest:
        kinds = ", ".join(sorted({residual.kind for residual in rest}))
        yield Residual(f"({len(rest)} further places)", kinds, sum(residual.count for residual in rest), "")


def _most(counts: dict[str, int]) -> dict[str, int]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[NAMED:])
    return dict(ordered[:NAMED]) | ({ELSEWHERE: rest} if rest else {})
