"""The canary's values, and the judgement on what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.canary.messages import CanaryResult
from activities.canary.person import Canary
from activities.contract import Contributor, Finding, Tally
from activities.identities import IdentityKind
from activities.masking import CONSTANT, Masker
from activities.messages import Verification
from activities.report.verdict import verdict
from activities.status import BatchStatus, Outcome, PhaseState, PhaseStatus
from workflows.canary import remains
from workflows.messages import Looking, Plan, Retry

ANY = Canary(Contributor("c-1", ("one@x.invalid", "two@x.invalid"), ("7",)), Masker(b"k" * 32))

PLAN = Plan(
    order=["postgres", "redis"],
    critical=["postgres", "redis"],
    slice_size=1,
    concurrency=1,
    heartbeat_timeout=timedelta(seconds=1),
    retry=Retry(1, timedelta(minutes=1)),
    retries={},
    approvals=0,
    on_critical="rollback",
    park_timeout=timedelta(),
    retention=timedelta(),
    verify=Looking("catalogue", ["temporal"]),
)
PLANTED = {"postgres public.people": 1, "redis auth": 1}


def gone() -> BatchStatus:
    """The batch of a canary that is gone."""
    phases = [
        PhaseStatus(
            store,
            critical=True,
            state=PhaseState.WARNED,
            before={place: 1},
            after={place: 0},
            erased={place: Tally(1, 1)},
            warnings=[Finding(store, "an index has no such field", "Mend it.")],
        )
        for store, place in (("postgres", "public.people"), ("redis", "auth"))
    ]
    found = Verification("catalogue", datetime.now(UTC), proven=["postgres public.people"])
    return BatchStatus("a-canary-1", "ann", "", 1, 0, phases, outcome=Outcome.WARNED, verification=found)


def test_a_canary_that_is_gone_stops_nobody_whatever_the_platform_is_warned_of() -> None:
    assert remains(gone(), PLANTED, PLAN) == {}
    unverified = replace(gone(), verification=None)
    assert remains(unverified, PLANTED, replace(PLAN, verify=None)) == {}


def _count(status: BatchStatus) -> None:
    status.phases[0].after = {"public.people": 1}


def _uncount(status: BatchStatus) -> None:
    status.phases[0].after = None


def _conflict(status: BatchStatus) -> None:
    status.phases[0].erased["public.people"] = Tally(1, 0, 0, 1)


def _skip(status: BatchStatus) -> None:
    status.phases[0].state = PhaseState.SKIPPED


def _overlook(status: BatchStatus) -> None:
    status.phases[0].before = {"public.people": 0}


def _find(status: BatchStatus) -> None:
    assert status.verification is not None
    status.verification = replace(status.verification, residuals={"redis other:*": 2})


def _fail_to_look(status: BatchStatus) -> None:
    assert status.verification is not None
    failure = Finding("s3", "could not be looked at", "Try again.")
    status.verification = replace(status.verification, cautions=[failure])


def _verify_nothing(status: BatchStatus) -> None:
    status.verification = None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_count, "postgres public.people"),
        (_uncount, "postgres"),
        (_conflict, "postgres public.people"),
        (_skip, "postgres"),
        (_overlook, "postgres public.people"),
        (_find, "redis other:*"),
        (_fail_to_look, "s3"),
        (_verify_nothing, "verification"),
    ],
)
def test_whatever_stays_or_is_not_known_to_be_gone_is_named(change: Callable[[BatchStatus], None], place: str) -> None:
    status = gone()
    change(status)
    assert remains(status, PLANTED, PLAN).keys() == {place}


@given(st.text(max_size=30), st.sets(st.sampled_from(IdentityKind)))
def test_all_that_a_text_of_the_canary_may_become_is_known(text: str, kinds: set[IdentityKind]) -> None:
    own = ANY.own(text, kinds)
    assert own[0] == text
    assert {ANY.masker.token(text), CONSTANT} <= {*own}


def test_the_canary_has_a_text_for_kinds_that_it_has_identities_of() -> None:
    assert ANY.identity([IdentityKind.EMAIL]) == "one@x.invalid"
    text = ANY.text([IdentityKind.EMAIL, IdentityKind.WORKER_ID])
    assert text == "Canary one@x.invalid 7"
    masked = f"Canary {ANY.masker.token('one@x.invalid')} {ANY.masker.token('7')}"
    assert masked in ANY.own(text, [IdentityKind.EMAIL, IdentityKind.WORKER_ID])
    assert Canary(Contributor("c"), ANY.masker).text([IdentityKind.EMAIL]) is None
    assert ANY.own_number("7", 32, signed=True) == ["7", str(ANY.masker.number(7, 32, signed=True))]
    assert [ANY.own_number(value, 16, signed=True) for value in ("07", "-7", "x", "99999", "٧")] == [None] * 5


def test_a_batch_that_its_canary_stopped_says_so_first() -> None:
    stopped = replace(gone(), outcome=Outcome.REFUSED)
    stopped.canary = CanaryResult("a", PLANTED, problems=[Finding("canary", "stays", "Mend it.")])
    assert verdict(stopped).title.startswith("refused by the canary")
    assert str(stopped.canary) == "2 records of a made-up contributor in 2 places stopped the batch"
    missed = CanaryResult("a", PLANTED, missed=[Finding("b", "is shut", "Open it.")])
    assert str(missed).endswith("were erased first, and were gone; places without any: 1")
