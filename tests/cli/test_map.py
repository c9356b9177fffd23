"""``map``: the data map against the real stores, and a first one made from them."""

from __future__ import annotations

import socket
import tomllib
from typing import Any

from starter.exit_codes import ExitCode
from tests.bench import Bench, Finished

STORES = ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]


async def check(bench: Bench, *options: str, **env: str) -> Finished:
    return await bench.starter("map", "check", "--config", str(bench.data_map), *options, **env)


async def test_a_check_says_of_each_store_whether_the_map_fits_and_ends_with_the_worst(bench: Bench) -> None:
    clean = await check(bench, "--json")
    assert clean.code == ExitCode.ERASED, clean.stdout + clean.stderr
    assert list(clean.json["stores"]) == STORES
    assert all(store["version"] and not store["problems"] for store in clean.json["stores"].values())

    bench.change_map('[clickhouse."unit', '[clickhouse."nothing_here*"]\nemail = "email"\n\n[clickhouse."unit')
    warned = await check(bench)
    assert warned.code == ExitCode.WARNED, warned.stderr
    assert "warning: nothing_here*: names no table" in warned.stdout
    assert "s3" in warned.stdout

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = {"ERASURE_REDIS__URL": f"redis://127.0.0.1:{unused.getsockname()[1]}/0"}
        lost = await check(bench, "--json", **gone)
    assert lost.code == ExitCode.UNREACHABLE, lost.stdout
    assert "redis" in lost.json["stores"]["redis"]["failure"]
    assert lost.json["stores"]["postgres"]["version"], "the others are looked at all the same"

    bench.change_map('by = "actor_worker_id"', 'by = "actor"')
    refused = await check(bench)
    assert refused.code == ExitCode.FAILED, refused.stderr
    assert f"problem: {bench.platform.names.schema}.audit_log.actor: there is no such column" in refused.stdout

    bench.change_map("[redis]", "[reddis]")
    assert (await check(bench)).code == ExitCode.BAD_INPUT


async def test_a_draft_is_toml_with_the_likeliest_identity_table_and_overwrites_nothing(bench: Bench) -> None:
    schema = bench.platform.names.schema
    look = ["--look", f"postgres {schema}.*"]
    shown = await bench.starter("map", "draft", *look)
    assert shown.code == ExitCode.ERASED, shown.stderr
    read: dict[str, Any] = tomllib.loads(shown.stdout)
    assert read["identity"] == {
        "table": f"{schema}.contributors",
        "id": "id",
        "emails": ["email"],
        "worker_ids": ["worker_id"],
    }
    as_json = await bench.starter("map", "draft", *look, "--json")
    assert as_json.json == {"data_map": read, "failures": []}
    file = bench.folder / "draft.toml"
    assert (await bench.starter("map", "draft", *look, "-o", str(file))).code == ExitCode.ERASED
    assert file.read_text() == shown.stdout
    again = await bench.starter("map", "draft", *look, "-o", str(file))
    assert (again.code, "overwrites nothing" in again.stderr) == (ExitCode.BAD_INPUT, True)
