"""What is said to a ClickHouse cluster: as text, which a real server parses; there is no cluster to run it."""

from __future__ import annotations

from activities.stores.clickhouse import masking
from activities.stores.clickhouse.catalogue import resolve_patterns
from activities.stores.clickhouse.cluster import Cluster, literal, quote
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.masking import Masks
from activities.stores.clickhouse.mutations import KILL, LIST
from activities.stores.clickhouse.schema import Schema
from activities.stores.clickhouse.staging import Staging
from tests.bench import HasEnv
from tests.stores.clickhouse_database import Database

MAP = ClickHouseMap.model_validate({"metrics": {"email": "email", "names": {"beside": "email"}}})


def schema(cluster: str | None, hosts: int, engine: str = "ReplicatedMergeTree", in_key: int = 0) -> Schema:
    """A database with a distributed table over a local one."""
    rest = {"created": "", "readers": [], "uuid": ""}
    distributed = r"Distributed('crowd', 'it\'s', 'rows', rand())"
    column = {"kind": "", "expression": "", "in_key": in_key}
    return Schema(
        "it's",
        Cluster(cluster),
        {"crowd": hosts},
        True,
        {
            "metrics": {"engine": "Distributed", "engine_full": distributed, **rest},
            "rows": {"engine": engine, "engine_full": f"{engine}('/path/email', '{{replica}}') ORDER BY n", **rest},
        },
        {"rows": {"email": {"type": "String", **column}, "names": {"type": "Array(String)", **column}}},
    )


async def test_statements_reach_every_server_of_a_cluster(stack: HasEnv, database: Database) -> None:
    settings = ClickHouseSettings(url=stack.env["ERASURE_CLICKHOUSE__URL"], database=database.name, cluster="crowd")
    table = resolve_patterns(schema("crowd", 3), MAP).tables["rows"]
    async with connect(settings) as client:
        staging = Staging(client, "b-1")
        mutation = masking.mutation(table, list(table.fields), Masks(staging.table), client.cluster.on)
        statements = [
            staging.creation,
            mutation,
            masking.count(table, ["email"]),
            KILL.replace("{on}", client.cluster.on),
            LIST.replace("{mutations}", client.cluster.system("mutations")),
        ]
    parsed = [
        (await database.texts(f"SELECT formatQuerySingleLine({literal(_filled(each))})"))[0] for each in statements
    ]
    created, mutated, counted, killed, listed = (" ".join(each.replace("\\'", "'").split()) for each in parsed)
    name = f"{database.name}.erasure_b_1_masks"
    assert f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER crowd (" in created
    assert "ENGINE = ReplicatedMergeTree('/clickhouse/erasure/{database}/{table}', '{shard}-{replica}')" in created
    assert "ALTER TABLE rows ON CLUSTER crowd (UPDATE email = " in mutated
    assert f"IN (SELECT value FROM {name} WHERE field = 'rows.email')" in mutated
    assert "SETTINGS allow_nondeterministic_mutations = 1" in mutated
    assert "FROM cluster('crowd', 'it\\\\'s', 'rows') WHERE" in counted
    assert "KILL MUTATION ON CLUSTER crowd WHERE" in killed
    assert "FROM clusterAllReplicas('crowd', system.mutations) WHERE" in listed


def _filled(statement: str) -> str:
    for name in ("database", "table", "mutation", "staging"):
        statement = statement.replace(f"= {{{name}}}", "= 'x'").replace(f", {{{name}}})", ", 'x')")
    return statement


def test_one_server_is_told_nothing_of_clusters() -> None:
    alone = Cluster()
    assert (alone.on, alone.system("parts"), alone.staging_engine) == ("", "system.parts", "MergeTree")
    assert alone.rows("d`b", "t\\") == "`d\\`b`.`t\\\\`"
    assert quote("a`b") == "`a\\`b`"


def test_a_distributed_table_is_its_local_one_and_its_cluster_has_to_be_named() -> None:
    found = resolve_patterns(schema("crowd", 3), MAP)
    assert (list(found.tables), found.problems) == (["rows"], [])
    assert resolve_patterns(schema(None, 1), MAP).problems == []
    (problem,) = resolve_patterns(schema(None, 3), MAP).problems
    assert (problem.place, problem.what) == ("metrics", "is spread over the servers of a cluster")
    assert "ERASURE_CLICKHOUSE__CLUSTER" in problem.remedy
    (problem,) = resolve_patterns(schema(None, 1, in_key=1), MAP).problems
    assert "stands on a cluster or in a replicated table: it cannot be written anew" in problem.what
