"""A fetch in the vault: tried again it stays what it was, and its copy is read back."""

from __future__ import annotations

import secrets

import pytest

from activities.contract import Contributor
from activities.fetching import export, exported, order
from activities.fetching.messages import Criteria, Fetch, Fetched
from activities.messages import Batch
from activities.vault import VaultTamperedError
from tests.fetching.register import NOW, Register


async def test_a_fetch_that_is_tried_again_stays_what_it_was_at_first(people: Register) -> None:
    await people.sql("INSERT INTO people (id, status, seen) VALUES ('c-1', 'INACTIVE', '2020-01-01 00:00Z')")
    vault, data_map = await people.vault.create(f"fetch-{secrets.token_hex(6)}"), people.data_map()
    task = Fetch(vault.batch_id, Batch(vault.batch_id, ""), Criteria(10, 5), NOW, NOW)
    await order.write(vault, data_map, [])
    beats: list[tuple[str, int]] = []

    async def fetch() -> Fetched:
        left_out = order.left_out(people.vault, vault)
        return await export.export(vault, people.pool, data_map, left_out, task, lambda *beat: beats.append(beat))

    first = await fetch()
    assert beats == [("fit", 1), ("exported", 1)]
    await people.sql("INSERT INTO people (id, status, seen) VALUES ('c-2', 'INACTIVE', '2020-01-01 00:00Z')")
    assert await fetch() == first
    assert [person async for person in exported.people(vault)] == [Contributor("c-1")]

    copy = await exported.back_up(vault, NOW)
    assert copy == "back-up/20260301T120000Z"
    assert await exported.back_up(vault, NOW) == copy
    chunks = [chunk async for chunk in vault.chunks(copy)]
    assert chunks == [chunk async for chunk in vault.chunks((await exported.read(vault)).csv)]

    receipt = await vault.receipt(copy)
    assert receipt is not None
    await vault.put_sealed(f"{copy}/{receipt.parts[0].key}", b"something else")
    with pytest.raises(VaultTamperedError):
        await exported.back_up(vault, NOW)


async def test_who_is_in_a_batch_of_an_earlier_run_is_left_out_until_that_batch_is_over(people: Register) -> None:
    earlier = await people.vault.create(f"fetch-order-{secrets.token_hex(6)}")
    later = await people.vault.create(f"fetch-order-{secrets.token_hex(6)}")
    batches = [await people.vault.create(f"erase-{secrets.token_hex(6)}") for _ in range(2)]
    for number, batch in enumerate(batches):
        async with batch.recording("csv") as recording:
            await recording.add("rows", {"i": f"c-{number}", "e": [], "w": []})
        await order.hand_over(earlier, batch.batch_id)
        await order.hand_over(earlier, batch.batch_id)
    await order.write(later, people.data_map(), ["c-7", "c-8"])
    await order.carry_over(earlier, later)
    assert {each async for each in order.left_out(people.vault, later)} == {"c-7", "c-8", "c-0", "c-1"}
    await people.vault.shred(batches[0].batch_id)
    assert {each async for each in order.left_out(people.vault, later)} == {"c-7", "c-8", "c-1"}
