"""The report of a batch: JSON for machines, Markdown and HTML for people.

Holds counts and places, no personal data, but for the ids of people who stay.
"""

from activities.report.archive import read, write
from activities.report.contents import Contents, Held
from activities.report.html import as_html
from activities.report.json import as_json
from activities.report.markdown import as_markdown
from activities.report.people import holds, leave_out, stayers

__all__ = [
    "Contents",
    "Held",
    "as_html",
    "as_json",
    "as_markdown",
    "holds",
    "leave_out",
    "read",
    "stayers",
    "write",
]
