"""The identity table, looked through before any store: who is in it with an address of somebody who was erased.

    the id was erased           the row came back, by a restored dump: the store that has the table finds it
    only an address was         somebody else has the address: an account that is younger than the erasure is the same
                                person, registered anew; an older one shared it all along, and stays
    ... and no `created_at`     nobody can tell: it stays, and that is said

Whoever registered anew stays by policy; then what holds their address is theirs, and stays in every store where nothing
but that address speaks for its erasure.
"""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING

from activities.contract import Finding, Heartbeat
from activities.datamap import IdentityTable
from activities.identities import IdentityKind
from activities.identity_table import Account, accounts
from activities.sweeping import looking
from activities.sweeping.messages import Sighted
from activities.tombstones import Found, Tombstones
from activities.tombstones.keeping import of

if TYPE_CHECKING:
    from asyncpg import Pool, Record

    from activities.vault import BatchVault

NAME = "identity table"


async def look(
    pool: Pool[Record], table: IdentityTable, tombstones: Tombstones, vault: BatchVault, heartbeat: Heartbeat
) -> Sighted:
    """Looks through the identity table for accounts with another id, and an address or worker id that was erased.

    Args:
        pool: PostgreSQL.
        table: The table.
        tombstones: Who was erased.
        vault: The sweep's; receives who is to be erased by policy, and the marks of those who stay.
        heartbeat: Told of every page.
    """
    sighted = Sighted(NAME)
    kept: set[bytes] = set()
    undecided = seen = 0
    async with (
        vault.recording(f"found/identities/{secrets.token_hex(4)}") as recording,
        aclosing(accounts(pool, table)) as pages,
    ):
        async for page in pages:
            marks = [[each.mark for each in of(tombstones.key, account.contributor)] for account in page]
            found = await tombstones.among({mark for theirs in marks for mark in theirs})
            for account, own in zip(page, marks, strict=True):
                theirs = {mark: found[mark] for mark in own if mark in found}
                person = tombstones.key.person(account.contributor.contributor_id)
                if not theirs or person in theirs:
                    continue
                latest = max(theirs.values(), key=lambda each: each.erased_at)
                counts = sighted.kept
                if latest.reregistered == "erase" and _is_newer(account, latest):
                    counts = sighted.came_back
                    identity = (IdentityKind.CONTRIBUTOR_ID, account.contributor.contributor_id)
                    await looking.record(recording, table.table, identity, person, latest.batch_id)
                else:
                    kept |= theirs.keys()
                    undecided += account.created_at is None
                counts[table.table] = counts.get(table.table, 0) + 1
            seen += len(page)
            heartbeat(NAME, seen)
    await looking.keep(vault, kept)
    if undecided:
        what = (
            f"{undecided:,} accounts have an identity that was erased, and it is not known how old they are: they stay"
        )
        remedy = "Name the column that says it: [identity] created_at."
        sighted.not_looked_at.append(Finding(table.table, what, remedy))
    if await tombstones.has_other_keys():
        what = "some were made under another key of the vault: whether these people came back is not known"
        sighted.not_looked_at.append(Finding("tombstones", what, "Sweep with that key too."))
    return sighted


def _is_newer(account: Account, latest: Found) -> bool:
    """Whether an account may be of somebody who registered anew."""
    return account.created_at is None or account.created_at > latest.erased_at
