"""Who is fetched, one filter by one and all together, in the real PostgreSQL."""

from __future__ import annotations

import pytest

from activities.fetching.messages import Bar, Counts
from activities.holds import Holds
from tests.fetching.register import Register

ADDRESS = "DELETED_USER-" + "a2" * 13

EVERY_KIND = f"""
    INSERT INTO people (id, status, seen, projects, email) VALUES
        ('longer',     'INACTIVE', timestamptz '2026-02-19 11:59:59Z', 5, 'l@x.io'),
        ('exactly',    'INACTIVE', timestamptz '2026-02-19 12:00:00Z', 5, 'e@x.io'),
        ('shorter',    'INACTIVE', timestamptz '2026-02-19 12:00:01Z', 5, 's@x.io'),
        ('long',       'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 5, 'o@x.io'),
        ('at-work',    'ACTIVE',   timestamptz '2020-01-01 00:00:00Z', 5, 'a@x.io'),
        ('inactive',   'inactive', timestamptz '2020-01-01 00:00:00Z', 5, 'i@x.io'),
        ('tomorrow',   'INACTIVE', timestamptz '2026-03-02 12:00:00Z', 5, 't@x.io'),
        ('for-ever',   'INACTIVE', 'infinity', 5, 'f@x.io'),
        ('never',      'INACTIVE', NULL, 5, 'n@x.io'),
        ('since-ever', 'INACTIVE', '-infinity', 5, 'b@x.io'),
        ('few',        'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 1, '1@x.io'),
        ('many',       'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 9, '9@x.io'),
        ('unknown',    'INACTIVE', timestamptz '2020-01-01 00:00:00Z', NULL, 'u@x.io'),
        ('masked',     'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 5, '{ADDRESS}'),
        ('DELETED_USER', 'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 5, 'd@x.io'),
        ('named-out',  'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 5, 'x@x.io'),
        ('on-hold',    'INACTIVE', timestamptz '2020-01-01 00:00:00Z', 5, 'h@x.io')
"""


async def test_each_filter_leaves_whom_it_says_and_all_together_whom_all_leave(people: Register) -> None:
    await people.sql(EVERY_KIND)
    everybody = await people.fetch(days=1)
    assert everybody.fetched.counts.not_held == everybody.fetched.contributors == 9

    await Holds(people.pool).add(["on-hold", "nobody"], "ann", "case 17")
    found = await people.fetch(excluded=["named-out", "nobody", "longe"], min_projects=2, max_projects=8)
    assert found.ids == ["long", "longer"], "the longest inactive first"
    assert found.fetched.counts == Counts(
        contributors=17,
        of_status=15,
        inactive=9,
        in_projects=6,
        not_erased=4,
        not_excluded=3,
        not_held=2,
        no_activity=2,
        in_future=2,
    )
    assert (found.fetched.never, found.fetched.unfit, found.fetched.missing_indexes) == (0, 0, [])
    assert sum(bar.contributors for bar in found.fetched.histogram) == 2
    assert [found.fetched.histogram[number].contributors for number in (0, -1)] == [1, 1]
    assert found.digest == found.erases, "the batch of the file is that of the fetch"

    assert (await people.fetch(min_projects=6)).ids == ["many"]
    assert set((await people.fetch(max_projects=4)).ids) == {"few"}
    assert "unknown" in (await people.fetch()).ids, "where no number is asked for, none need be known"
    assert (await people.fetch(status="ACTIVE")).ids == ["at-work"]
    assert (await people.fetch(status="inactive")).ids == ["inactive"]
    nobody = await people.fetch(status="GONE")
    assert (nobody.fetched.contributors, nobody.text) == (0, "contributor_id,email,worker_id\r\n")


async def test_who_has_no_last_activity_is_left_out_unless_an_option_says_otherwise(people: Register) -> None:
    await people.sql("""
        INSERT INTO people (id, status, seen, joined) VALUES
            ('old', 'INACTIVE', '2026-01-01 00:00Z', '2020-01-01 00:00Z'),
            ('never', 'INACTIVE', NULL, '2026-02-01 00:00Z'),
            ('ever', 'INACTIVE', '-infinity', '2025-01-01 00:00Z'), ('newcomer', 'INACTIVE', NULL, '2026-02-28 00:00Z'),
            ('nothing', 'INACTIVE', NULL, NULL)
    """)
    undecided, excluded = await people.fetch(), await people.fetch(null_activity="exclude")
    assert undecided.ids == excluded.ids == ["old"]
    assert undecided.fetched.counts.no_activity == 4

    included = await people.fetch(null_activity="include")
    assert included.ids == ["ever", "never", "newcomer", "nothing", "old"], "nobody knows since when: they come first"
    assert (included.fetched.never, included.fetched.histogram) == (4, [Bar(59, 59, 1)])

    joined = await people.fetch(people.data_map(created="joined"), null_activity="include")
    assert joined.ids == ["ever", "old", "never"], "since they joined, which a newcomer did just now"


async def test_projects_are_counted_in_another_table_each_once(people: Register) -> None:
    await people.sql("""
        CREATE TABLE jobs (job int, who text);
        INSERT INTO people (id, status, seen) SELECT who, 'INACTIVE', '2020-01-01 00:00Z'
        FROM unnest(ARRAY['one', 'two', 'three', 'none']) AS who;
        INSERT INTO jobs VALUES (1, 'one'), (1, 'one'), (NULL, 'one'), (1, 'two'), (2, 'two'), (1, 'three'),
                                (2, 'three'), (3, 'three'), (7, NULL)
    """)
    counted = people.data_map(projects={"table": "public.jobs", "by": "who", "count": "job"})
    assert (await people.fetch(counted, min_projects=2)).ids == ["three", "two"]
    assert (await people.fetch(counted, max_projects=1)).ids == ["none", "one"]
    assert (await people.fetch(counted, min_projects=1, max_projects=1)).ids == ["one"]
    assert len((await people.fetch(counted)).ids) == 4


async def test_equals_are_in_the_order_of_their_ids_and_who_cannot_stand_in_the_file_costs_nobody_a_place(
    people: Register,
) -> None:
    await people.sql("""
        INSERT INTO people (id, status, seen) SELECT format('c-%s', n), 'INACTIVE', '2020-01-01 00:00Z'
        FROM generate_series(1, 9) AS n;
        UPDATE people SET id = 'c 3' WHERE id = 'c-3';
        UPDATE people SET id = ' c-5' WHERE id = 'c-5';
        UPDATE people SET seen = '2019-01-01 00:00Z' WHERE id = 'c-9'
    """)
    everybody = (await people.fetch(people.data_map(id_pattern="c-[0-9]+"))).ids
    assert set(everybody) == {f"c-{number}" for number in (1, 2, 4, 6, 7, 8, 9)}
    assert everybody[0] == "c-9"
    assert everybody[1:] == sorted(everybody[1:])
    for limit in (1, 2, 3, 4, 5, 6, 7, 8):
        some = await people.fetch(people.data_map(id_pattern="c-[0-9]+"), limit=limit)
        assert some.ids == everybody[:limit]
    assert some.fetched.unfit == 2


AWKWARD = ["a,b", 'quo"te', "li\nne", "li\r\nne", "car\rriage", "=1+1", "Ωmega", "半角", "semi;colon", "'", '"', ",,"]


async def test_ids_stand_in_the_file_as_they_are_whatever_is_in_them(people: Register) -> None:
    await people.pool.executemany(
        "INSERT INTO people (id, status, seen, email, worker_id) VALUES ($1, 'INACTIVE', '2020-01-01 00:00Z', $2, $3)",
        [
            *((each, f"{number}@x.io", f"w-{number}") for number, each in enumerate(AWKWARD)),
            ("blank", " Ann@X.io", " w-1"),
            ("split", "a@x.io;b@x.io", "w 1"),
            ("broken", "no address", "w|1"),
            ("control", "a\x1f@x.io", "w\x011"),
            ("replaced", "\ufffd@x.io", "\ufffd"),
        ],
    )
    found = await people.fetch(people.data_map(id_pattern="(?s).{1,20}"))
    by_id = {row.contributor_id: row for row in found.rows}
    assert set(by_id) == {*AWKWARD, "blank", "split", "broken", "control", "replaced"}
    for number, contributor_id in enumerate(AWKWARD):
        row = by_id[contributor_id]
        assert (row.emails, row.worker_ids) == ((f"{number}@x.io",), (f"w-{number}",))
    assert {(by_id[key].emails, by_id[key].worker_ids) for key in ("blank", "split", "broken", "control")} == {((), ())}
    assert found.fetched.unnamed == 5, "erase looks up what no cell can hold"
    assert found.digest == found.erases


@pytest.mark.parametrize(
    ("kind", "ids", "erased", "excluded"),
    [
        ("bigint", ["7", "12"], ["-4611686018427387905"], ["7", "seven", "99999999999999999999"]),
        ("int", ["7", "12"], ["-1073741825"], ["7"]),
        (
            "uuid",
            ["a81bc81b-dead-4e5d-abff-90865d1e13b1", "b81bc81b-dead-4e5d-abff-90865d1e13b1"],
            [],
            ["A81BC81B-DEAD-4E5D-ABFF-90865D1E13B1", "no uuid"],
        ),
        ("varchar(40)", ["7", "12"], ["DELETED_USER", ADDRESS], ["7"]),
    ],
)
async def test_ids_of_every_type_are_compared_as_that_type(
    bare: Register, kind: str, ids: list[str], erased: list[str], excluded: list[str]
) -> None:
    await bare.sql(f"""
        CREATE TYPE state AS ENUM ('WORKING', 'INACTIVE');
        CREATE TABLE people (id {kind} PRIMARY KEY, email text, worker_id int, status state, seen timestamptz);
        CREATE TABLE jobs (job int, who {kind})
    """)
    for each in [*ids, *erased]:
        await bare.sql(f"INSERT INTO people VALUES ('{each}', '', 5, 'INACTIVE', '2020-01-01 00:00Z')")
        await bare.sql(f"INSERT INTO jobs VALUES (1, '{each}')")
    counted = bare.data_map(projects={"table": "public.jobs", "by": "who", "count": "job"})
    found = await bare.fetch(counted, excluded, min_projects=1)
    assert found.ids == ids[1:]
    assert found.rows[0].worker_ids == ("5",)
    assert (await bare.fetch(counted, min_projects=1)).fetched.counts.not_excluded == len(ids)


async def test_who_is_inactive_may_be_said_by_another_table_than_who_exists(bare: Register) -> None:
    await bare.sql("""
        CREATE TABLE people (id int PRIMARY KEY, status text, email text);
        CREATE TABLE activity (who bigint PRIMARY KEY, status text, seen date, projects numeric);
        INSERT INTO people VALUES (1, 'x', 'one@x.io'), (2, 'x', 'DELETED_USER'), (3, 'x', 'three@x.io');
        INSERT INTO activity SELECT n, 'INACTIVE', '2020-01-01', n FROM generate_series(1, 4) AS n
    """)
    data_map = bare.data_map(identity={"worker_ids": []}, table="public.activity", id="who")
    found = await bare.fetch(data_map, min_projects=1)
    assert [(row.contributor_id, row.emails) for row in found.rows] == [("1", ("one@x.io",)), ("3", ("three@x.io",))]
    assert (found.fetched.counts.contributors, found.fetched.counts.of_status) == (3, 3), "a fourth one is nobody"
