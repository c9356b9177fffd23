"""That the servers lower an address as `identities.normal` does, and where they differ."""

from __future__ import annotations

import sys

from activities.identities import BLANKS, IdentityKind, forms, normal
from activities.masking import lower
from activities.stores import clickhouse
from activities.stores.clickhouse.connection import ClickHouseSettings
from tests.bench import HasEnv
from tests.stores.elasticsearch_cluster import Cluster
from tests.stores.postgres_schema import Database

CAPITALS = [letter for code in range(1, sys.maxunicode + 1) if lower(letter := chr(code)) != letter]
"""Every letter that has a lower case."""

ADDRESSES = ["Bob@X.io", "A+B@X.IO", "ÄNNE@x.io", "ΣΟΦΟΣ@X.IO", "İpek@x.io", "STRAẞE@x.io", "ДИМА@почта.рф"]


async def test_postgres_lowers_each_letter_as_we_do(db: Database) -> None:
    rows = await db.pool.fetch(
        "SELECT lower(c) FROM unnest($1::text[]) WITH ORDINALITY AS u (c, n) ORDER BY n", CAPITALS + ADDRESSES
    )
    assert [row[0] for row in rows] == [lower(value) for value in CAPITALS + ADDRESSES]
    trimmed = await db.pool.fetchval("SELECT btrim($1, $2)", f"{BLANKS}a b{BLANKS}", BLANKS)
    assert trimmed == "a b"


async def test_postgres_with_another_locale_finds_a_known_spelling(db: Database) -> None:
    for address in ADDRESSES:
        stored = await db.pool.fetchval('SELECT lower($1 COLLATE "C")', address)
        assert stored in forms(address, IdentityKind.EMAIL)


async def test_elasticsearch_lowers_each_letter_as_we_do(cluster: Cluster) -> None:
    analysis = {"normalizer": {"low": {"type": "custom", "filter": ["lowercase"]}}}
    mapping = {"properties": {"k": {"type": "keyword", "normalizer": "low"}}}
    index = await cluster.index({}, mapping=mapping, settings={"analysis": analysis})
    got: list[str] = []
    for start in range(0, len(CAPITALS), 500):
        answer = await cluster.client.indices.analyze(index=index, field="k", text=CAPITALS[start : start + 500])
        got += [token["token"] for token in answer["tokens"]]
    assert got == [lower(letter) for letter in CAPITALS]


async def test_clickhouse_lowers_all_but_two_letters_as_we_do(stack: HasEnv) -> None:
    settings = ClickHouseSettings(url=stack.env["ERASURE_CLICKHOUSE__URL"])
    async with clickhouse.KIND.connect(settings) as client:
        hexed = ",".join(f"'{value.encode().hex()}'" for value in CAPITALS + ADDRESSES)
        rows = await client.fetch(f"SELECT hex(lowerUTF8(unhex(arrayJoin([{hexed}])))) AS low")
        got = dict(zip(CAPITALS + ADDRESSES, (bytes.fromhex(row["low"]).decode() for row in rows), strict=True))
    assert {letter for letter in CAPITALS if got[letter] != lower(letter)} == {"İ"}
    for address in ADDRESSES:
        assert got[address] in forms(address, IdentityKind.EMAIL)
        if not set(address) & set("İΣ"):
            assert got[address] == normal(address, IdentityKind.EMAIL)
