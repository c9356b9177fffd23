"""Issuing: a batch's certificate is made from its status and the vault, and kept in the archive: it outlives shredding.

A batch has as many certificates as things happened to it after the first one: a rollback, a re-run, its shredding. Each
holds all events of the one before it, word for word, and adds its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from activities import report, submission
from activities.certificate import document, history, people
from activities.certificate.chain import Entry, missing
from activities.certificate.contents import members
from activities.contract import Contributor
from activities.errors import CriticalError
from activities.holds import Holds
from activities.identities import IdentityKind, IdentitySet
from activities.manifest import ManifestSlice
from activities.messages import Certified
from activities.report import Held
from activities.status import BatchStatus
from activities.vault import BatchVault, Vault

WITHHELD = "[withheld]"
"""Stands in a reason for an identity of the batch; operators are told to write none."""

TOO_LATE = "[withheld: it was given after the identities had been destroyed, and could not be searched for them]"
"""Stands for a whole reason."""


@dataclass
class _People:
    """What the vault knows of a batch's people, for its certificate.

    Args:
        csv_digest: Of the CSV, keyed.
        digests: Of those who were erased, keyed.
        reasons: What stands in the certificate for each reason.
    """

    csv_digest: str
    digests: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)


async def issue(vaults: Vault, holds: Holds, status: BatchStatus) -> Certified:
    """Issues a batch's certificate; where nothing happened since the last one, that stays.

    Args:
        vaults: The vault.
        holds: The legal holds.
        status: What is known of the batch.

    Raises:
        CriticalError: The batch is said to be shredded and is not, or has no certificate from before.
        ErasureError: The vault, or the legal holds, cannot be read.
    """
    archive = await vaults.archive(status.batch_id)
    file = await newest(archive)
    earlier = document.read(file)["certificate"] if file else None
    chain = earlier["events"] if earlier else []
    news = missing(chain, history.entries(status))
    held = await report.holds(archive, vaults, holds, status)
    body = members(status, Counter(store for each in held for store in each.left_out))
    key = await vaults.inclusion_key(status.batch_id)
    if status.shredded:
        await vaults.prove_shredded(status.batch_id)
        body |= _kept(earlier, body)
        news = [replace(entry, why=TOO_LATE if entry.why else "") for entry in news]
    else:
        found = await _search(await vaults.open(status.batch_id), key, status, held, news)
        body["submission"]["csv_digest"] = found.csv_digest
        body["contributors"] = {"key": people.name_of(key), "digests": sorted(found.digests)}
        news = [replace(entry, why=found.reasons.get(entry.why, "")) for entry in news]
    if file and earlier and not news and all(earlier.get(name) == value for name, value in body.items()):
        return _certified(file)
    number = earlier["number"] + 1 if earlier else 0
    now = history.time(datetime.now(UTC)) or ""
    closing = Entry(now, "shredded", why=history.why_shredded(status)) if status.shredded else Entry(now, "certified")
    signing = await vaults.signing.current()
    body = {"number": number, "issued_at": now, **body}
    made = await asyncio.to_thread(document.make, body, chain, news, closing, signing.private)
    async with archive.recording(_name(number)) as recording:
        await recording.write(made)
    return _certified(await _read(archive, _name(number)))


async def newest(archive: BatchVault) -> bytes | None:
    """The file of a batch's newest certificate; None where it has none.

    Args:
        archive: The batch's archive.
    """
    names = await archive.names("certificate/")
    return await _read(archive, names[-1]) if names else None


def _kept(earlier: dict[str, Any] | None, body: dict[str, Any]) -> dict[str, Any]:
    """What only the earlier certificate still knows, once the identities are destroyed."""
    if earlier is None:
        what = "the batch was shredded before it had a certificate, and nobody can say any more who was in it"
        raise CriticalError("certificate", what, "Restore the vault's folder `archive`, then retry.")
    return {
        "contributors": earlier["contributors"],
        "submission": {**body["submission"], "csv_digest": earlier["submission"]["csv_digest"]},
    }


async def _search(
    vault: BatchVault, key: bytes, status: BatchStatus, held: Sequence[Held], news: Sequence[Entry]
) -> _People:
    """Reads the manifest once, a page at a time: who is on it, and whether a reason names any of them."""
    found = _People(people.csv_digest(key, await submission.digest(vault)))
    found.reasons = {entry.why: entry.why for entry in news if entry.why}
    left_out = {each.contributor_id for each in held if each.left_out}
    async for page in ManifestSlice(vault, None, status.slices, status.attempt).pages():
        for contributor in page:
            if contributor.contributor_id not in left_out:
                receipt = people.receipt(key, contributor.contributor_id)
                found.digests.add(people.digest(receipt, contributor.contributor_id))
        _withhold(found.reasons, page)
    if found.reasons and left_out:  # who was held from the start is on no page
        rows = submission.read_contributors(vault)
        _withhold(found.reasons, [row async for row in rows if row.contributor_id in left_out])
    return found


def _withhold(reasons: dict[str, str], page: Sequence[Contributor]) -> None:
    """Takes the identities of some people out of reasons.

    Args:
        reasons: What is shown for each reason; changed in place.
        page: The people.
    """
    if reasons:
        finder = IdentitySet(page).finder(list(IdentityKind))
        for reason, shown in reasons.items():
            kept = shown
            for start, end in reversed(list(finder.spans(shown))):
                kept = kept[:start] + WITHHELD + kept[end:]
            reasons[reason] = kept


async def _read(archive: BatchVault, name: str) -> bytes:
    return b"".join([chunk async for chunk in archive.chunks(name)])


def _name(number: int) -> str:
    return f"certificate/{number:06}"


def _certified(file: bytes) -> Certified:
    read = document.read(file)
    return Certified(read["certificate"]["number"], hashlib.sha256(file).hexdigest(), read["signature"]["key"])
