"""What the Web UI shows of a fetch: its steps in order, with how many people each leaves."""

from __future__ import annotations

from activities.fetching.messages import Counts, FetchStage, FetchStatus

_ORDER = list(FetchStage)


def as_markdown(status: FetchStatus) -> str:
    """The fetch as a list of steps; counts only."""
    criteria, found = status.criteria, status.fetched

    def line(stage: FetchStage, what: str, left: int | None = None) -> str:
        done = "x" if _ORDER.index(status.stage) > _ORDER.index(stage) else " "
        return f"- [{done}] {what}" + ("" if left is None else f": **{left:,}**")

    lines = [f"*{status.stage}*", "", line(FetchStage.CONNECT, "connect to PostgreSQL")]
    for what, left in (found.counts if found else Counts()).filters(criteria):
        lines.append(line(FetchStage.EXPORT, what, left if found else None))
    lines.append(line(FetchStage.EXPORT, "sort by last activity"))
    limit = f"limit {criteria.max_contributors:,}, export to CSV"
    lines.append(line(FetchStage.EXPORT, limit, found.contributors if found else None))
    if status.backed_up:
        lines.append(line(FetchStage.BACK_UP, "create backup"))
    if status.batch_id:
        lines.append(line(FetchStage.HAND_OVER, f"handed over as batch {status.batch_id}"))
    if status.kept_until:
        lines.append(f"- taken {status.taken:,} times; kept until {status.kept_until:%Y-%m-%d %H:%M} UTC")
    return "\n".join([*lines, *(f"- index missing: `{index}`" for index in (found.missing_indexes if found else []))])
