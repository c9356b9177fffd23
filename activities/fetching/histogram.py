"""How long people have been inactive, in a few bars of equal width."""

from __future__ import annotations

from collections.abc import Mapping

from activities.fetching.messages import Bar

WIDTHS = (1, 7, 30, 90, 180, 365)
"""Days a bar, as people count them; then whole years."""

BARS = 12
"""At most."""


def bars(days: Mapping[int, int]) -> list[Bar]:
    """The histogram.

    Args:
        days: How many people have been inactive for so many days.

    Returns:
        Bars from the shortest to the longest, those without anybody between them included.
    """
    if not days:
        return []
    first, last = min(days), max(days)
    years = (365 * number for number in range(2, last // 365 + 3))
    width = next(width for width in (*WIDTHS, *years) if last // width - first // width < BARS)
    counts = dict.fromkeys(range(first // width, last // width + 1), 0)
    for day, people in days.items():
        counts[day // width] += people
    return [Bar(number * width, (number + 1) * width - 1, people) for number, people in counts.items()]
