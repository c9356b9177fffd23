"""The report as Markdown: for terminals, tickets and wikis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from activities.pages import counted, moment
from activities.report.contents import DEPTHS, Contents, told
from activities.sharing import NAMED
from activities.status import BatchStatus, PhaseStatus


def as_markdown(contents: Contents) -> str:
    """The report as Markdown.

    Args:
        contents: What it tells.
    """
    status, verdict = contents.status, contents.verdict
    lines = [
        f"# Batch {status.batch_id}: {verdict.title}",
        "",
        verdict.says,
        "",
        f"{status.contributors:,} contributors, submitted by {status.operator}; {status.duplicates:,} duplicate rows "
        f"folded; {status.unknown:,} not in the identity table (searched for by the CSV's own identities).",
        "",
        f"Started {moment(status.started_at)}, ended {moment(contents.ended_at)}. {contents.back_up}",
        "",
        *_table(
            ("phase", "state"),
            ("before", "matched", "changed", "already clean", "conflicted", "after", "seconds"),
            (_phase(phase, is_counted=phase in contents.backed_up) for phase in status.phases),
        ),
    ]
    concerns = [f"{concern.kind}: {told(concern.finding)}" for concern in contents.concerns]
    lines += _list("What needs attention", concerns)
    lines += _list("What was not proven", map(told, contents.not_proven))
    lines += _verification(status)
    lines += _canary(status)
    lines += _list("Notes", map(told, contents.notes))
    lines += _section("Places", ("store", "place"), ("before", "changed", "after"), _places(contents))
    lines += _section(
        "Rollback", ("store", "place"), ("pre-images", "put back", "intact", "conflicted"), _recoveries(status)
    )
    lines += _list("Legal holds", map(str, contents.held))
    lines += _shared(contents)
    commands = (
        [
            moment(each.at),
            each.kind,
            each.phase or "the batch",
            each.operator,
            each.reason,
            f"none: {each.ignored}" if each.ignored else "taken",
        ]
        for each in status.commands
    )
    lines += _section("Commands", ("at", "command", "phase", "operator", "reason", "effect"), (), commands)
    certificates = ([str(each.number), moment(each.at), f"`{each.digest}`", each.key] for each in status.certificates)
    lines += _section("Certificates so far", ("number", "issued", "SHA-256 of the file", "key"), (), certificates)
    lines += ["", f"Data map `{status.data_map_digest[:16]}`, manifest `{status.manifest_digest[:16]}`.", ""]
    return "\n".join(lines)


def _phase(phase: PhaseStatus, *, is_counted: bool) -> list[str]:
    tally = phase.tally
    return [
        phase.store,
        str(phase.state),
        f"{sum(phase.before.values()):,}" if is_counted else "not counted",
        *(f"{count:,}" for count in (tally.matched, tally.changed, tally.already_clean, tally.conflicted)),
        "not counted" if phase.after is None else f"{sum(phase.after.values()):,}",
        "" if phase.seconds is None else f"{phase.seconds:.1f}",
    ]


def _verification(status: BatchStatus) -> list[str]:
    found = status.verification
    if found is None:
        return []
    proven = counted(len(found.proven), "place was", "places were")
    says = f"It ended {moment(found.at)} and looked at {DEPTHS[found.depth]}: {proven} read whole and found clean."
    lines = ["", "## Verification", "", says]
    lines += _section("Residuals", ("place",), ("records",), _counts(found.residuals))
    return lines + _section("Masks", ("place",), ("values that read DELETED_USER",), _counts(found.masked))


def _canary(status: BatchStatus) -> list[str]:
    found = status.canary
    if found is None:
        return []
    lines = ["", "## Canary", "", f"{found}. Its own batch was `{found.erasure}`."]
    lines += _list("Not covered by the canary", map(told, found.missed))
    lines += _list("Left of the canary, masked", map(told, found.left))
    return lines + _section("Where the canary was", ("place",), ("records",), _counts(found.planted))


def _counts(counts: dict[str, int]) -> Iterator[list[str]]:
    for place, count in sorted(counts.items()):
        yield [f"`{place}`", f"{count:,}"]


def _places(contents: Contents) -> Iterator[list[str]]:
    for phase in contents.status.phases:
        for place in contents.places(phase):
            after = "not counted" if place.after is None else f"{place.after:,}"
            yield [phase.store, f"`{place.name}`", f"{place.before:,}", f"{place.changed:,}", after]


def _recoveries(status: BatchStatus) -> Iterator[list[str]]:
    for phase in status.phases:
        for place, one in sorted(phase.restored.items()):
            counts = (one.found, one.restored, one.intact, one.conflicted)
            yield [phase.store, f"`{place}`", *(f"{count:,}" for count in counts)]


def _shared(contents: Contents) -> list[str]:
    status = contents.status
    if not contents.stayers:
        return []
    count = f"{status.shared:,} identities of the batch are those of somebody who stays as well"
    lines = ["", f"## Shared identities: {status.when_shared}", "", f"{count}:", ""]
    lines += [f"- {each}" for each in contents.stayers]
    return lines + ["- and more"] * (len(contents.stayers) == NAMED)


def _list(title: str, entries: Iterable[str]) -> list[str]:
    """A section of bullets; none where there is nothing to say."""
    bullets = [f"- {entry}" for entry in entries]
    return ["", f"## {title}", "", *bullets] if bullets else []


def _section(title: str, words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A section with a table; none where the table has no row."""
    found = list(rows)
    return ["", f"## {title}", "", *_table(words, numbers, found)] if found else []


def _table(words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table.

    Args:
        words: Titles of the columns of words; they come first.
        numbers: Titles of the columns of numbers.
        rows: A cell a column.
    """
    ruled = "|" + "---|" * len(words) + "---:|" * len(numbers)
    return [_row([*words, *numbers]), ruled, *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    """A row; what an operator wrote neither ends a cell nor a line."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
