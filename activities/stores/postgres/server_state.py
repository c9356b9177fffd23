"""What else goes on in the server: replicas that lag, old transactions, and locks on the tables to be erased from.

None of it forbids to start; all of it makes an erasure wait, or leaves for a while what it erased.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from activities.contract import Finding

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

BEHIND = 64 * 1024 * 1024
"""Bytes of log beyond which a replica counts as behind."""

OPEN = timedelta(minutes=10)
"""How long a transaction may be open before it is named."""

LOCKED = timedelta(seconds=30)
"""How long a lock may be held before it is named."""

REPLICAS = """
    SELECT coalesce(nullif(application_name, ''), 'a replica') AS name,
           pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS behind
    FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'
    UNION ALL
    SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
    FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL
"""
"""Those that are connected, and those that are awaited."""

TRANSACTIONS = """
    SELECT count(*) AS number, max(clock_timestamp() - xact_start) AS age FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND xact_start < clock_timestamp() - $1::interval
"""

LOCKS = """
    SELECT l.relation::bigint AS oid, count(DISTINCT coalesce(l.pid, 0)) AS holders,
           max(clock_timestamp() - a.xact_start) AS age
    FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation = ANY ($1::bigint[]::oid[])
      AND l.mode IN ('RowShareLock', 'RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                     'AccessExclusiveLock')
      AND (l.pid IS NULL OR a.xact_start < clock_timestamp() - $2::interval)
    GROUP BY l.relation
"""
"""A prepared transaction has no process, and may hold its locks for ever."""


async def notes(
    connection: Connection,
    tables: Mapping[int, str],
    *,
    behind: int = BEHIND,
    open_for: timedelta = OPEN,
    locked_for: timedelta = LOCKED,
) -> list[Finding]:
    """What an operator should know before an erasure.

    Args:
        connection: To the primary.
        tables: The tables to be erased from: their places, by oid.
        behind: Bytes beyond which a replica is named.
        open_for: Age from which transactions are named.
        locked_for: Age from which locks are named.
    """
    found: list[Finding] = []
    for row in await connection.fetch(REPLICAS):
        if row["behind"] is None:
            what = f"how far the replica {row['name']} is behind is not known"
            found.append(Finding("postgres", what, "Grant pg_monitor, or look whether it is connected"))
        elif row["behind"] > behind:
            what = f"the replica {row['name']} is {row['behind'] / 2**20:,.1f} MiB behind"
            remedy = "It shows what is erased until it has caught up: wait for it, or drop the slot of one that is gone"
            found.append(Finding("postgres", what, remedy))
    transactions = await connection.fetchrow(TRANSACTIONS, open_for)
    if transactions is not None and transactions["number"]:
        what = f"{transactions['number']:,} transactions are open, the oldest for {_words(transactions['age'])}"
        remedy = "Until they end, erased rows stay on the disk: look for them in pg_stat_activity"
        found.append(Finding("postgres", what, remedy))
    for row in await connection.fetch(LOCKS, list(tables), locked_for):
        since = f"for {_words(row['age'])}" if row["age"] is not None else "by a prepared transaction"
        what = f"{row['holders']:,} other transactions hold locks on it, {since}"
        remedy = "Slices wait for them and are tried again: look for them in pg_locks"
        found.append(Finding(tables[row["oid"]], what, remedy))
    return found


def _words(age: timedelta) -> str:
    return str(timedelta(seconds=round(age.total_seconds())))
