"""S3's part of the data map: what templates and rules say, and which keys they name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from activities.contract import Contributor
from activities.identities import IdentitySet
from activities.stores.s3.data_map import ContentRule, ObjectTemplate, S3Map

PEOPLE = IdentitySet([Contributor("12", ("Ann@x.io", "a+b@x.io"), ("w*",)), Contributor("a.b-c", (), ("[x]",))])


@pytest.mark.parametrize(
    ("template", "names", "does_not_name"),
    [
        (
            "f/{contributor_id}/",
            ["f/12/", "f/12/a", "f/12/a/b", "f/a.b-c/x"],
            ["f/12", "f/123/a", "f/112/a", "f/a_b-c/x"],
        ),
        ("{contributor_id}.png", ["12.png"], ["12.pngx", "x12.png", "12xpng", "a/12.png", "12/12.png"]),
        (
            "e/*/{contributor_id}-*.csv",
            ["e/1/12-.csv", "e/1/12-a-b.csv"],
            ["e/12-a.csv", "e/1/2/12-a.csv", "e/1/12-a/b.csv"],
        ),
        (
            "e/*_{contributor_id}_*/",
            ["e/a_12_b/x", "e/_12_/x", "e/1_12_12_x/y"],
            ["e/12_b/x", "e/a_123_b/x", "e/a_12_b"],
        ),
        (
            "m/{email}/",
            ["m/ann@x.io/a", "m/ANN@X.IO/a", "m/ ann@x.io /a", "m/A+b@x.io/"],
            ["m/ann@x.io.uk/a", "m/aab@x.io/"],
        ),
        ("w/{worker_id}", ["w/w*", "w/[x]"], ["w/wx", "w/x", "w/W*"]),
        ("n/new\n*-{contributor_id}", ["n/new\na\n-12"], ["n/new -12"]),
    ],
)
def test_a_template_names_these_keys(template: str, names: list[str], does_not_name: list[str]) -> None:
    parsed = ObjectTemplate.parse(f"s3://bucket/{template}")
    assert [key for key in names if not parsed.names(key, PEOPLE)] == []
    assert [key for key in does_not_name if parsed.names(key, PEOPLE)] == []


@pytest.mark.parametrize(
    "template",
    [
        "files/{contributor_id}/",
        "s3://b/{contributor_id}/",
        "s3://bucket/x/",
        "s3://bucket/{id}/",
        "s3://bucket/{email}{email}",
        "s3://bucket/*{contributor_id}/",
        "s3://bucket/{contributor_id}*",
    ],
)
def test_a_template_that_names_no_one_or_too_many_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/key|put a separator between"):
        ObjectTemplate.parse(template)
    with pytest.raises(ValidationError):
        S3Map.model_validate({"objects": [template]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"objects": "s3://bucket/{email}/"},
        {"objects": "notes/"},
        {"holds": []},
        {"holds": ["name"]},
        {"then": "archive"},
        {"max_bytes": 0},
        {"max_bytes": 1 << 30},
    ],
)
def test_a_content_rule_that_cannot_be_followed_is_refused(wrong: dict[str, object]) -> None:
    right = {"objects": "s3://bucket/notes/", "holds": ["email"], "then": "mask"}
    assert ContentRule.model_validate(right).max_bytes == 1024 * 1024
    with pytest.raises(ValidationError):
        ContentRule.model_validate(right | wrong)


def test_a_data_map_may_name_no_objects_yet() -> None:
    assert S3Map.model_validate({"objects": []}).buckets == []
