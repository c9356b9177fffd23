"""The sample: the contributors whose erasure is asked for, as an operator's export lists them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from random import Random

from devstack.platform.people import AWKWARD, BYSTANDERS, Person
from devstack.platform.plan import SEED

HEADER = ("contributor_id", "email", "worker_id", "status", "last_activity_at")

ACTIVE_SHARE = 0.05
"""Some who ask for erasure were at work the day before."""


def choose(people: Sequence[Person], count: int = 100, seed: int = SEED) -> tuple[Person, ...]:
    """Draws the people to erase: always the awkward ones, never their bystanders, else mostly inactive ones.

    Args:
        people: The contributors.
        count: How many; more than there are awkward ones.
        seed: The same seed draws the same people.

    Returns:
        The people, in no order of their ids.

    Raises:
        ValueError: There are not as many people to draw from.
    """
    random = Random(f"sample {seed}")
    always = {identity[0] for identity in AWKWARD}
    never = {identity[0] for identity in BYSTANDERS}
    chosen = [person for person in people if person.contributor_id in always]
    others = [person for person in people if person.contributor_id not in always | never]
    active = [person for person in others if person.status == "ACTIVE"]
    inactive = [person for person in others if person.status == "INACTIVE"]
    chosen += random.sample(active, min(len(active), round(count * ACTIVE_SHARE)))
    chosen += random.sample(inactive, count - len(chosen))
    random.shuffle(chosen)
    return tuple(chosen)


def write(path: Path, chosen: Sequence[Person]) -> tuple[str, ...]:
    """Writes the CSV of a batch; emails in lower case, as exports often have them.

    Args:
        path: The file; is overwritten.
        chosen: The people to erase.

    Returns:
        Their contributor ids, in the file's order.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for person in chosen:
            last = person.last_activity_at.date().isoformat() if person.last_activity_at else ""
            writer.writerow((person.contributor_id, person.email.lower(), person.worker_id or "", person.status, last))
    return tuple(person.contributor_id for person in chosen)
