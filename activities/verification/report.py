"""The report of a verification: JSON for machines, Markdown for people. Places and counts, no personal data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from activities.vault import BatchVault
from activities.verification.messages import VerificationStatus

_STATUS = TypeAdapter(VerificationStatus)


def as_json(status: VerificationStatus) -> dict[str, Any]:
    """The report as JSON values."""
    report: dict[str, Any] = _STATUS.dump_python(status, mode="json")
    return report | {
        "verdict": status.verdict.value,
        "residuals": status.residuals,
        "not_proven": [asdict(each) for each in status.not_proven],
    }


def as_markdown(status: VerificationStatus) -> str:
    """The report as Markdown."""
    lines = [
        f"# Verification of {status.batch_id}: {status.verdict}",
        "",
        f"{status.contributors:,} contributors, depth *{status.depth}*. {status.left_out:,} of them were left out of "
        "the erasure under a legal hold, and were not looked for.",
        "",
        "| scan | records read | places proven | residuals | not proven | masks | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {scan.store} {scan.version} | {scan.records:,} | {len(scan.proven):,} "
            f"| {sum(residual.count for residual in scan.residuals):,} | {len(scan.not_proven):,} "
            f"| {sum(scan.masked.values()):,} | {scan.seconds:.1f} |"
            for scan in status.scans
        ),
    ]
    if status.access:
        access = status.access
        lines += [
            "",
            f"The platform's API was asked about {access.asked:,}: {access.refused:,} times SYSTEM_ERROR, "
            f"{access.known:,} known. The identity table still lists {access.listed:,}.",
        ]
    if status.residuals:
        lines += ["", "## Residuals", "", "| place | kind | records | sample, masked |", "|---|---|---:|---|"]
        lines += [
            f"| {scan.store} `{residual.place}` | {residual.kind} | {residual.count:,} | {residual.sample} |"
            for scan in status.scans
            for residual in scan.residuals
        ]
    if status.not_proven:
        lines += ["", "## Not proven", "", *(f"- {each}" for each in status.not_proven)]
    lines += ["", "## Read whole, and nothing found", ""]
    lines += [f"- {scan.store} `{place}`" for scan in status.scans for place in scan.proven]
    masked = [(scan.store, place, count) for scan in status.scans for place, count in scan.masked.items() if count]
    if masked:
        lines += ["", "## Masks", "", "| store | place | values that read DELETED_USER |", "|---|---|---:|"]
        lines += [f"| {store} | `{place}` | {count:,} |" for store, place, count in masked]
    return "\n".join([*lines, ""])


async def write(archive: BatchVault, status: VerificationStatus) -> str:
    """Puts the report into the vault, where it outlives the batch key.

    Args:
        archive: The batch's archive.
        status: What is known of the verification.

    Returns:
        Its name.
    """
    name = f"verification/{len(await archive.names('verification/')):06}"
    async with archive.recording(name) as recording:
        await recording.add("verification", {"json": as_json(status), "markdown": as_markdown(status)})
    return name


async def read(archive: BatchVault, name: str) -> dict[str, Any]:
    """One report: ``json`` and ``markdown``."""
    (report,) = [record async for _, record in archive.records(name)]
    return report
