"""Whoever comes back after their erasure is found and erased again, on the real servers; who registers anew stays."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from devstack.kafka import Kafka
from devstack.platform import census
from devstack.platform.census_files import ALL_VERSIONS
from devstack.platform.clickhouse import quoted
from devstack.platform.clients import Clients, connect
from devstack.platform.people import Person
from devstack.postgres import program
from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished, until_async
from tests.history import leaks

STORES = ["identity table", "elasticsearch", "clickhouse", "postgres", "s3", "redis"]

FEED = """CREATE TABLE {database}.{name} (
    project String, unit_id String, at DateTime, email String, worker_id String, worker_name String
) ENGINE = Kafka SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{topic}', kafka_group_name = '{name}',
    kafka_format = 'JSONEachRow', kafka_flush_interval_ms = 300, kafka_poll_timeout_ms = 100"""

READER = """CREATE MATERIALIZED VIEW {database}.{name}_mv TO {database}.unit_metrics_quality AS
    SELECT project, at, email, worker_id, worker_name FROM {database}.{name}"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    server = Kafka(tmp_path_factory.mktemp("kafka"), tied=True)
    server.start()
    yield server
    server.stop()


async def shell(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"}
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()


@dataclass(frozen=True)
class Past:
    """What was kept of the platform before anybody was erased, and brings people back.

    Args:
        bench: The platform.
        clients: Its own.
        dump: PostgreSQL's.
        documents: One index, by id.
        files: Keys of S3.
        keys: What Redis held, as it dumps it.
    """

    bench: Bench
    clients: Clients
    dump: Path
    documents: dict[str, Any]
    files: list[str]
    keys: dict[bytes, bytes]

    @classmethod
    async def keep(cls, bench: Bench, clients: Clients) -> Past:
        names = bench.platform.names
        dump = bench.folder / "dump.sql"
        # as a dump that is restored over a database which lives on
        rows = ["--data-only", "--inserts", "--on-conflict-do-nothing", "--exclude-schema=erasure"]
        await shell(program("pg_dump"), bench.env["ERASURE_POSTGRES__DSN"], *rows, "--file", str(dump))
        found = await clients.elasticsearch.search(index=names.indices[0], size=10_000)
        listed = await clients.s3.list_objects_v2(Bucket=names.bucket)
        keys = [key async for key in clients.redis.scan_iter(match=f"{names.key_prefix}*")]
        return cls(
            bench,
            clients,
            dump,
            {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]},
            [entry["Key"] for entry in listed["Contents"]],
            {key: held for key in keys if (held := await clients.redis.dump(key)) is not None},
        )

    async def comes_back(self) -> None:
        """Restores a dump and a snapshot, copies files, and warms the cache up."""
        names, psql = self.bench.platform.names, [program("psql"), "--no-psqlrc", "--quiet"]
        await shell(*psql, self.bench.env["ERASURE_POSTGRES__DSN"], "--file", str(self.dump))
        operations = [part for key, source in self.documents.items() for part in ({"index": {"_id": key}}, source)]
        await self.clients.elasticsearch.bulk(index=names.indices[0], operations=operations)
        for file in self.files:
            await self.clients.s3.put_object(Bucket=names.bucket, Key=file, Body=b"again")
        for key, held in self.keys.items():
            await self.clients.redis.restore(key, 600_000, held, replace=True)


class Feed:
    """A topic of a real Kafka that ClickHouse reads."""

    def __init__(self, clients: Clients, database: str, kafka: Kafka) -> None:
        self._clients = clients
        self._names = {"database": quoted(database), "broker": kafka.address, "topic": database}

    async def open(self, name: str) -> None:
        """Begins to read the topic from its start."""
        for statement in (FEED, READER):
            await self._clients.clickhouse.execute(statement.format(name=name, **self._names))

    async def close(self, name: str) -> None:
        for table in (f"{name}_mv", name):
            await self._clients.clickhouse.execute(f"DROP TABLE {self._names['database']}.{table} SYNC")

    async def send(self, name: str, people: Sequence[Person]) -> None:
        rows = [("feed", "u", 1_700_000_000, each.email, each.worker_id, each.full_name) for each in people]
        await self._clients.clickhouse.execute(f"INSERT INTO {self._names['database']}.{name} VALUES", *rows)

    async def arrived(self, rows: int) -> None:
        async def there() -> bool:
            query = f"SELECT count() FROM {self._names['database']}.unit_metrics_quality WHERE project = 'feed'"
            return bool(await self._clients.clickhouse.fetchval(query) == rows)

        await until_async(there, 120)


async def held_of(bench: Bench, people: Sequence[Person]) -> dict[tuple[str, str], int]:
    """How many records hold an identity of these people; what lies behind S3's delete markers left out."""
    async with connect(bench.env) as clients:
        rows = await census.take(clients, bench.platform.names, people)
    return {(row.store, row.place): row.batch for row in rows if row.batch and not row.place.endswith(ALL_VERSIONS)}


async def sweep(bench: Bench, *options: str) -> Finished:
    return await bench.starter("sweep", "--config", str(bench.data_map), "--json", *options)


async def suppressed(bench: Bench, people: Sequence[Person]) -> dict[str, str | None]:
    """By which batch each identity of some people was erased."""
    file = bench.folder / "asked.txt"
    values = [
        value for each in people for value in (each.contributor_id, each.worker_id, f" {each.email.upper()}") if value
    ]
    file.write_text("\n".join(values))
    answered = await bench.starter("suppressed", "--file", str(file), "--json")
    found = {row["value"]: row["batch_id"] for row in answered.json}
    assert answered.code == (ExitCode.WARNED if any(found.values()) else ExitCode.ERASED), answered.stderr
    assert list(found) == values
    return found


@asynccontextmanager
async def reregistered(bench: Bench, person: Person) -> AsyncIterator[str]:
    """Has somebody register anew, under another id; answers that."""
    name = f"{person.contributor_id}-anew"
    async with connect(bench.env) as clients:
        await clients.postgres.execute(
            f'INSERT INTO "{bench.platform.names.schema}".contributors'
            " (id, email, full_name, country, status, created_at)"
            " VALUES ($1, lower($2), 'Anew', 'DE', 'ACTIVE', now())",
            name,
            person.email,
        )
        yield name


async def test_a_restored_dump_a_replayed_topic_and_late_data_are_found_and_erased_and_who_registered_anew_stays(
    bench: Bench, kafka: Kafka
) -> None:
    names, everybody = bench.platform.names, bench.platform.sample
    held = everybody[0]
    anew = next(person for person in everybody if person.email == "Mixed.Case@Example.COM")
    erased = [person for person in everybody if person not in (held, anew)]
    workers = [person for person in erased if person.worker_id]
    assert held is not anew
    async with bench.worker() as worker, connect(bench.env) as clients:
        feed = Feed(clients, names.database, kafka)
        await feed.open("unit_metrics_feed")
        await feed.send("unit_metrics_feed", [*workers, bench.platform.people[-1]])
        await feed.arrived(len(workers) + 1)
        past = await Past.keep(bench, clients)
        await bench.starter("hold", "add", held.contributor_id, "--reason", "case 17")
        first = await bench.erase()
        assert first.code == ExitCode.ERASED, first.stderr
        before = await held_of(bench, [held])

        # tombstones: everybody but who is held
        batches = await suppressed(bench, [held, *erased, anew])
        theirs = {value for value, batch in batches.items() if batch is None}
        assert theirs == {held.contributor_id, held.worker_id, f" {held.email.upper()}"}
        assert {*batches.values()} == {None, first.json["batch_id"]}
        key = base64.b64decode((await bench.starter("keys", "suppression", "--json")).json["key"])
        for value, answer in ((f"{erased[0].email.upper()} ", True), (held.email, False)):
            asked = await clients.postgres.fetchval("SELECT erasure.is_suppressed($1, 'email', $2)", key, value)
            assert asked is answer
        clean = await sweep(bench)
        assert (clean.code, clean.json["batch_id"]) == (ExitCode.ERASED, None), clean.stdout + clean.stderr
        assert [(store["store"], store["came_back"], store["kept"]) for store in clean.json["stores"]] == [
            (store, {}, {}) for store in STORES
        ], "who is held was never erased"

        # they come back
        async with reregistered(bench, anew) as account:
            await past.comes_back()
            await feed.close("unit_metrics_feed")
            await feed.open("unit_metrics_replayed")
            await feed.arrived(2 * (len(workers) + 1))
            late = {"comment": f"Ask {workers[-1].worker_id}, or write to <{erased[-1].email.title()}>."}
            anews = {"worker_email": anew.email, "comment": f"new here: {anew.email.lower()}"}
            for name, document in (("late", late), ("anews", anews)):
                await clients.elasticsearch.index(index=names.indices[-1], id=name, document=document, refresh=True)

            # shown, and nothing else
            back = await held_of(bench, erased)
            shown = await sweep(bench, "--dry-run")
            assert (shown.code, shown.json["batch_id"]) == (ExitCode.WARNED, None), shown.stderr
            assert await held_of(bench, erased) == back
            stores = {store["store"]: store for store in shown.json["stores"]}
            assert all(store["not_looked_at"] == [] for store in stores.values()), stores
            assert [name for name, store in stores.items() if store["came_back"]] == STORES[1:]
            assert stores["postgres"]["came_back"][f"{names.schema}.contributors.id"] == len(erased) + 1
            assert stores["identity table"]["kept"] == {f"{names.schema}.contributors": 1}
            assert stores["clickhouse"]["came_back"]["unit_metrics_quality.worker_id"] == len(workers)
            assert stores["clickhouse"]["kept"] == {}, "whoever registered anew is not in the topic"
            place = f"{names.indices[-1]} comment"
            assert (stores["elasticsearch"]["came_back"][place], stores["elasticsearch"]["kept"][place]) == (2, 1)
            assert leaks([shown.stdout, shown.stderr], bench.platform.people) == []

            # erased, as a batch like any other
            again = await sweep(bench, "--operator", "dana")
            assert again.json["batch_id"].startswith("again-"), again.stdout + again.stderr
            assert (again.json["contributors"], again.json["more"], again.json["was_running"]) == (
                len(everybody) - 1,
                False,
                False,
            )
            batch = again.json["batch"]
            assert (again.code, batch["operator"], batch["when_shared"]) == (ExitCode.WARNED, "dana", "keep")
            assert [caution["what"] for caution in batch["cautions"]] == [
                "1 identities that somebody has who stays were left out: what they name is as it was"
            ]
            assert [phase["warnings"] for phase in batch["phases"]] == [[]] * len(batch["phases"])
            assert await held_of(bench, erased) == {}
            assert await held_of(bench, [held]) == before, "who is held stays"
            rows = await clients.postgres.fetch(
                f'SELECT id FROM "{names.schema}".contributors WHERE id = ANY ($1)', [account, anew.contributor_id]
            )
            assert [row["id"] for row in rows] == [account], "their old row is gone, the new one is not"
            kept = await clients.elasticsearch.get(index=names.indices[-1], id="anews")
            assert kept["_source"] == anews

            # nobody comes back any more
            last = await sweep(bench)
            assert (last.code, last.json["batch_id"]) == (ExitCode.ERASED, None), last.stdout
            assert [store["came_back"] for store in last.json["stores"]] == [{}] * len(STORES)
            assert sum(sum(store["kept"].values()) for store in last.json["stores"]) >= 2
        assert (await suppressed(bench, [erased[0]]))[erased[0].contributor_id] == again.json["batch_id"]
        vault = await clients.s3.list_objects_v2(Bucket=bench.env["ERASURE_VAULT__BUCKET"], Prefix="batches/sweep-")
        await feed.close("unit_metrics_replayed")
    assert vault.get("Contents", []) == [], "what a sweep found is shredded with it"
    assert leaks([worker.log.read_text()], bench.platform.people) == []


async def test_a_sweep_runs_on_a_schedule_waits_for_approval_and_starts_no_batch_twice(bench: Bench) -> None:
    person, names = next(each for each in bench.platform.sample if each.worker_id), bench.platform.names
    document = {"worker_id": person.worker_id, "worker_email": person.email}
    async with bench.worker(), connect(bench.env) as clients:
        first = await bench.erase()
        assert first.code == ExitCode.ERASED, first.stderr
        await clients.elasticsearch.index(index=names.indices[0], id="late", document=document, refresh=True)
        bench.change_map("approvals = 0", "approvals = 1")

        shown = await bench.starter("suppressed", person.contributor_id, "nobody")
        assert (shown.code, first.json["batch_id"] in shown.stdout) == (ExitCode.WARNED, True), shown.stderr
        assert "1 of 2 were erased." in shown.stdout

        # what cannot be known is said, and nobody is erased by guess
        bench.change_map('created_at = "created_at"', 'created_at = "born_at"')
        lost = await bench.starter("sweep", "--config", str(bench.data_map))
        assert (lost.code, "sweep_accounts: postgres: a column is not there any more" in lost.stderr) == (
            ExitCode.FAILED,
            True,
        ), lost.stderr
        bench.change_map('created_at = "born_at"', 'created_at = "created_at"')
        table = '[clickhouse."unit_metrics*"]'
        nothing = f'[clickhouse."nothing*"]\nemail = "email"\n\n{table}'
        bench.change_map(table, nothing)
        partly = await bench.starter("sweep", "--dry-run", "--config", str(bench.data_map))
        assert partly.code == ExitCode.WARNED
        assert "Not looked at: nothing*: names no table." in partly.stdout
        assert "2 identities came back." in partly.stdout
        bench.change_map(nothing, table)

        # by night
        wrong = await bench.starter("sweep", "--config", str(bench.data_map), "--schedule", "at 3 o'clock")
        assert (wrong.code, "five fields of cron" in wrong.stderr) == (ExitCode.BAD_INPUT, True)
        for cron in ("0 4 * * *", "0 3 * * *"):
            made = await bench.starter("sweep", "--config", str(bench.data_map), "--schedule", cron)
            assert (made.code, f"{cron[2]}:00 UTC" in made.stderr) == (ExitCode.ERASED, True), made.stderr
        temporal = await bench.temporal()
        schedule = temporal.get_schedule_handle(f"sweep-{bench.env['ERASURE_TEMPORAL__TASK_QUEUE']}")
        await schedule.trigger()
        (batch_id,) = await swept(temporal, bench)
        gone = await bench.starter("sweep", "--unschedule")
        assert gone.code == ExitCode.ERASED, gone.stderr
        assert (await bench.starter("sweep", "--unschedule")).code == ExitCode.BAD_INPUT

        # it waits, and nobody starts it again
        twice = await sweep(bench)
        assert (twice.code, twice.json["batch_id"]) == (ExitCode.PARKED, batch_id), twice.stderr
        assert (twice.json["was_running"], twice.json["contributors"]) == (True, 1)
        assert await _source(clients, names.indices[0]) == document
        approved = await bench.starter("approve", batch_id, "--operator", "mo")
        assert approved.code == ExitCode.ERASED, approved.stderr
        ended = await bench.starter("watch", batch_id, "--json")
        assert (ended.code, ended.json["unknown"]) == (ExitCode.ERASED, 1), "their id is not known any more"
        masked = await _source(clients, names.indices[0])
        assert all(value.startswith("DELETED_USER-") for value in masked.values()), masked

        # the same once more is another batch, since it was erased in between
        await clients.elasticsearch.index(index=names.indices[0], id="late", document=document, refresh=True)
        once_more = await sweep(bench, "--detach")
        assert once_more.json["batch_id"] not in (None, batch_id)
        assert not once_more.json["was_running"]
        await bench.starter("rollback", once_more.json["batch_id"])

        # a rollback removes what its batch kept, and nothing else
        found = await suppressed(bench, [person])
        assert set(found.values()) == {batch_id}
        rolled = await bench.starter("rollback", batch_id, "--json")
        assert rolled.json["outcome"] == "rolled back"
        assert set((await suppressed(bench, [person])).values()) == {first.json["batch_id"]}
        rolled = await bench.starter("rollback", first.json["batch_id"], "--json")
        assert rolled.json["outcome"] == "rolled back"
        assert set((await suppressed(bench, bench.platform.sample)).values()) == {None}


async def swept(temporal: Client, bench: Bench) -> list[str]:
    """The batches that sweeps have started, once there is one."""
    queue = bench.env["ERASURE_TEMPORAL__TASK_QUEUE"]
    query = f"TaskQueue = '{queue}' AND WorkflowType = 'EraseContributors' AND WorkflowId STARTS_WITH 'again-'"

    async def found() -> list[str]:
        return [each.id async for each in temporal.list_workflows(query)]

    await until_async(found, 120)
    return await found()


async def _source(clients: Clients, index: str) -> Any:
    return (await clients.elasticsearch.get(index=index, id="late"))["_source"]
