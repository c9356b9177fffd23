"""The report as a page that a data protection officer hands to an auditor: one file, no network, no script."""

from __future__ import annotations

from activities import pages
from activities.report.contents import DEPTHS, Contents
from activities.report.timeline import timeline
from activities.sharing import NAMED
from activities.status import Outcome


def as_html(contents: Contents) -> str:
    """The report as HTML.

    Args:
        contents: What it tells.
    """
    status = contents.status
    return pages.render(
        "batch.html",
        report=contents,
        status=status,
        verdict=contents.verdict,
        timeline=timeline(contents),
        most=max((sum(phase.before.values()) for phase in contents.backed_up), default=0),
        undone=status.outcome is Outcome.ROLLED_BACK,
        depths=DEPTHS,
        named=NAMED,
    )
