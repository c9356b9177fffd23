"""The census: what the stores hold, counted by plain queries that share nothing with the eraser.

Taken before and after an erasure, it shows the batch's records go, masks appear, and everybody else's stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from devstack.platform import census_documents, census_files, census_keys, census_rows
from devstack.platform.clients import Clients
from devstack.platform.people import Person
from devstack.platform.plan import Names
from devstack.platform.tally import Batch, Count


async def take(clients: Clients, names: Names, people: Collection[Person]) -> tuple[Count, ...]:
    """Counts every store, all at the same time.

    Args:
        clients: Connected to the five stores.
        names: What the platform's parts are called.
        people: The batch.

    Returns:
        One count a place, in the order of the erasure's phases.
    """
    batch = Batch.of(people)
    stores = await asyncio.gather(
        census_documents.count(clients.elasticsearch, names, batch),
        census_rows.count_clickhouse(clients.clickhouse, names.database, batch),
        census_rows.count_postgres(clients.postgres, names.schema, batch),
        census_files.count(clients.s3, names.bucket, batch),
        census_keys.count(clients.redis, names.key_prefix, batch),
    )
    return tuple(count for counts in stores for count in counts)
