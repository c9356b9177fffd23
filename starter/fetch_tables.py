"""How a fetch looks in a terminal, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activities.fetching.messages import Bar, Criteria, Fetch, Fetched

WIDTH = 40
"""Characters of the longest bar."""


def summary(task: Fetch, found: Fetched) -> RenderableType:
    """How many people each filter leaves, how long they have been inactive, and what else is to be known.

    Args:
        task: The fetch.
        found: What it found.
    """
    parts: list[RenderableType] = [_funnel(task, found)]
    if found.histogram or found.never:
        parts += [Text(), _histogram(found)]
    parts += [Text(line, style="yellow") for line in remarks(task.criteria, found)]
    return Group(*parts)


def remarks(criteria: Criteria, found: Fetched) -> list[str]:
    """What is to be known beside the numbers of the filters."""
    counts, lines = found.counts, []
    if counts.no_activity and criteria.null_activity is None:
        lines.append(
            f"{counts.no_activity:,} have no last activity and were left out: decide about them with --null-activity."
        )
    if counts.in_future:
        lines.append(
            f"{counts.in_future:,} were last active in the future: look at clocks, and at [fetch] timezone. "
            "They do not count as inactive."
        )
    if found.unfit:
        lines.append(f"{found.unfit:,} were left out: their ids are not of the form that identity.id_pattern asks for.")
    if found.unnamed:
        lines.append(
            f"Of {found.unnamed:,} an address or worker id stands not in the file, since no cell can hold it; "
            "erase looks it up."
        )
    lines += [
        f"The query reads a big table from end to end. Make the index: {index}" for index in found.missing_indexes
    ]
    return lines


def as_json(task: Fetch, found: Fetched) -> dict[str, Any]:
    """A fetch as JSON values."""
    return {
        "run_id": task.run_id,
        "criteria": asdict(task.criteria),
        "as_of": task.as_of.isoformat(),
        "stamp": task.stamp.isoformat(),
        **asdict(found),
    }


def _funnel(task: Fetch, found: Fetched) -> Table:
    criteria = task.criteria
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for what, people in found.counts.filters(criteria):
        table.add_row(Text(what), f"{people:,}")
    table.add_row(Text(f"limited to {criteria.max_contributors:,}"), f"{found.contributors:,}", style="bold")
    return table


def _histogram(found: Fetched) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("days inactive", justify="right", no_wrap=True)
    table.add_column("people", justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    most = max([found.never, *(bar.contributors for bar in found.histogram)])
    for bar in found.histogram:
        table.add_row(_days(bar), f"{bar.contributors:,}", _bar(bar.contributors, most))
    if found.never:
        table.add_row("never active", f"{found.never:,}", _bar(found.never, most))
    return table


def _days(bar: Bar) -> str:
    return f"{bar.first:,}" if bar.first == bar.last else f"{bar.first:,} to {bar.last:,}"


def _bar(people: int, most: int) -> Text:
    """At least a sliver where there is anybody."""
    return Text("█" * -(-people * WIDTH // most), style="cyan")
