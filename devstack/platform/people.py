"""The platform's contributors: mostly ordinary people, and some whose identities are awkward on purpose."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal, TypeAlias

from mimesis import Person as Names
from mimesis.locales import Locale

from devstack.platform.plan import SEED, TODAY, Size

Identity: TypeAlias = tuple[str, str | None, str, str]
"""Contributor id, worker id, email, full name."""

AWKWARD: tuple[Identity, ...] = (
    ("12", "w-1", "bob@x.io", "Bob Stone"),
    ("c-7", "w-7", "Mixed.Case@Example.COM", "Ines Žagar"),
    ("c-8", "w-8", "a+b@example.com", "Ada B. Plus"),
    ("c-9", "w-9", "o'brien@example.com", "Seán O'Brien"),
    ("c-10", "w-10", "100%_sure@example.com", 'Sure "Hundred" \\ Percent'),
    ("c-11", "w-11", "under_score@example.org", "山田 花子"),
    ("c-14", "w-14", "Jürgen.Ölmann@example.org", "Jürgen Ölmann"),
    ("C_13.x", "w_13.x", "c13@example.net", "Robert'); DROP TABLE contributors;--"),
    ("c-15", None, "not.yet.a.worker@example.com", "Νίκος Παππάς"),
)
"""Are always in the sample: wildcards, quotes and letters beyond ASCII, each a trap for a careless query."""

BYSTANDERS: tuple[Identity, ...] = (
    ("123", "w-12", "notbob@x.io", "Nora Bobbins"),
    ("1234", "w-123", "bob@x.io.uk", "Bob Stone"),
    ("112", "x-w-1", "bob@ax.io", "Bobby Ax"),
    ("C-7", "W-7", "mixed.case@example.com.example.org", "Cleo Upper"),
    ("c-77", "w-77", "unmixed.case@example.com", "Ines Žagar"),
    ("c-7.png", "w-7.1", "c-7@example.com", "Pia Ng"),
    ("c-8_2", "w-8-old", "a@example.com", "Ada B."),
    ("c-8.2", "w-80", "b@example.com", "Ben B."),
    ("c-9b", "w-99", "brien@example.com", "Sean Brien"),
    ("c-10a", "w-100", "100xxsure@example.com", "Xaver Sure"),
    ("c-11b", "w-111", "underXscore@example.org", "山田 花"),
    ("c-14b", "w-140", "jurgen.olmann@example.org", "Jurgen Olmann"),
    ("C_13yx", "w_13yx", "xc13@example.net", "Roberta Tables"),
    ("c-151", "w-1511", "a.worker@example.com", "Νίκος Παππάς"),
)
"""Are never in the sample, and one character away from somebody who is."""

_LOCALES = (Locale.EN, Locale.DE, Locale.ES, Locale.PL, Locale.TR, Locale.JA, Locale.RU)
_DOMAINS = ("example.com", "example.org", "example.net")
_COUNTRIES = ("BR", "DE", "ES", "GB", "IN", "JP", "KE", "PH", "PL", "TR", "US")


@dataclass(frozen=True, slots=True)
class Person:
    """One contributor, as the platform knows them.

    Args:
        contributor_id: Matches ``id_pattern`` of ``erasure.toml``.
        email: As stored, in whatever case it was typed.
        worker_id: None for somebody who has not worked yet.
        full_name: Any script.
        country: Two letters.
        status: Inactive people are those whose erasure is asked for most.
        created_at: When they joined.
        last_activity_at: None for somebody who never did anything.
        project_count: Projects that they worked in.
    """

    contributor_id: str
    email: str
    worker_id: str | None
    full_name: str
    country: str
    status: Literal["ACTIVE", "INACTIVE"]
    created_at: datetime
    last_activity_at: datetime | None
    project_count: int


def generate(size: Size, seed: int = SEED) -> tuple[Person, ...]:
    """Makes the contributors: the awkward ones and their bystanders first, then ordinary ones.

    Args:
        size: Says how many, and how many of them are inactive.
        seed: The same seed makes the same people.

    Raises:
        ValueError: The size has no room for the awkward ones.
    """
    if size.contributors < len(AWKWARD) + len(BYSTANDERS) or size.inactive < len(AWKWARD):
        raise ValueError("a platform needs room for its awkward contributors and their bystanders")
    random = Random(f"people {seed}")
    identities = [*AWKWARD, *BYSTANDERS]
    identities += _ordinary(size.contributors - len(identities), random, seed)
    others = range(len(AWKWARD), size.contributors)
    inactive = {*range(len(AWKWARD)), *random.sample(others, size.inactive - len(AWKWARD))}
    return tuple(_person(identity, number in inactive, random) for number, identity in enumerate(identities))


def _ordinary(count: int, random: Random, seed: int) -> list[Identity]:
    """Ids in a dense row, so that nearly each is a prefix of others; worker ids in another order."""
    taken = {identity[0] for identity in (*AWKWARD, *BYSTANDERS)}
    taken_workers = {identity[1] for identity in (*AWKWARD, *BYSTANDERS)}
    room = range(1, count + len(taken) + 1)
    ids = [f"c-{number}" for number in room if f"c-{number}" not in taken][:count]
    workers = [f"w-{number}" for number in room if f"w-{number}" not in taken_workers][:count]
    random.shuffle(workers)
    sources = [Names(locale, seed=seed + number) for number, locale in enumerate(_LOCALES)]
    identities: list[Identity] = []
    for number, (contributor_id, worker_id) in enumerate(zip(ids, workers, strict=True)):
        full_name = sources[number % len(sources)].full_name()
        email = f"{_slug(full_name)}.{number}@{random.choice(_DOMAINS)}"
        draw = random.random()
        if draw < 0.1:
            email = email.title()
        identities.append((contributor_id, worker_id if draw < 0.97 else None, email, full_name))
    return identities


def _person(identity: Identity, inactive: bool, random: Random) -> Person:
    contributor_id, worker_id, email, full_name = identity
    idle = timedelta(days=random.randint(400, 1_000) if inactive else random.randint(0, 90), seconds=random.random())
    last = TODAY - idle
    return Person(
        contributor_id=contributor_id,
        email=email,
        worker_id=worker_id,
        full_name=full_name,
        country=random.choice(_COUNTRIES),
        status="INACTIVE" if inactive else "ACTIVE",
        created_at=last - timedelta(days=random.randint(1, 800), seconds=random.randint(0, 86_399)),
        last_activity_at=last if worker_id is not None else None,
        project_count=random.randint(1, 40) if worker_id is not None else 0,
    )


def _slug(name: str) -> str:
    """A name as it stands in an address; one without a Latin letter becomes ``user``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]+", ".", plain).strip(".") or "user"
