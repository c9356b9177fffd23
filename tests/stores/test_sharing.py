"""Identities that a batch shares with those who stay, in the real PostgreSQL and the real vault."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from activities import manifest, sharing, submission
from activities.contract import Contributor
from activities.datamap import DataMap, IdentityTable
from activities.holds import Holds
from activities.identities import IdentityKind
from activities.manifest import ManifestSlice
from activities.messages import Resolution, Resolved, WhenShared
from activities.sharing import Shared, Stayer
from activities.vault import BatchVault
from tests.stores.postgres_schema import Database

EMAIL, WORKER = IdentityKind.EMAIL, IdentityKind.WORKER_ID

PEOPLE = [
    # id, address, second address, worker id
    ("12", "Ann@x.io", None, "w-12"),
    ("123", "notann@x.io", "ann@x.io.uk", "W-12"),
    ("13", "bob@x.io", None, "w-13"),
    ("14", " ANN@x.io\t", None, "w-14"),
    ("15", "eve@x.io", "BOB@X.IO", "w-13"),
    ("16", "a%_*?[b]\\@x.io", None, "w-16"),
    ("17", "DELETED_USER", "  ", "w-17"),
    ("18", "DELETED_USER", "", None),
    ("19", "straße@x.io", None, "12"),
    ("20", "strasse@x.io", None, "w-20 "),
]


@pytest.fixture
async def table(db: Database) -> IdentityTable:
    await db.run("CREATE TABLE people (id text PRIMARY KEY, email text, other text, worker_id text)")
    await db.pool.copy_records_to_table("people", schema_name=db.schema, records=PEOPLE)
    return IdentityTable(table=db.place("people"), id="id", emails=("email", "other"), worker_ids=("worker_id",))


def ids(*contributor_ids: str) -> list[Contributor]:
    return [Contributor(each) for each in contributor_ids]


async def shared(db: Database, table: IdentityTable, batch: Sequence[Contributor], at_once: int) -> Shared:
    async def people() -> AsyncIterator[Contributor]:
        for contributor in batch:
            yield contributor

    return await sharing.find(db.pool, table, people, Holds(db.pool), db.heartbeat, at_once)


@pytest.mark.parametrize("at_once", [1, 100])
async def test_an_identity_is_shared_where_somebody_has_it_who_stays(
    db: Database, table: IdentityTable, at_once: int
) -> None:
    for batch, identities, stayers in (
        (ids("12"), {(EMAIL, "ann@x.io")}, [Stayer("14", [EMAIL])]),
        (ids("12", "14"), set(), []),
        (ids("13"), {(EMAIL, "bob@x.io"), (WORKER, "w-13")}, [Stayer("15", [EMAIL, WORKER])]),
        (ids("13", "15", "12"), {(EMAIL, "ann@x.io")}, [Stayer("14", [EMAIL])]),
        (ids("16", "123", "nobody"), set(), []),
        (ids("17"), set(), []),
        (ids("19"), set(), []),
        ([Contributor("nobody", ("Eve@X.io",), ("w-20",))], {(EMAIL, "eve@x.io")}, [Stayer("15", [EMAIL])]),
        ([Contributor("nobody", ("Eve@X.io",)), *ids("13", "15")], set(), []),
        ([*ids("13", "15"), Contributor("nobody", ("Eve@X.io",))], set(), []),
        ([Contributor("nobody", ("", "a\0b@x.io", "DELETED_USER"), (" ",))], set(), []),
        (
            [Contributor("12", ("bob@x.io",)), *ids("14", "13", "12", "13")],
            {(EMAIL, "bob@x.io"), (WORKER, "w-13")},
            [Stayer("15", [EMAIL, WORKER])],
        ),
    ):
        found = await shared(db, table, batch, at_once)
        assert (found.identities, found.stayers) == (identities, stayers), batch


async def test_who_is_under_a_legal_hold_stays(db: Database, table: IdentityTable) -> None:
    held, other = f"held-{db.schema}", f"other-{db.schema}"
    rows = [(held, "joint@x.io", None, None), (other, "joint@x.io", None, None)]
    await db.pool.copy_records_to_table("people", schema_name=db.schema, records=rows)
    holds = Holds(db.pool)
    await holds.add([held], "dana", "case 17")
    try:
        found = await shared(db, table, ids(held, other), 1)
        alone = await shared(db, table, ids(held), 1)
    finally:
        await holds.remove([held])
    assert (found.identities, found.stayers) == ({(EMAIL, "joint@x.io")}, [Stayer(held, [EMAIL])])
    assert alone == Shared(set(), []), "nothing of theirs is erased"


async def test_an_address_that_everybody_has_names_a_bounded_number(db: Database, table: IdentityTable) -> None:
    rows = [(f"many-{number:05}", "info@x.io", None, None) for number in range(sharing.NAMED + 10)]
    await db.pool.copy_records_to_table("people", schema_name=db.schema, records=rows)
    found = await shared(db, table, ids("many-00000", "many-00002"), 100)
    assert found.identities == {(EMAIL, "info@x.io")}
    assert len(found.stayers) == sharing.NAMED
    assert [stayer.contributor_id for stayer in found.stayers[:2]] == ["many-00001", "many-00003"]


class Batch:
    """A batch of 12 and 13, of whom 14 and 15 share something."""

    def __init__(self, db: Database, table: IdentityTable, vault: BatchVault) -> None:
        source = tomllib.loads((Path(__file__).parents[2] / "erasure.toml").read_text())
        source["identity"] = table.model_dump()
        source["policy"]["slice_size"] = 1
        self.data_map = DataMap.parse(source, "x")
        self.db = db
        self.vault = vault

    async def resolve(self, attempt: int, when: WhenShared) -> Resolved:
        task = Resolution(self.vault.batch_id, self.data_map.digest, attempt, when)
        return await manifest.resolve(
            self.vault, self.db.pool, self.data_map, Holds(self.db.pool), task, self.db.heartbeat
        )

    async def people(self, attempt: int) -> dict[str, Contributor]:
        pages = ManifestSlice(self.vault, None, 2, attempt).pages()
        return {contributor.contributor_id: contributor async for page in pages for contributor in page}

    async def pages(self) -> list[str]:
        names = await self.vault.names("manifest")
        return [name for name in names if name.rsplit("/", 1)[1].isdigit()]


@pytest.fixture
async def batch(db: Database, table: IdentityTable, vault: BatchVault) -> Batch:
    made = Batch(db, table, vault)
    await submission.write(vault, made.data_map, ids("12", "13"))
    return made


async def test_a_batch_that_parks_has_no_page_and_an_attempt_has_names_of_its_own(batch: Batch) -> None:
    parked = await batch.resolve(0, "park")
    assert (parked.undecided, parked.shared, parked.slices) == (True, 3, 0)
    assert await batch.pages() == []
    await batch.db.run("UPDATE people SET email = 'new@x.io' WHERE id = '14'")
    assert await batch.resolve(0, "park") == parked, "an attempt that runs again finds what it found"
    again = await batch.resolve(1, "park")
    assert (again.undecided, again.shared) == (True, 2)
    kept = await batch.resolve(2, "keep")
    assert (kept.undecided, kept.shared, kept.slices) == (False, 2, 2)
    assert await batch.people(2) == {
        "12": Contributor("12", ("Ann@x.io",), ("w-12",)),
        "13": Contributor("13"),
    }, "what is shared is left out, and what is theirs alone is not"
    assert await batch.pages() == ["manifest-2/000000", "manifest-2/000001"]
    assert await batch.resolve(2, "keep") == kept


async def test_when_masked_a_shared_identity_is_erased_like_any_other(batch: Batch) -> None:
    resolved = await batch.resolve(0, "mask")
    assert (resolved.undecided, resolved.shared, resolved.slices) == (False, 3, 2)
    assert await batch.people(0) == {
        "12": Contributor("12", ("Ann@x.io",), ("w-12",)),
        "13": Contributor("13", ("bob@x.io",), ("w-13",)),
    }


async def test_an_attempt_that_was_cut_goes_on_with_what_it_found(batch: Batch) -> None:
    await batch.db.run("UPDATE people SET email = 'own@x.io' WHERE id = '14'")
    cut = Shared({(EMAIL, "bob@x.io")}, [Stayer("15", [EMAIL])])
    await cut.write(batch.vault, manifest.shared_name(0))
    resolved = await batch.resolve(0, "keep")
    assert resolved.shared == 1
    assert (await batch.people(0))["13"] == Contributor("13", (), ("w-13",))


async def test_nothing_is_shared_without_columns_of_addresses_and_worker_ids(
    db: Database, table: IdentityTable
) -> None:
    bare = IdentityTable(table=table.table, id="id")
    assert await shared(db, bare, [Contributor("12", ("bob@x.io",))], 10) == Shared(set(), [])


def test_whoever_stays_is_named_without_a_value() -> None:
    assert str(Stayer("c-7", [EMAIL, WORKER])) == "`c-7` has an address and a worker id of somebody of the batch"
