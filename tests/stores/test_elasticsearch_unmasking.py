"""What a rollback makes of one Elasticsearch document: no server needed."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.identities import IdentitySet
from activities.masking import Masker
from activities.stores.elasticsearch.documents import DocumentMask, ElasticsearchMap, WholeNumber, text_of
from activities.stores.elasticsearch.unmasking import Unmask

MASKER = Masker(b"k" * 32)
PARSED = ElasticsearchMap.model_validate(
    {
        "p-*": {
            "email": "email",
            "worker_id": "worker_id",
            "worker_name": {"beside": "worker_id", "mask": "constant"},
            "judgments.worker_id": "worker_id",
            "judgments.worker_name": {"beside": "judgments.worker_id", "mask": "constant"},
            "comment": {"holds": ["email", "worker_id"], "mask": "text"},
            "gone": {"holds": "worker_id", "mask": "remove"},
            "void": {"holds": "worker_id", "mask": "null"},
            "number": "worker_id",
        }
    }
).root["p-*"]
NUMBERS = {"number": WholeNumber(64)}
ANN = IdentitySet([Contributor("c-1", emails=("ann@x.io",), worker_ids=("12", "w-7"))])
BOB = IdentitySet([Contributor("c-2", emails=("bob@x.io",), worker_ids=("34",))])
MASKS = [DocumentMask(PARSED, people, MASKER, NUMBERS) for people in (ANN, BOB)]
UNMASKS = [Unmask(PARSED, people, MASKER, NUMBERS) for people in (ANN, BOB)]

identities = st.sampled_from(["12", 12, "w-7", "ann@x.io", "34", 34, "bob@x.io", "99", "12 and 34", None, True, 1.5])
keys = st.sampled_from(
    [
        *("email", "worker_id", "worker_name", "judgments", "comment", "judgments.worker_id", "gone", "void", "number"),
        "other",
    ]
)
values = st.recursive(
    identities, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
documents = st.dictionaries(keys, values, max_size=6)


def _unordered(value: Any, *, removed: bool = False) -> Any:
    """The value, in any order where elements or members are removed: what two slices took from one place."""
    if isinstance(value, dict):
        members = sorted(value.items()) if removed else value.items()
        return {key: _unordered(member, removed=removed or key == "gone") for key, member in members}
    if isinstance(value, list):
        elements = [_unordered(element, removed=removed) for element in value]
        return sorted(elements, key=text_of) if removed else elements
    return value


unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@unhurried
@given(documents)
def test_what_only_we_changed_is_exactly_as_it_was(old: dict[str, Any]) -> None:
    for mask, unmask in zip(MASKS, UNMASKS, strict=True):
        back = unmask(old, mask(old), 1)
        assert (text_of(back.source), back.whole) == (text_of(old), True)


@unhurried
@given(documents)
def test_a_field_that_somebody_added_is_kept_and_every_mask_goes(old: dict[str, Any]) -> None:
    now = {**MASKS[0](old), "added": 1}
    back = UNMASKS[0](old, now, 2)
    assert back.source == {**old, "added": 1}
    assert back.whole
    again = UNMASKS[0](old, back.source, 3)
    assert again.source is back.source
    assert again.whole


@unhurried
@given(documents, st.permutations([0, 1]))
def test_two_slices_end_with_the_original_or_say_that_they_do_not(old: dict[str, Any], order: list[int]) -> None:
    pre_images = [old, MASKS[0](old)]
    now = MASKS[1](pre_images[1])
    writes = [2, 1] if now is not pre_images[1] and pre_images[1] is not old else [1, 1]
    whole = True
    for number in order:
        back = UNMASKS[number](pre_images[number], now, writes[number])
        now, whole = back.source, whole and back.whole
        writes = [each + 1 for each in writes]
    assert not whole or text_of(_unordered(now)) == text_of(_unordered(old))


@unhurried
@given(documents, documents)
def test_a_document_made_anew_is_never_given_anything(old: dict[str, Any], anew: dict[str, Any]) -> None:
    if text_of(anew) != text_of(MASKS[0](old)):
        assert text_of(UNMASKS[0](old, anew, 0).source) == text_of(anew)
