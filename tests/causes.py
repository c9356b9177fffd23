"""What makes a store refuse a batch's writes with a critical error, really and on the real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

from devstack.platform.clients import Clients, connect
from tests.bench import Bench

READ_ONLY = "gamma"
"""The index that takes no writes; those before it do."""


@asynccontextmanager
async def broken(bench: Bench, store: str, *, whole: bool = False) -> AsyncIterator[None]:
    """Lets a store refuse writes for as long as the block.

    Args:
        bench: The test's; prepared by `prepare`.
        store: The store.
        whole: Whether it refuses whatever it can be made to refuse, not only what comes late.
    """
    names = bench.platform.names
    async with connect(bench.env) as clients:
        match store:
            case "elasticsearch":
                index = f"{names.index_prefix}{'*' if whole else READ_ONLY}"
                await clients.elasticsearch.indices.put_settings(index=index, settings={"index.blocks.write": True})
                yield
                await clients.elasticsearch.indices.put_settings(index=index, settings={"index.blocks.write": False})
            case "clickhouse":
                table = f"`{names.database}`.unit_metrics{'' if whole else '_quality'}"
                column = "guard UInt8 MATERIALIZED throwIf(length(email) = 39)"
                await clients.clickhouse.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
                yield
                await clients.clickhouse.execute(f"ALTER TABLE {table} DROP COLUMN guard")
            case "postgres":
                last = bench.platform.sample[-1].contributor_id.replace("'", "''")
                condition = "" if whole else f"WHEN (OLD.id = '{last}')"
                await clients.postgres.execute(
                    f"""CREATE FUNCTION "{names.schema}".refuse() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$;
                    CREATE TRIGGER refuse BEFORE DELETE ON "{names.schema}".contributors FOR EACH ROW {condition}
                    EXECUTE FUNCTION "{names.schema}".refuse()"""
                )
                yield
                await clients.postgres.execute(f'DROP FUNCTION "{names.schema}".refuse() CASCADE')
            case "s3":
                await clients.s3.delete_bucket(Bucket=_second_bucket(bench))
                yield
                await clients.s3.create_bucket(Bucket=_second_bucket(bench))
            case "redis":
                keys = [f"{names.key_prefix}{'nothing' if whole else 'auth'}:*"]
                await _may_touch(clients, bench, keys)
                yield
                await _may_touch(clients, bench, ["*"])


@asynccontextmanager
async def breakable(bench: Bench, store: str) -> AsyncIterator[None]:
    """Gives a store what `broken` breaks, before the batch is submitted: whole, its check finds nothing."""
    async with connect(bench.env) as clients:
        match store:
            case "s3":
                bucket = _second_bucket(bench)
                await clients.s3.create_bucket(Bucket=bucket)
                avatars = f'"s3://{bench.platform.names.bucket}/avatars/{{contributor_id}}.png",'
                bench.change_map(avatars, f'{avatars}\n    "s3://{bucket}/{{contributor_id}}/",')
                yield
                await clients.s3.delete_bucket(Bucket=bucket)
            case "redis":
                await _may_touch(clients, bench, ["*"])
                plain = bench.env["ERASURE_REDIS__URL"]
                bench.env["ERASURE_REDIS__URL"] = plain.replace("redis://", f"redis://{_user(bench)}:any@")
                bench.change_map('"postgres", "s3"]  ', '"postgres", "s3", "redis"]  ')
                yield
                bench.env["ERASURE_REDIS__URL"] = plain
                deleted = clients.redis.acl_deluser(_user(bench))
                assert isinstance(deleted, Awaitable)
                await deleted
            case _:
                yield


def _second_bucket(bench: Bench) -> str:
    """A bucket whose loss makes the S3 phase fail after the objects of the first one are deleted."""
    return f"second-{bench.platform.names.bucket}"


async def _may_touch(clients: Clients, bench: Bench, keys: Sequence[str]) -> None:
    """Lets the batch's user of Redis touch keys of these patterns and no others."""
    changed = clients.redis.acl_setuser(
        _user(bench), enabled=True, nopass=True, categories=["+@all"], reset_keys=True, keys=keys
    )
    assert isinstance(changed, Awaitable)
    await changed


def _user(bench: Bench) -> str:
    """A user of Redis who loses rights while others keep theirs."""
    return f"user-{bench.platform.names.bucket}"
