"""What travels between a sweep's workflow and its activities: numbers and places. Importable in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.contract import Finding


@dataclass(frozen=True)
class Sweep:
    """Names a sweep to an activity.

    Args:
        sweep_id: The sweep; its findings lie in the vault under this name until it has ended.
        data_map_digest: What the data map in the vault must hash to.
    """

    sweep_id: str
    data_map_digest: str


@dataclass(frozen=True)
class Sighted:
    """What a sweep found in one store. Identities that came back, by place; each counts once a place.

    Args:
        store: The store, or what else was looked at.
        came_back: Those that are to be erased again.
        kept: Those that somebody has who stays: found there, and not told from theirs.
        not_looked_at: What was not read, and why.
    """

    store: str
    came_back: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    not_looked_at: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Gathered:
    """The batch that was made of what came back.

    Args:
        batch_id: Named by its content: the same people, not erased since, make the same batch. None where nothing
            came back.
        contributors: How many.
        more: Whether there are more than fit into one batch: the next sweep finds them.
    """

    batch_id: str | None = None
    contributors: int = 0
    more: bool = False


@dataclass
class Swept:
    """What came of a sweep.

    Args:
        stores: What was found where.
        batch_id: The batch that erases it; None where nothing came back, or nothing was to be erased.
        contributors: People in it.
        more: Whether there are more than fit into one batch.
        was_running: Whether that batch had been started by an earlier sweep already.
    """

    stores: list[Sighted] = field(default_factory=list)
    batch_id: str | None = None
    contributors: int = 0
    more: bool = False
    was_running: bool = False

    @property
    def came_back(self) -> int:
        """Identities that are to be erased again, each counted once a place."""
        return sum(sum(store.came_back.values()) for store in self.stores)

    @property
    def is_whole(self) -> bool:
        """Whether everything was looked at, and all of it fits into one batch."""
        return not self.more and not any(store.not_looked_at for store in self.stores)
