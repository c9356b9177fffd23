"""The canary of a whole batch: erased before real people, and what becomes of the batch where it is not gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import asyncpg

from activities.contract import Contributor
from activities.status import BatchStatus, Stage
from devstack.platform import sample
from devstack.platform.clients import connect
from devstack.platform.postgres import quoted
from starter.exit_codes import ExitCode
from tests import contents, history
from tests.bench import Bench, until_async
from tests.contents import Contents, differences
from workflows.erase import EraseContributors

STORES = ("elasticsearch", "clickhouse", "postgres", "s3", "redis")

STUBBORN = """
    CREATE FUNCTION {schema}.come_back() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO {schema}.contributors VALUES (OLD.*); RETURN NULL; END
    $$;
    CREATE CONSTRAINT TRIGGER stubborn AFTER DELETE ON {schema}.contributors DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION {schema}.come_back();
"""
"""Puts a row back that was deleted: at the end of the transaction, whose own statements see nothing of it."""

TOMBSTONES = "SELECT count(DISTINCT person) FROM erasure.tombstones"

TAME = "DROP TRIGGER stubborn ON {schema}.contributors; DROP FUNCTION {schema}.come_back()"


def canary_of(bench: Bench) -> Contributor:
    """A canary of the bench's own: others look for theirs on the same servers."""
    own = bench.platform.names.database[-8:]
    return Contributor(f"c-canary-{own}", (f"canary-{own}@example.invalid",), (f"w-canary-{own}",))


def name_canary(bench: Bench, contributor_id: str | None = None) -> None:
    """Adds the canary to the data map; with another id, where one is given."""
    canary = canary_of(bench)
    lines = [
        f"contributor_id = {json.dumps(contributor_id or canary.contributor_id)}",
        f"emails = {json.dumps(canary.emails)}",
        f"worker_ids = {json.dumps(canary.worker_ids)}",
    ]
    bench.data_map.write_text("\n".join([bench.data_map.read_text(), "[canary]", *lines, ""]))


def values(bench: Bench) -> list[str]:
    """The canary's identities."""
    canary = canary_of(bench)
    return [canary.contributor_id, *canary.emails, *canary.worker_ids]


async def held(bench: Bench) -> Contents:
    """All that the stores hold; how far a sequence has come is no record of anybody."""
    found = await contents.read(bench.env, bench.platform.names)
    return {place: records for place, records in found.items() if place != "postgres sequences"}


async def sql(bench: Bench, statement: str) -> object:
    """Runs statements over the platform's schema; answers with what a query counts."""
    connection = await asyncpg.connect(bench.env["ERASURE_POSTGRES__DSN"])
    said = statement.format(schema=quoted(bench.platform.names.schema))
    counted: object = await (connection.fetchval(said) if said.startswith("SELECT") else connection.execute(said))
    await connection.close()
    return counted


def of_canary(bench: Bench, found: Contents) -> list[str]:
    """The places with a record that holds one of its identities; S3 and Redis are told as they are written."""
    wanted = {form for value in values(bench) for form in (value, value.encode().hex())}
    return sorted({place for place, records in found.items() for each in records if any(w in each for w in wanted)})


def sizes(found: Contents) -> Mapping[str, int]:
    """How many records there are where an erasure masks and deletes none."""
    kept = ("elasticsearch", "clickhouse", "postgres payments", "postgres support_tickets", "postgres audit_log")
    return {place: records.total() for place, records in found.items() if place.startswith(kept)}


async def remembered(bench: Bench) -> list[str]:
    """What of the canary's identities Temporal or a worker's log has kept."""
    kept = await history.recorded(await bench.temporal(), bench.env["ERASURE_TEMPORAL__TASK_QUEUE"])
    logs = [log.read_text() for log in bench.folder.glob("worker-*.log")]
    return [value for value in values(bench) if any(value in text for text in (*kept, *logs))]


async def test_the_canary_is_erased_from_every_store_before_anybody_else_and_leaves_no_trace(bench: Bench) -> None:
    without = await bench.starter("erase", str(bench.csv), "--config", str(bench.data_map), "--canary")
    assert without.code == ExitCode.BAD_INPUT
    assert "names no canary" in without.stderr
    name_canary(bench)
    bench.change_map("after_batch = false", "after_batch = true")
    before = await held(bench)
    async with bench.worker():
        finished = await bench.erase()
        report = await bench.starter("report", finished.json["batch_id"])
        after = await held(bench)
        kept = await remembered(bench)
        summaries = await history.texts(await bench.temporal(), finished.json["canary"]["erasure"])

    assert finished.code == ExitCode.ERASED, finished.stdout + finished.stderr
    canary = finished.json["canary"]
    assert {place.split()[0] for place in canary["planted"]} == set(STORES)
    assert (canary["missed"], canary["problems"], canary["left"]) == ([], [], [])
    mapped = [len(phase["before"]) for phase in finished.json["phases"]]
    assert len(canary["planted"]) == sum(mapped), "wherever somebody was, the canary was"
    assert {"erase_postgres", "VerifyErasure"} <= {*summaries}, "it was erased and looked for by the same means"
    assert await sql(bench, TOMBSTONES) == len(bench.platform.sample), "nobody will take the next one for it come back"
    assert (of_canary(bench, before), of_canary(bench, after), kept) == ([], [], [])
    assert sizes(after) == sizes(before)
    assert not any("Canary" in record for records in after.values() for record in records)
    assert "were erased first, and were gone" in report.stdout
    assert [row for row in await bench.census() if row.batch and "version" not in row.place] == []


async def test_where_anything_of_the_canary_stays_nobody_of_the_batch_is_touched(bench: Bench) -> None:
    before = await held(bench)
    taken = next(person for person in bench.platform.people if person not in bench.platform.sample)
    plain = bench.data_map.read_text()
    await sql(bench, STUBBORN)
    async with bench.worker():
        name_canary(bench, taken.contributor_id)
        known = await bench.erase()
        bench.data_map.write_text(plain)
        name_canary(bench)
        stopped = await bench.erase()
        between = await held(bench)
        await sql(bench, TAME)
        mended = await bench.erase()
        after = await held(bench)

    assert known.code == ExitCode.FAILED, known.stdout + known.stderr
    assert "has one of its identities" in known.json["problems"][0]["what"]
    assert known.json["canary"]["planted"] == {}

    assert stopped.code == ExitCode.FAILED, stopped.stdout + stopped.stderr
    assert stopped.json["outcome"] == "refused"
    (problem,) = stopped.json["problems"]
    assert "was not erased wholly" in problem["what"]
    assert f"postgres {bench.platform.names.schema}.contributors (1 records" in problem["what"]
    assert "planted in clickhouse unit_metrics" in problem["what"]
    assert {phase["state"] for phase in stopped.json["phases"]} == {"pending"}
    lost = [each for each in differences(before, between) if each.startswith("-")]
    assert lost == [], "every real record is as it was"
    assert of_canary(bench, between) == ["postgres contributors"]

    assert mended.code == ExitCode.ERASED, mended.stdout + mended.stderr
    assert of_canary(bench, after) == []
    assert sizes(after) == sizes(before), "what the stopped batch left is taken away as well"


async def test_a_batch_rolled_back_meanwhile_takes_its_canary_away_and_the_next_batch_has_its_turn(
    bench: Bench,
) -> None:
    name_canary(bench)
    other = bench.folder / "other.csv"
    sample.write(other, bench.platform.sample[:1])
    sample.write(bench.csv, bench.platform.sample[1:])
    before = await held(bench)
    temporal = await bench.temporal()

    async def status_of(batch_id: str) -> BatchStatus:
        return await temporal.get_workflow_handle(batch_id).query(EraseContributors.status)

    async with bench.worker(), connect(bench.env) as clients:
        locked = await asyncpg.connect(bench.env["ERASURE_POSTGRES__DSN"])
        async with locked.transaction():
            await locked.execute(f"LOCK TABLE {quoted(bench.platform.names.schema)}.payments IN SHARE MODE")
            first = (await bench.erase("--detach")).json["batch_id"]

            key = f"{bench.platform.names.key_prefix}auth:{canary_of(bench).contributor_id}"
            await until_async(lambda: clients.redis.exists(key), 120)
            config = ("--config", str(bench.data_map), "--json", "--detach")
            second = (await bench.starter("erase", str(other), *config)).json["batch_id"]

            async def waits() -> bool:
                return (await status_of(second)).stage is Stage.CANARY

            async def is_told() -> bool:
                return bool((await status_of(first)).commands)

            await until_async(waits, 120)
            back = asyncio.create_task(bench.starter("rollback", first, "--json"))
            await until_async(is_told, 120)
        await locked.close()
        rolled_back, erased = await asyncio.gather(back, bench.starter("watch", second, "--json"))
        after = await held(bench)
    assert rolled_back.json["outcome"] == "rolled back", rolled_back.stdout + rolled_back.stderr
    assert rolled_back.json["canary"] is None
    assert erased.code == ExitCode.ERASED, erased.stdout + erased.stderr
    assert erased.json["canary"]["problems"] == []
    assert (of_canary(bench, after), sizes(after)) == ([], sizes(before))
