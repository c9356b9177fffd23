"""The data map: what is accepted, and how a mistake is named."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationInfo, model_validator

from activities import stores
from activities.datamap import DataMap, DataMapError

DEFAULT = Path(__file__).parents[2] / "erasure.toml"

Source = dict[str, Any]


@pytest.fixture
def source() -> Source:
    return copy.deepcopy(tomllib.loads(DEFAULT.read_text()))


def refusal(source: Source) -> str:
    with pytest.raises(DataMapError) as caught:
        DataMap.parse(source, "erasure.toml")
    return str(caught.value)


def test_the_default_map_covers_every_store_in_the_diagrams_order() -> None:
    data_map = DataMap.read(DEFAULT)
    assert data_map.policy.order == ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]
    assert set(data_map.tables) == set(stores.kinds()) == set(data_map.policy.order)


def test_the_digest_is_of_the_content_and_not_of_its_order(source: Source) -> None:
    digest = DataMap.parse(source, "x").digest
    assert DataMap.parse(dict(reversed(source.items())), "y").digest == digest
    source["policy"]["slice_size"] = 7
    assert DataMap.parse(source, "x").digest != digest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.update(mongodb={}), "mongodb: unknown table"),
        (lambda s: s.pop("identity"), "identity.table: Field required"),
        (lambda s: s["identity"].update(id_pattern="["), "identity.id_pattern"),
        (lambda s: s["identity"].update(idd="x"), "identity.idd"),
        (lambda s: s["policy"].update(slice_size=0), "policy.slice_size"),
        (lambda s: s["policy"].update(shared="ask"), "policy.shared"),
        (lambda s: s["drift"].update(policy="ask"), "drift.policy"),
        (lambda s: s["drift"]["patterns"].update(email="x"), "drift.patterns.email"),
        (lambda s: s["drift"]["patterns"].update(worker_id="["), "worker_id: is not a regular expression"),
        (lambda s: s["drift"]["patterns"].update(worker_id=r"\w+"), "worker_id: '0' matches as well"),
        (lambda s: s["policy"]["critical"].append("mars"), "mars is not in order"),
        (lambda s: s["policy"]["order"].append("redis"), "names a store twice"),
        (lambda s: s["policy"]["order"].remove("redis"), "policy.order: redis is missing"),
        (lambda s: s.pop("redis"), "policy.order: redis has no table"),
        (lambda s: s["elasticsearch"]["project-*"].update(x="mail"), 'elasticsearch."project-*".x'),
        (lambda s: s["elasticsearch"]["project-*"].update(x={"mask": "token"}), 'elasticsearch."project-*".x'),
        (
            lambda s: s["elasticsearch"]["project-*"].update(x={"beside": "email", "mask": "text"}),
            'mask = "text" needs `holds`',
        ),
        (lambda s: s["postgres"]["delete"].append({"table": "t"}), "postgres.delete[3].by"),
        (lambda s: s["s3"]["objects"].append("s3://bucket/no-placeholder/"), "s3.objects"),
        (lambda s: s["s3"].update(rollback="no"), "s3.rollback: say true or false"),
        (lambda s: s["identity"].update(rollback=False), "identity.rollback"),
        (lambda s: s.update(canary={}), "canary.contributor_id: Field required"),
        (lambda s: s.update(canary={"contributor_id": "a b"}), "does not match identity.id_pattern"),
        (lambda s: s.update(canary={"contributor_id": "c", "emails": [""]}), "canary.emails[0]"),
        (lambda s: s["redis"].update(bad=["session:{contributor_id}*"]), "redis.bad"),
    ],
)
def test_a_mistake_is_named_by_its_key(source: Source, change: Callable[[Source], object], named: str) -> None:
    change(source)
    assert named in refusal(source)


def test_all_mistakes_are_named_at_once(source: Source) -> None:
    source["policy"]["slice_size"] = 0
    source["identity"]["idd"] = "x"
    text = refusal(source)
    assert "policy.slice_size" in text
    assert "identity.idd" in text


def test_a_store_may_be_said_to_have_no_way_back(source: Source) -> None:
    assert DataMap.parse(source, "x").irreversible == frozenset()
    source["redis"]["rollback"] = False
    source["elasticsearch"]["rollback"] = True
    data_map = DataMap.parse(source, "x")
    assert data_map.irreversible == {"redis"}
    assert data_map.source["redis"]["rollback"] is False, "the batch keeps the map as it was written"
    del source["redis"]["rollback"], source["elasticsearch"]["rollback"]
    assert data_map.tables == DataMap.parse(source, "x").tables, "the key is no index and no group of keys"


@pytest.mark.parametrize(("said", "told"), [({}, True), ({"rollback": True}, True), ({"rollback": False}, False)])
def test_a_store_is_told_whether_it_may_do_what_cannot_be_undone(
    source: Source, said: dict[str, bool], told: bool
) -> None:
    seen: list[Any] = []

    class Told(BaseModel):
        @model_validator(mode="before")
        @classmethod
        def _listen(cls, table: Any, info: ValidationInfo) -> Any:
            seen.append((table, info.context))
            return table

    source["told"] = {"where": "here", **said}
    source["policy"]["order"].append("told")
    kinds = {**stores.kinds(), "told": replace(stores.kinds()["redis"], name="told", data_map=Told)}
    DataMap.parse(source, "x", kinds)
    assert seen == [({"where": "here"}, {"rollback": told})]


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(DataMapError, match="--config"):
        DataMap.read(tmp_path / "none.toml")


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[identity")
    with pytest.raises(DataMapError, match="is not TOML"):
        DataMap.read(path)
