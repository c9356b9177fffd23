"""The parts of a sweep: who registered anew, which values have a tombstone, and the batch that is made of them."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities import submission
from activities.contract import Contributor, Finding, Sighting
from activities.datamap import DataMap, IdentityTable
from activities.errors import ErasureError
from activities.identities import IdentityKind
from activities.masking import CONSTANT
from activities.sweeping import accounts, gathering, looking
from activities.sweeping.messages import Gathered
from activities.tombstones.marks import stand_in
from activities.vault import BatchVault, Vault
from tests.stores.graves import Graves

ID, EMAIL, WORKER = IdentityKind
FIRST, SECOND = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("13", ("bob@x.io",), ("w-13",))
EVE = Contributor("14", ("eve@x.io",), ("w-14",))

PEOPLE = f"""
    CREATE TABLE people (id text PRIMARY KEY, email text, worker_id text, created_at timestamp);
    INSERT INTO people VALUES
        ('12', 'new@x.io', NULL, '2026-03-01'),
        ('112', ' ANN@X.io', NULL, '2026-03-01'),
        ('113', 'bob@x.io', NULL, '2026-03-01'),
        ('114', 'bob@x.io', NULL, '2025-12-31 23:59:59'),
        ('115', '{CONSTANT}', '', '2026-03-01'),
        ('116', 'jo@x.io', 'w-14', NULL)
"""
TABLE = IdentityTable(
    table="public.people", id="id", emails=("email",), worker_ids=("worker_id",), created_at="created_at"
)


def data_map() -> DataMap:
    return DataMap.parse(tomllib.loads(Path("erasure.toml").read_text()), "erasure.toml")


def nobody(_: str, __: int) -> None:
    """Nobody waits for a heartbeat here."""


async def sightings(*found: Sighting | Finding) -> AsyncGenerator[Sighting | Finding]:
    for each in found:
        yield each


async def rows(vault: BatchVault) -> set[tuple[tuple[IdentityKind, str], bytes]]:
    return {(identity, person) async for identity, person, _ in looking.found_in(vault)}


async def graved(graves: Graves) -> None:
    """Ann and Eve may register anew by the policy of their batch, Bob may not."""
    await graves.keep("a", FIRST, ANN, EVE)
    await graves.keep("b", FIRST, BOB, reregistered="erase")
    await graves.pool.execute(PEOPLE)


async def test_who_registered_anew_is_kept_by_policy_and_who_had_the_address_before_always(
    graves: Graves, vault: BatchVault
) -> None:
    await graved(graves)
    sighted = await accounts.look(graves.pool, TABLE, graves.tombstones, vault, nobody)
    assert (sighted.came_back, sighted.kept) == ({"public.people": 1}, {"public.people": 3})
    assert [each.what for each in sighted.not_looked_at] == [
        "1 accounts have an identity that was erased, and it is not known how old they are: they stay"
    ], "the one without a date"
    assert await rows(vault) == {((ID, "113"), graves.tombstones.key.person("113"))}

    # what holds a kept account's address is theirs; what holds another identity of the erased person is not
    values = ["ann@x.io", "bob@x.io", "eve@x.io", "jo@x.io", CONSTANT, ""]
    found = await looking.look(
        "s",
        sightings(Sighting("p", (EMAIL,), values), Sighting("q", (WORKER,), ["w-12", "w-14", "w-12"])),
        graves.tombstones,
        vault,
    )
    assert (found.came_back, found.kept) == ({"p": 1, "q": 1}, {"p": 2, "q": 1})
    assert {identity for identity, _ in await rows(vault)} == {(ID, "113"), (EMAIL, "eve@x.io"), (WORKER, "w-12")}


async def test_without_a_date_nobody_is_erased_unless_by_policy_and_that_is_said(
    graves: Graves, vault: BatchVault
) -> None:
    await graved(graves)
    table = TABLE.model_copy(update={"created_at": None})
    sighted = await accounts.look(graves.pool, table, graves.tombstones, vault, nobody)
    assert (sighted.came_back, sighted.kept) == ({"public.people": 2}, {"public.people": 2})
    assert [each.remedy for each in sighted.not_looked_at] == ["Name the column that says it: [identity] created_at."]
    assert {identity for identity, _ in await rows(vault)} == {(ID, "113"), (ID, "114")}


async def test_identities_are_found_in_values_and_texts_counted_once_a_place_and_put_down_with_their_person(
    graves: Graves, vault: BatchVault
) -> None:
    await graves.keep("a", FIRST, ANN, BOB)
    closed = Finding("r", "is closed", "Open it.")
    texts = ["w-12 and w-13, not w-131", "Mail <ANN@x.io>!"]
    found = await looking.look(
        "s",
        sightings(
            Sighting("p", (ID, WORKER), ["12", "w-12", "12", "99", " 12"]),
            Sighting("p", (ID,), ["12", *(f"c-{number}" for number in range(25_000)), "13"]),
            Sighting("t", (WORKER, EMAIL), texts, are_texts=True),
            closed,
        ),
        graves.tombstones,
        vault,
    )
    assert (found.store, found.came_back, found.kept) == ("s", {"p": 3, "t": 3}, {})
    assert found.not_looked_at == [closed]
    ann, bob = (graves.tombstones.key.person(each) for each in ("12", "13"))
    assert await rows(vault) == {
        ((ID, "12"), ann),
        ((WORKER, "w-12"), ann),
        ((EMAIL, "ANN@x.io"), ann),
        ((ID, "13"), bob),
        ((WORKER, "w-13"), bob),
    }


async def test_what_was_found_becomes_a_batch_of_people_named_by_its_content_and_by_who_had_erased_it(
    graves: Graves, vaults: Vault, vault: BatchVault
) -> None:
    assert await gathering.gather(vaults, vault, data_map()) == Gathered()
    await graves.keep("a", FIRST, ANN, BOB, EVE)
    held: list[Any] = [
        Sighting("p", (ID,), ["12"]),
        Sighting("p", (EMAIL,), ["ann@X.io", "Ann@x.io", "eve@x.io"]),
        Sighting("p", (WORKER,), ["w-12", "w-14"]),
    ]
    await looking.look("s", sightings(*held), graves.tombstones, vault)
    gathered = await gathering.gather(vaults, vault, data_map())
    assert gathered == await gathering.gather(vaults, vault, data_map()), "an attempt that was cut is taken up"
    assert gathered.batch_id is not None
    assert (gathered.contributors, gathered.more) == (2, False)
    batch = await vaults.open(gathered.batch_id)
    eve = stand_in(graves.tombstones.key.person("14"))
    assert {each async for each in submission.read_contributors(batch)} == {
        Contributor("12", ("ann@X.io",), ("w-12",)),
        Contributor(eve, ("eve@x.io",), ("w-14",)),
    }

    # erased again, and back again: another batch
    assert await graves.keep("b", SECOND, Contributor(eve, ("eve@x.io",), ("w-14",))) == 3
    later = await vaults.create(f"test-{secrets.token_hex(6)}")
    await looking.look("s", sightings(*held), graves.tombstones, later)
    again = await gathering.gather(vaults, later, data_map())
    assert again == replace(gathered, batch_id=again.batch_id)
    assert again.batch_id != gathered.batch_id
    few = await gathering.gather(vaults, later, data_map(), at_once=1)
    assert (few.contributors, few.more) == (1, True)


@pytest.mark.parametrize("created_at", ["nowhere", "email"])
async def test_a_column_of_dates_that_there_is_not_is_an_error(
    graves: Graves, vault: BatchVault, created_at: str
) -> None:
    await graved(graves)
    table = TABLE.model_copy(update={"created_at": created_at})
    with pytest.raises(ErasureError, match="postgres") as raised:
        await accounts.look(graves.pool, table, graves.tombstones, vault, nobody)
    assert "ann" not in str(raised.value).lower()
