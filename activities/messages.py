"""What travels between workflow and activities: a batch id, numbers, digests, counts. Importable in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass

from activities.contract import Health, Unit


@dataclass(frozen=True)
class Batch:
    """Names a batch to an activity.

    Args:
        batch_id: The batch.
        data_map_digest: What the data map in the vault must hash to.
    """

    batch_id: str
    data_map_digest: str


@dataclass(frozen=True)
class Step:
    """Names one slice of a batch to an activity.

    Args:
        batch: The batch.
        slices: Pages of the manifest.
        number: The page, or None for the whole batch.
    """

    batch: Batch
    slices: int
    number: int | None


@dataclass(frozen=True)
class BackUps:
    """Names the back-ups of one phase, to be verified.

    Args:
        batch: The batch.
        store: The phase's store.
        digests: What each slice's back-up must hash to, by the slice's name.
    """

    batch: Batch
    store: str
    digests: dict[str, str]


@dataclass(frozen=True)
class Checked:
    """A store's probe, and how its phase is to be planned.

    Args:
        health: What the probe learned.
        unit: What one execution covers.
        reversible: Whether a rollback puts the store back; false where the data map says ``rollback = false``.
    """

    health: Health
    unit: Unit
    reversible: bool = True


@dataclass(frozen=True)
class Resolved:
    """What the manifest holds.

    Args:
        slices: Pages.
        contributors: People on them; one who stands in the CSV with differing identities may count twice.
        unknown: Of these, not found in the identity table: they are searched for by the CSV's identities alone.
        held: Under a legal hold: they are on no page.
        digest: SHA-256, hex, over the pages.
    """

    slices: int
    contributors: int
    unknown: int
    held: int
    digest: str


@dataclass(frozen=True)
class Reported:
    """What a report says of legal holds; who they are stands in the report alone.

    Args:
        name: The report's name in the vault.
        held: People who were left out, everywhere or in some stores.
        too_late: People who came under a hold after they had been erased from a store.
    """

    name: str
    held: int
    too_late: int
