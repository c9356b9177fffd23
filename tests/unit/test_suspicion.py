"""What looks like personal data."""

from __future__ import annotations

import pytest

from activities.identities import IdentityKind
from activities.masking import CONSTANT
from activities.suspicion import Suspicion

LOOKS = Suspicion(
    {IdentityKind.WORKER_ID: r"w-\d+"}, look=("postgres public.*", "redis *"), ignore=("*.newsletter_email",)
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("email", IdentityKind.EMAIL),
        ("payeeEmail", IdentityKind.EMAIL),
        ("e_mail_address", IdentityKind.EMAIL),
        ("reviewers.mail", IdentityKind.EMAIL),
        ("worker-id", IdentityKind.WORKER_ID),
        ("actor_worker_ids", IdentityKind.WORKER_ID),
        ("contributorId", IdentityKind.CONTRIBUTOR_ID),
        ("female", None),
        ("mailing_count", None),
        ("worker_count", None),
        ("id", None),
    ],
)
def test_a_name_is_suspect_where_it_says_whom_it_identifies(name: str, kind: IdentityKind | None) -> None:
    assert LOOKS.by_name(name) is kind


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["ann@x.io", "", "bob@y.io"], (IdentityKind.EMAIL, False)),
        (["w-1", "w-22", "none"], (IdentityKind.WORKER_ID, False)),
        (["please write to ann@x.io, thanks", "hello"], (IdentityKind.EMAIL, True)),
        (["@home", "a@b", "v1.2@beta"], None),
        ([CONSTANT, ""], None),
        ([], None),
    ],
)
def test_a_sample_is_suspect_where_values_are_identities_or_hold_them(
    values: list[str], found: tuple[IdentityKind, bool] | None
) -> None:
    assert LOOKS.by_content(values) == found


def test_only_places_that_are_watched_are_looked_at() -> None:
    assert LOOKS.watches("postgres", "public.people.email")
    assert not LOOKS.watches("postgres", "other.people.email")
    assert not LOOKS.watches("postgres", "public.people.newsletter_email")
    assert LOOKS.watches("redis", "anything")
