"""Reports in the vault, where they outlive the batch key."""

from __future__ import annotations

from typing import Any

from activities.report.contents import Contents
from activities.report.html import as_html
from activities.report.json import with_names
from activities.report.markdown import as_markdown
from activities.vault import BatchVault, VaultMissingError


async def write(archive: BatchVault, contents: Contents) -> str:
    """Puts the report into the vault: as JSON, Markdown and HTML.

    Args:
        archive: The batch's archive.
        contents: What it tells.

    Returns:
        Its name.
    """
    name = f"report/{len(await archive.names('report/')):06}"
    written = {"json": with_names(contents), "markdown": as_markdown(contents), "html": as_html(contents)}
    async with archive.recording(name) as recording:
        await recording.add("report", written)
    return name


async def read(archive: BatchVault) -> dict[str, Any]:
    """The batch's newest report: ``json``, ``markdown`` and ``html``.

    Raises:
        VaultMissingError: The batch has none yet.
    """
    for name in reversed(await archive.names("report/")):
        async for _, report in archive.records(name):
            return report
    raise VaultMissingError("vault", f"batch {archive.batch_id} has no report yet", "Wait for the batch to end.")
