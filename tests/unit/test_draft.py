"""The draft of a data map: valid TOML, with a reason beside each entry."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from activities.contract import Suspect
from activities.datamap import DataMap, IdentityTable
from activities.identity_table import Guess
from starter.draft import Drafted, compose

PEOPLE = Guess(IdentityTable(table="public.people", id="id", emails=("email",), worker_ids=("worker",)), 3)
OTHERS = Guess(IdentityTable(table="public.firms", id="id", emails=("mail",)), 1)


def mask(table: str, by: str, *columns: str) -> dict[str, Any]:
    return {"mask": [{"table": table, "by": by, "holds": by, "columns": dict.fromkeys(columns, "token")}]}


STORES = {
    "clickhouse": Drafted(
        [
            Suspect("unit_metrics.email", "it is named like an address", {"unit_metrics*": {"email": "email"}}),
            Suspect("unit_metrics.email", "it holds addresses", {"unit_metrics*": {"email": "email"}}),
            Suspect("unit_metrics.email", "it looks like a worker id", {"unit_metrics*": {"email": "worker_id"}}),
            Suspect(
                "unit_metrics.note",
                "it holds\naddresses",
                {"unit_metrics*": {"note": {"holds": "email", "mask": "token"}}},
            ),
        ]
    ),
    "elasticsearch": Drafted(failure="elasticsearch: cannot reach the server. Check the network."),
    "postgres": Drafted(
        [
            Suspect("public.log.mail", "it is named like an address", mask("public.log", "email", "mail")),
            Suspect("public.log.mail2", "it is named like an address", mask("public.log", "email", "mail2")),
            Suspect("public.odd", "a foreign key refers to it from nowhere", {}),
        ]
    ),
    "redis": Drafted([Suspect("auth:*", "worker ids end it", {"auth": ["auth:{worker_id}"]})]),
    "s3": Drafted(),
}


def test_a_draft_is_a_data_map_that_can_be_used() -> None:
    text = compose(STORES, [PEOPLE, OTHERS])
    data_map = DataMap.parse(tomllib.loads(text), "the draft")
    assert data_map.identity.table == "public.people"
    assert data_map.policy.order == ["clickhouse", "postgres", "redis"]
    assert data_map.source["clickhouse"] == {
        "unit_metrics*": {"email": "email", "note": {"holds": "email", "mask": "token"}}
    }
    assert data_map.source["postgres"]["mask"] == [
        {"table": "public.log", "by": "email", "holds": "email", "columns": {"mail": "token", "mail2": "token"}}
    ]
    assert data_map.source["redis"] == {"auth": ["auth:{worker_id}"]}


def test_each_entry_of_a_draft_says_why_and_what_is_missing_is_said() -> None:
    text = compose(STORES, [PEOPLE, OTHERS])
    for said in (
        "# public.people: has email, worker, and 3 foreign keys refer to its id\n# or public.firms: has mail",
        '# unit_metrics.email: it looks like a worker id; or email = "worker_id"\nemail = "email"\n',
        "# elasticsearch could not be looked at: elasticsearch: cannot reach the server",
        "# public.odd: a foreign key refers to it from nowhere; say yourself how it is to be named",
        "    # auth:*: worker ids end it\n",
        "# s3: nothing in it looks like an identity.",
    ):
        assert said in text, said


def test_without_one_likely_table_the_draft_asks_which_one_says_who_exists() -> None:
    for guesses in ([], [PEOPLE, Guess(OTHERS.table, 3)]):
        text = compose(STORES, guesses)
        assert "identity" not in tomllib.loads(text)
        assert "# Which table says who exists?" in text
        assert all(f"# It may be {each.table.table}" in text for each in guesses)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ITEMS = st.text(max_size=5).filter(str.isprintable) | st.dictionaries(NAMES, NAMES, max_size=2)
TABLES = st.dictionaries(NAMES.map("t{}".format), st.dictionaries(NAMES, NAMES, min_size=1, max_size=3), max_size=2)
LISTS = st.dictionaries(NAMES.map("l{}".format), st.lists(ITEMS, min_size=1, max_size=3), max_size=2)


@given(st.lists(st.builds(Suspect, NAMES, NAMES, st.builds(lambda a, b: a | b, LISTS, TABLES)), max_size=4))
def test_whatever_is_suspected_the_draft_names_it_in_toml(suspects: list[Suspect]) -> None:
    read = tomllib.loads(compose({"store": Drafted(suspects)}, [])).get("store", {})
    assert set(read) == {key for suspect in suspects for key in suspect.entry}
    for suspect in suspects:
        for key, held in suspect.entry.items():
            if key.startswith("t"):
                assert set(held) <= set(read[key])
            else:
                assert all(item in read[key] for item in held if isinstance(item, str))
