"""The data map: where personal data is, what happens to it, and the policy of a batch. Read from ``erasure.toml``."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from activities import stores, toml_text
from activities.contract import AnyStoreKind, Contributor
from activities.fetching.data_map import FetchMap
from activities.identities import IdentityKind
from activities.messages import Reregistered, WhenShared
from activities.platform_api.data_map import PlatformApiMap
from activities.rules import StrictModel
from activities.suspicion import Suspicion
from activities.verification.data_map import VerificationMap

ROLLBACK = "rollback"
"""A key of every store's table, true unless said otherwise: whether what is done there has to be undoable.

It is no part of the store's own model, which finds it as validation context under the same name, and refuses what it
could not undo unless it is false.
"""


CANARY = "canary"
"""A table that may be missing: then no canary is erased."""


class DataMapError(Exception):
    """The data map cannot be used; the message names file, key and remedy."""


class IdentityTable(StrictModel):
    """Where contributors and their identities are resolved: a PostgreSQL table.

    Args:
        table: Schema and table.
        id: Column of the contributor's id.
        emails: Columns that hold addresses.
        worker_ids: Columns that hold worker ids.
        id_pattern: Regular expression that a whole id matches.
        created_at: Column that says since when somebody exists (UTC where it has no zone), by which a sweep tells who
            registered anew from who was there before; optional.
    """

    table: str
    id: str
    emails: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()
    id_pattern: str = r"\S{1,256}"
    created_at: str | None = None

    @field_validator("id_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern

    def takes(self, contributor_id: str) -> bool:
        """Whether an id looks as ids do."""
        return re.fullmatch(self.id_pattern, contributor_id) is not None


class CanaryIdentities(StrictModel):
    """Who the canary is: a made-up contributor, whose identities nobody has.

    Args:
        contributor_id: Its id.
        emails: Its addresses.
        worker_ids: Its worker ids.
    """

    contributor_id: Annotated[str, Field(min_length=1)]
    emails: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    worker_ids: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @property
    def person(self) -> Contributor:
        """The canary as a contributor."""
        return Contributor(self.contributor_id, self.emails, self.worker_ids)


class Drift(StrictModel):
    """How a store's own catalogue is compared with the map, before each batch.

    Args:
        policy: What becomes of a batch where something is not in the map: it stops, or ends with a warning.
        look: Globs of places to look at, as in ``postgres public.*``.
        ignore: Globs of places that hold nobody's data: somebody has looked.
        patterns: What a whole worker id or contributor id looks like, where that is unlike anything else: then columns
            are found by what they hold. Without it they are found by their names, and addresses always by both.
    """

    policy: Literal["stop", "warn"] = "stop"
    look: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()
    patterns: dict[Literal["worker_id", "contributor_id"], str] = Field(default_factory=dict)

    @field_validator("patterns")
    @classmethod
    def _tell_something(cls, patterns: dict[str, str]) -> dict[str, str]:
        for kind, pattern in patterns.items():
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{kind}: is not a regular expression: {error}") from None
            if common := next((word for word in _COMMON if compiled.fullmatch(word)), None):
                raise ValueError(f"{kind}: {common!r} matches as well, so every other column would be suspect")
        return patterns


_COMMON = ("", "0", "1", "42", "2024", "de", "name", "active", "2024-01-31", "3.14", "true")
"""What is found anywhere."""

_OWN = ("postgres erasure.*",)
"""What the tool itself keeps."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> Any:
    """``"7d"``, ``"24h"``, ``"15m"``, ``"30s"``, or 0."""
    if value == 0 and not isinstance(value, bool):
        return timedelta()
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,6})([smhd])", value)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    raise ValueError('is no duration: write a number and a unit, as in "30s", "15m", "24h" or "7d"')


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class RetryRule(StrictModel):
    """How long the activities of one store are tried.

    Args:
        max_attempts: Tries of one activity; the waits between grow to 30 s.
        give_up_after: All tries of one activity together.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1_000)]
    give_up_after: Duration


class Policy(StrictModel):
    """How a batch runs.

    Args:
        order: The phases' order.
        critical: Phases that the batch cannot go on without; the others warn.
        slice_size: Contributors a slice.
        concurrency: Slices of one phase at once.
        max_attempts: How often one activity is tried before its phase fails; the waits between grow to 30 s.
        give_up_after: How long all tries of one activity may take together.
        retry: The same two for single stores.
        heartbeat_timeout: Seconds after which a worker that is silent counts as dead.
        approvals: How many others than the submitter have to approve a batch before anything is backed up.
        on_critical: What becomes of a critical phase that stays failed: it parks, or the batch rolls back at once.
        park_timeout: How long a parked phase waits for an operator before the batch rolls back by itself.
        retention: How long a batch can be rolled back after its end; then its back-up is shredded.
        shared: What becomes of an identity that a contributor outside of the batch has too.
        reregistered: What becomes of somebody who was erased and registers anew, when a sweep finds them.
        max_contributors: How many contributors one batch may have; any number where not set.
        max_share_of_contributors: How large a share of the identity table one batch may erase.
    """

    order: list[str]
    critical: list[str]
    slice_size: Annotated[int, Field(ge=1, le=50_000)] = 5_000
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    max_attempts: Annotated[int, Field(ge=1, le=1_000)] = 10
    give_up_after: Duration = timedelta(hours=24)
    retry: Annotated[dict[str, RetryRule], Field(default_factory=dict)]
    approvals: Annotated[int, Field(ge=0, le=10)] = 0
    on_critical: Literal["park", "rollback"] = "park"
    park_timeout: Duration = timedelta(hours=24)
    retention: Duration = timedelta(days=7)
    shared: WhenShared = "park"
    reregistered: Reregistered = "keep"
    max_contributors: Annotated[int, Field(ge=1)] | None = None
    max_share_of_contributors: Annotated[float, Field(gt=0, le=1)] = 0.5
    heartbeat_timeout: Annotated[int, Field(ge=1, le=600)] = 20

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if len(set(self.order)) != len(self.order):
            raise ValueError("order: names a store twice")
        for key, names in (("critical", self.critical), ("retry", self.retry)):
            if strangers := sorted(set(names) - set(self.order)):
                raise ValueError(f"{key}: {', '.join(strangers)} is not in order")
        return self


class DataMap:
    """A validated data map.

    Args:
        identity: Where contributors are resolved.
        policy: How a batch runs.
        tables: Each store's part, validated by the store.
        drift: How stores are compared with the map.
        platform_api: How the platform's API is asked.
        verification: How it is looked for what an erasure left.
        fetch: Where it stands who is inactive; None where the map does not say.
        irreversible: Stores of which the map says ``rollback = false``: they may do what cannot be undone, and a
            rollback of the batch leaves them as they are.
        source: The map as plain JSON values, to be kept with the batch.
        canary: The made-up contributor who is erased before real people are touched; None without one.
    """

    def __init__(
        self,
        identity: IdentityTable,
        policy: Policy,
        drift: Drift,
        platform_api: PlatformApiMap,
        verification: VerificationMap,
        fetch: FetchMap | None,
        tables: Mapping[str, BaseModel],
        irreversible: frozenset[str],
        source: dict[str, Any],
        canary: CanaryIdentities | None = None,
    ) -> None:
        self.identity = identity
        self.policy = policy
        self.drift = drift
        self.platform_api = platform_api
        self.verification = verification
        self.fetch = fetch
        self.tables = tables
        self.irreversible = irreversible
        self.source = source
        self.canary = canary

    @property
    def suspicion(self) -> Suspicion:
        """What looks like personal data, and where to look for it."""
        patterns = {IdentityKind(kind): pattern for kind, pattern in self.drift.patterns.items()}
        return Suspicion(patterns, self.drift.look, (*self.drift.ignore, *_OWN))

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the map in canonical form."""
        canonical = json.dumps(self.source, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def parse(cls, source: dict[str, Any], origin: str, kinds: Mapping[str, AnyStoreKind] | None = None) -> Self:
        """Validates a data map.

        Args:
            source: The file's content.
            origin: Where it is from, for messages.
            kinds: The stores; all that there are, unless said.

        Raises:
            DataMapError: Names each key that is wrong.
        """
        kinds = stores.kinds() if kinds is None else kinds
        faults: list[str] = []
        known: dict[str, type[BaseModel]] = {"identity": IdentityTable, "policy": Policy, "drift": Drift}
        known |= {"platform_api": PlatformApiMap, "verification": VerificationMap, "fetch": FetchMap}
        known[CANARY] = CanaryIdentities
        known |= {kind.name: kind.data_map for kind in kinds.values()}
        faults += [f"{key}: unknown table, expected one of {', '.join(known)}" for key in source if key not in known]
        tables: dict[str, BaseModel] = {}
        irreversible: set[str] = set()
        for name, model in known.items():
            if (name in kinds or name in ("fetch", CANARY)) and name not in source:
                continue
            table = source.get(name, {})
            rollback = True
            if name in kinds and isinstance(table, dict) and ROLLBACK in table:
                rollback = table[ROLLBACK]
                table = {key: value for key, value in table.items() if key != ROLLBACK}
                if not isinstance(rollback, bool):
                    faults.append(f"{name}.{ROLLBACK}: say true or false")
            if rollback is False:
                irreversible.add(name)
            try:
                tables[name] = model.model_validate(table, context={ROLLBACK: rollback is not False})
            except ValidationError as error:
                faults += [f"{_key(name, fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)]
        if isinstance(policy := tables.get("policy"), Policy):
            mapped = [name for name in tables if name in kinds]
            faults += [
                f"policy.order: {name} has no table in the data map" for name in policy.order if name not in source
            ]
            faults += [
                f"policy.order: {name} is missing, it would not be erased"
                for name in mapped
                if name not in policy.order
            ]
        identity, canary = tables.get("identity"), tables.pop(CANARY, None)
        assert canary is None or isinstance(canary, CanaryIdentities)
        if canary is not None and isinstance(identity, IdentityTable) and not identity.takes(canary.contributor_id):
            faults.append(f"{CANARY}.contributor_id: does not match identity.id_pattern")
        if faults:
            raise DataMapError("\n".join([f"{origin} cannot be used:", *(f"  {fault}" for fault in faults)]))
        identity, policy, drift = (tables.pop(name) for name in ("identity", "policy", "drift"))
        api, verification = tables.pop("platform_api"), tables.pop("verification")
        fetch = tables.pop("fetch", None)
        assert isinstance(identity, IdentityTable)
        assert isinstance(policy, Policy)
        assert isinstance(drift, Drift)
        assert isinstance(api, PlatformApiMap)
        assert isinstance(verification, VerificationMap)
        assert fetch is None or isinstance(fetch, FetchMap)
        return cls(identity, policy, drift, api, verification, fetch, tables, frozenset(irreversible), source, canary)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads and validates a file.

        Raises:
            DataMapError: The file is missing, is no TOML, or has a wrong key.
        """
        try:
            source = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataMapError(f"{path} cannot be read: {error.strerror}. Name the data map with --config") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataMapError(f"{path} is not TOML: {error}") from None
        return cls.parse(source, str(path))


def _key(table: str, loc: tuple[int | str, ...]) -> str:
    """A key as it is written in TOML: quoted where it has to be."""
    parts = [table]
    for part in loc:
        if isinstance(part, int):
            parts[-1] += f"[{part}]"
        elif not part.startswith("function-"):  # pydantic's own names for validators are not keys
            parts.append(toml_text.key(part))
    return ".".join(parts)
