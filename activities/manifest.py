"""The manifest: a batch's people with every identity known for them, in pages, in the vault.

Written before anything is deleted: a re-run after PostgreSQL is gone still knows whom to look for.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from activities import submission
from activities.contract import Contributor, Heartbeat
from activities.datamap import DataMap, IdentityTable
from activities.errors import CriticalError, translated
from activities.holds import Holds
from activities.identities import BLANKS
from activities.messages import Resolved
from activities.stores.postgres import quote, translate
from activities.vault import BatchVault

if TYPE_CHECKING:
    from asyncpg import Pool, Record

SUMMARY = "manifest/summary"

HELD = "manifest/held"
"""People who were under a legal hold from the start."""

RESOLVE = """
    SELECT {id}::text AS contributor_id, {emails} AS emails, {worker_ids} AS worker_ids
    FROM {table}
    WHERE {id} = ANY (SELECT wanted::{type} FROM unnest($1::text[]) AS wanted WHERE pg_input_is_valid(wanted, $2))
"""

COLUMN_TYPE = """
    SELECT format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped
"""


@dataclass(frozen=True)
class ManifestSlice:
    """One page of the manifest, or all of them: what a store's verb works on.

    Args:
        vault: The batch.
        number: The page, or None for the whole batch.
        slices: How many pages there are.
        without: Contributors who came under a legal hold since, and are passed over.
    """

    vault: BatchVault
    number: int | None
    slices: int
    without: frozenset[str] = frozenset()

    @property
    def batch_id(self) -> str:
        """The batch."""
        return self.vault.batch_id

    @property
    def name(self) -> str:
        """The page's name, or ``all``."""
        return "all" if self.number is None else f"{self.number:06}"

    async def pages(self) -> AsyncIterator[Sequence[Contributor]]:
        """Yields the page, or all pages in order."""
        for number in range(self.slices) if self.number is None else (self.number,):
            yield [
                Contributor(record["i"], tuple(record["e"]), tuple(record["w"]))
                async for _, record in self.vault.records(_page(number))
                if record["i"] not in self.without
            ]


async def resolve(
    vault: BatchVault, pool: Pool[Record], data_map: DataMap, holds: Holds, heartbeat: Heartbeat
) -> Resolved:
    """Looks up every contributor's identities in PostgreSQL and writes the manifest, once.

    Args:
        vault: The batch; holds the CSV, receives the manifest.
        pool: PostgreSQL.
        data_map: Says where identities stand, and how many contributors make a slice.
        holds: Who is under a legal hold: they come on no page, and are named under `HELD`.
        heartbeat: Told each page.

    Raises:
        ErasureError: PostgreSQL or the vault cannot be read; the identity table is not as the data map says.
    """
    if await vault.receipt(SUMMARY) is not None:
        async for _, summary in vault.records(SUMMARY):
            return Resolved(**summary)
    contributors = unknown = 0
    digests: list[str] = []
    everybody_held: list[str] = []
    async for page in _batched(submission.read_contributors(vault), data_map.policy.slice_size):
        held = await holds.among(list(page))
        everybody_held += sorted(held)
        known = await _look_up(pool, data_map.identity, list(page))
        async with vault.recording(_page(len(digests))) as recording:
            for contributor in page.values():
                if contributor.contributor_id in held:
                    continue
                found = known.get(contributor.contributor_id)
                unknown += found is None
                merged = contributor if found is None else _merge(contributor, found)
                record = {"i": merged.contributor_id, "e": merged.emails, "w": merged.worker_ids}
                await recording.add("contributors", record)
        assert recording.receipt is not None, "a recording that closed has a receipt"
        digests.append(recording.receipt.digest)
        contributors += len(page)
        heartbeat("manifest", contributors)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    async with vault.recording(HELD) as recording:
        for contributor_id in everybody_held:
            await recording.add("held", {"i": contributor_id})
    resolved = Resolved(len(digests), contributors, unknown, len(everybody_held), digest)
    async with vault.recording(SUMMARY) as recording:
        await recording.add("summary", asdict(resolved))
    return resolved


def _page(number: int) -> str:
    return f"manifest/{number:06}"


def _merge(one: Contributor, other: Contributor) -> Contributor:
    """Both sets of identities, each spelling once, in order."""
    return Contributor(
        one.contributor_id,
        tuple(dict.fromkeys((*one.emails, *other.emails))),
        tuple(dict.fromkeys((*one.worker_ids, *other.worker_ids))),
    )


async def _batched(people: AsyncIterator[Contributor], size: int) -> AsyncIterator[dict[str, Contributor]]:
    """Pages of contributors by id; one who is named twice on a page is merged."""
    page: dict[str, Contributor] = {}
    async for contributor in people:
        earlier = page.get(contributor.contributor_id)
        page[contributor.contributor_id] = contributor if earlier is None else _merge(earlier, contributor)
        if len(page) >= size:
            yield page
            page = {}
    if page:
        yield page


async def _look_up(pool: Pool[Record], table: IdentityTable, ids: list[str]) -> dict[str, Contributor]:
    with translated("postgres", translate):
        async with pool.acquire() as connection:
            schema_table = ".".join(quote(part) for part in table.table.split("."))
            id_type = await connection.fetchval(COLUMN_TYPE, schema_table, table.id)
            if id_type is None:
                raise CriticalError(
                    f"postgres {table.table}.{table.id}",
                    "the identity table has no such column, or it may not be read",
                    "Correct [identity] in the data map, or grant SELECT.",
                )
            rows = await connection.fetch(
                RESOLVE.format(
                    table=schema_table,
                    id=quote(table.id),
                    type=id_type,
                    emails=_texts(table.emails),
                    worker_ids=_texts(table.worker_ids),
                ),
                ids,
                id_type,
                BLANKS,
            )
    return {
        row["contributor_id"]: Contributor(
            row["contributor_id"], tuple(dict.fromkeys(row["emails"])), tuple(dict.fromkeys(row["worker_ids"]))
        )
        for row in rows
    }


def _texts(columns: Sequence[str]) -> str:
    """The columns' values as one array of text, as they are stored; null and blank ones left out. $3 are the blanks."""
    texts = [f"{quote(column)}::text" for column in columns]
    values = ", ".join(f"CASE WHEN btrim({text}, $3) <> '' THEN {text} END" for text in texts)
    return f"array_remove(ARRAY[{values}]::text[], NULL)"
