"""Redis's part of the data map: what it may say, and what is refused with place and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from activities.contract import Contributor
from activities.identities import IdentitySet
from activities.stores.redis.data_map import Part, RedisMap
from activities.stores.redis.forms import Glob, KeyTemplate, escape, literal, scanned_for

PEOPLE = IdentitySet([Contributor("12", ("Ann@x.io",), ("w*",))])


@pytest.mark.parametrize(
    ("template", "key", "named"),
    [
        ("a:{contributor_id}", "a:12", True),
        ("a:{contributor_id}", "a:123", False),
        ("a:{contributor_id}:*", "a:12:", True),
        ("a:{contributor_id}:*", "a:12", False),
        ("*:{contributor_id}", "x:y:12", True),
        ("a:*:{contributor_id}:*:z", "a:1:12:b:c:z", True),
        ("a:*:{contributor_id}:*:z", "a:12:b:z", False),
        ("a:{email}", "a:ANN@X.IO", True),
        ("a:{email}", "a:joann@x.io", False),
        ("a:{worker_id}", "a:w*", True),
        ("a:{worker_id}", "a:ww", False),
        (r"\{cart\}:{contributor_id}", "{cart}:12", True),
        ("cart:{{contributor_id}}:*", "cart:{12}:x", True),
        (r"a\*:{contributor_id}", "a*:12", True),
        (r"a\*:{contributor_id}", "ab:12", False),
        ("a\n{contributor_id}", "a\n12", True),
    ],
)
def test_a_template_names_keys_with_an_identity_of_somebody_and_no_others(template: str, key: str, named: bool) -> None:
    assert KeyTemplate.parse(template).names(key, PEOPLE) is named


def test_a_text_written_as_a_form_stands_for_itself_alone() -> None:
    odd = "a*?[b]{c}\\d\n"
    form = Glob.parse(literal(odd))
    assert form.is_exact
    assert form.matches(odd)
    assert escape(form) == "a\\*\\?\\[b\\]{c}\\\\d\n"
    assert scanned_for([Glob.parse("ab*c"), Glob.parse(r"a\*")]) == b"a*"
    assert scanned_for([Glob.parse("x?1:*"), Glob.parse("x?1")]) == rb"x\?1*"


RULE = {"key": "on:*", "members": "worker_id"}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("auth:*", "needs exactly one of {contributor_id}, {email}, {worker_id}"),
        ("auth:{id}", "{id} is none of"),
        ("auth:*{email}", "put a separator between"),
        (7, "should be a valid dictionary or instance of ContentRule"),
        ({"key": "on:*"}, "say which identity stands in exactly one of values, fields, members, elements, entries"),
        ({**RULE, "values": "email"}, "exactly one of"),
        ({**RULE, "key": "on:{email}"}, "has a placeholder"),
        ({**RULE, "key": ""}, "at least 1 character"),
        ({**RULE, "membrs": "email"}, "Extra inputs"),
        ({**RULE, "members": "name"}, "'contributor_id', 'email' or 'worker_id'"),
        ({**RULE, "only": "f"}, "goes with values or entries, not with members"),
        ({**RULE, "mask": "constant"}, 'mask = "constant" is not for members: use one of remove, token, text'),
        ({"key": "l", "elements": "email", "mask": "remove"}, "cannot be undone"),
        ({"key": "s", "entries": "email", "mask": "remove"}, "say rollback = false"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(item: Any, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        RedisMap.model_validate({"group": [item]}, context={"rollback": True})
    (fault,) = raised.value.errors()
    assert fault["loc"][:2] == ("group", 0)
    assert said in fault["msg"]


def test_a_map_names_its_places_and_what_goes_for_good_where_that_is_said() -> None:
    for_good = {"key": "l:*", "elements": "email", "mask": "remove"}
    twice = {"key": "h", "values": ["email", "worker_id"], "only": ["a", "b"]}
    read = RedisMap.model_validate({"g": ["a:{email}", RULE, for_good, twice]}, context={"rollback": False})
    assert list(read.templates) == ["g: a:{email}"]
    assert list(read.rules) == ["g: on:* (members)", "g: l:* (elements)", "g: h (values of a, b)"]
    assert [rule.part for rule in read.rules.values()] == [Part.MEMBERS, Part.ELEMENTS, Part.VALUES]
    with pytest.raises(ValidationError, match="named twice"):
        RedisMap.model_validate({"g": [RULE, RULE]})
