"""Other batches that are under way with the same people.

Ids are compared as keyed digests, under a key that nobody keeps; each batch's CSV is read once.
"""

from __future__ import annotations

import hashlib
import secrets
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from temporalio.service import RPCError

from activities import report, submission
from activities.contract import Heartbeat
from activities.errors import TransientError
from activities.status import Outcome
from activities.vault import BatchVault, Vault, VaultMissingError

if TYPE_CHECKING:
    from temporalio.client import Client

UNDER_WAY = "WorkflowType = 'EraseContributors' AND ExecutionStatus = 'Running' AND TaskQueue = '{queue}'"

SETTLED = {Outcome.ERASED, Outcome.WARNED, Outcome.ROLLED_BACK}
"""Of a batch that only waits for the end of its retention."""


async def find(vaults: Vault, client: Client, queue: str, vault: BatchVault, heartbeat: Heartbeat) -> dict[str, int]:
    """How many people of a batch are in which other batch that is neither erased nor rolled back.

    Args:
        vaults: The vault.
        client: Temporal, which knows what runs.
        queue: The task queue of this deployment's batches.
        vault: The batch.
        heartbeat: Told each batch.

    Raises:
        ErasureError: It cannot be known.
    """
    try:
        running = [run.id async for run in client.list_workflows(UNDER_WAY.format(queue=queue))]
    except RPCError as error:
        remedy = "Look at its log; it is tried again."
        raise TransientError("temporal", f"its batches cannot be listed ({error.status.name})", remedy) from None
    others = [each for each in running if each != vault.batch_id and await _is_under_way(vaults, each)]
    if not others:
        return {}
    key = secrets.token_bytes(32)
    ours = array("Q", sorted([_digest(key, each.contributor_id) async for each in submission.read_contributors(vault)]))
    found: dict[str, int] = {}
    for other in others:
        try:
            theirs = await vaults.open(other)
            both = {
                digest
                async for each in submission.read_contributors(theirs)
                if _holds(ours, digest := _digest(key, each.contributor_id))
            }
        except VaultMissingError:
            continue  # it ended just now, and was shredded
        if both:
            found[other] = len(both)
        heartbeat("batches compared", len(found))
    return found


async def _is_under_way(vaults: Vault, batch_id: str) -> bool:
    try:
        reported = await report.read(await vaults.archive(batch_id))
    except VaultMissingError:
        return True
    return reported["json"]["outcome"] not in SETTLED


def _digest(key: bytes, contributor_id: str) -> int:
    data = contributor_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, key=key, digest_size=8).digest())


def _holds(ours: array[int], digest: int) -> bool:
    at = bisect_left(ours, digest)
    return at < len(ours) and ours[at] == digest
