"""Redis: keys are found by exact name or by one scan for the batch, and unlinked.

Nothing is restored: caches rebuild by themselves, and a session is never resurrected. So a back-up holds counts and
keyed hashes of keys, no content, and what appears between back-up and erasure needs none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, RootModel, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from activities.contract import (
    BackUp,
    Erased,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Slice,
    StoreKind,
    Tally,
)
from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.identities import IdentityKind, IdentitySet
from activities.vault import BatchVault

PLACE = "redis"
CHUNK = 1_000
"""Keys a pipeline, and what one step of the scan is asked for."""

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class KeyTemplate:
    """A form of key with one identity in it; ``*`` stands for anything.

    Args:
        text: As the data map writes it.
        before: What comes before the identity.
        kind: Which identity.
        after: What comes after it.
    """

    text: str
    before: str
    kind: IdentityKind
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a template.

        Raises:
            ValueError: It has not exactly one placeholder, or none can tell where the identity ends.
        """
        kinds = [str(kind) for kind in IdentityKind]
        found = list(_PLACEHOLDER.finditer(text))
        if len(found) != 1 or found[0][1] not in kinds:
            raise ValueError(f"{text!r} needs exactly one of {', '.join(f'{{{kind}}}' for kind in kinds)}")
        before, after = text[: found[0].start()], text[found[0].end() :]
        if before.endswith("*") or after.startswith("*"):
            raise ValueError(
                f"{text!r}: with * beside the placeholder, 12 would also find 123: put a separator between"
            )
        return cls(text, before, IdentityKind(found[0][1]), after)

    @property
    def is_exact(self) -> bool:
        """Whether it makes one key an identity."""
        return "*" not in self.before + self.after

    def names(self, key: str, identities: IdentitySet) -> bool:
        """Whether a key is of this form, with one of the identities in it; identities are data, whatever they hold."""
        for start in _ends(key, self.before):
            for end in _starts(key, self.after):
                if start < end and identities.holds(key[start:end], [self.kind]):
                    return True
        return False


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in glob.split("*")), re.DOTALL)


def _ends(key: str, before: str) -> Iterator[int]:
    """Where the part of a key that comes before the identity may end."""
    if "*" not in before:
        if key.startswith(before):
            yield len(before)
        return
    tail = before.rsplit("*", 1)[1]
    for match in re.finditer(f"(?={re.escape(tail)})", key):
        if _pattern(before).fullmatch(key, 0, end := match.start() + len(tail)):
            yield end


def _starts(key: str, after: str) -> Iterator[int]:
    """Where the part of a key that comes after the identity may start."""
    if "*" not in after:
        if key.endswith(after):
            yield len(key) - len(after)
        return
    head = after.split("*", 1)[0]
    for match in re.finditer(f"(?={re.escape(head)})", key):
        if _pattern(after).fullmatch(key, match.start()):
            yield match.start()


class RedisMap(RootModel[dict[str, Annotated[list[str], Field(min_length=1)]]]):
    """Redis's part of the data map: groups of key templates, such as ``session = ["session:{contributor_id}:*"]``."""

    @field_validator("root")
    @classmethod
    def _templates_are_sound(cls, root: dict[str, list[str]]) -> dict[str, list[str]]:
        for group, templates in root.items():
            for text in templates:
                try:
                    KeyTemplate.parse(text)
                except ValueError as error:
                    raise ValueError(f"redis.{group}: {error}") from None
        return root

    @property
    def templates(self) -> dict[str, KeyTemplate]:
        """The templates by place, as ``auth: auth:{contributor_id}``."""
        return {f"{group}: {text}": KeyTemplate.parse(text) for group, texts in self.root.items() for text in texts}


class RedisSettings(BaseSettings):
    """Where Redis is.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database.
        cluster: Whether it is a Redis Cluster.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_REDIS__", extra="ignore")

    url: SecretStr
    cluster: bool = False


Client = Redis | RedisCluster


@asynccontextmanager
async def connect(settings: RedisSettings) -> AsyncIterator[Client]:
    """Opens the client; makes no request."""
    url = settings.url.get_secret_value()
    retry = Retry(ExponentialBackoff(cap=1, base=0.1), 3)
    client: Client
    if settings.cluster:
        client = RedisCluster.from_url(url, socket_timeout=60, socket_connect_timeout=5)
    else:
        client = Redis.from_url(url, socket_timeout=60, socket_connect_timeout=5, max_connections=16, retry=retry)
    try:
        yield client
    finally:
        await client.aclose()


def translate(error: Exception) -> ErasureError | None:
    """Maps redis-py's errors to the taxonomy."""
    match error:
        case exceptions.NoPermissionError():
            return CriticalError(
                PLACE, "a command is not allowed", "Grant SCAN, EXISTS and UNLINK on the keys to the user."
            )
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return CriticalError(PLACE, "the login is refused", "Check user and password in ERASURE_REDIS__URL.")
        case exceptions.ReadOnlyError():
            return CriticalError(PLACE, "is a read-only replica", "Point ERASURE_REDIS__URL to the primary.")
        case exceptions.BusyLoadingError():
            return TransientError(PLACE, "is loading its data", "Wait; it is tried again.")
        case exceptions.TimeoutError() | exceptions.ConnectionError() | exceptions.ClusterDownError() | OSError():
            return TransientError(
                PLACE, f"cannot be reached ({type(error).__name__})", "Check ERASURE_REDIS__URL and the network."
            )
    return None


class RedisStore:
    """Erases in Redis.

    Args:
        client: The client, shared.
        data_map: Key templates.
        heartbeat: Told of every chunk of keys.
    """

    def __init__(self, client: Client, data_map: RedisMap, heartbeat: Heartbeat) -> None:
        self._client = client
        self._templates = data_map.templates
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run: see `activities.contract.Store`."""
        nobody = f"erasure:probe:{id(self)}"
        with translated(PLACE, translate):
            info = await self._client.info("server")
            health = Health(
                version=str(info.get("valkey_version") or info.get("redis_version")), places=[*self._templates]
            )
            for command in (("SCAN", "0", "COUNT", "1"), ("EXISTS", nobody), ("UNLINK", nobody)):
                try:
                    await self._client.execute_command(*command)
                except exceptions.NoPermissionError:
                    finding = Finding(
                        PLACE,
                        f"the user may not call {command[0]}",
                        f"Grant it: ACL SETUSER ... +{command[0].lower()}.",
                    )
                    health.problems.append(finding)
        return health

    async def preview(self, part: Slice) -> Impact:
        """Counts the keys: see `activities.contract.Store`."""
        places: dict[str, int] = dict.fromkeys(self._templates, 0)
        with translated(PLACE, translate):
            async for place, keys in self._find(part):
                places[place] += len(keys)
        return Impact(places)

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Counts the keys and keeps a keyed hash of each: see the module."""
        name = _pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                async with vault.recording(name) as recording:
                    async for place, keys in self._find(part):
                        for key in keys:
                            await recording.add(place, {"key": vault.masker.token(_text(key))})
                receipt = recording.receipt
        assert receipt is not None, "a recording that closed has a receipt"
        return receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Unlinks the keys: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(_pre_image(part))
            if receipt is None:
                raise CriticalError(PLACE, f"slice {part.name} has no back-up", "Submit the file again.")
            places: dict[str, Tally] = {}
            async for place, keys in self._find(part):
                async with self._client.pipeline(transaction=False) as pipeline:
                    for key in keys:
                        pipeline.unlink(key)
                    unlinked = sum(await pipeline.execute())
                places[place] = places.get(place, Tally()) + Tally(matched=len(keys), changed=unlinked)
        for place in self._templates:
            tally = places.get(place, Tally())
            clean = max(0, receipt.places.get(place, 0) - tally.matched)
            places[place] = tally + Tally(already_clean=clean)
        return Erased(places)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Restores nothing, and says so: see the module."""
        if await vault.receipt(_pre_image(part)) is None:
            return Restored()
        what = "keys are not put back: caches rebuild by themselves, and a session is never resurrected"
        return Restored(notes=[Finding(PLACE, what, "These people log in again.")])

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Has nothing to purge: an unlinked key is gone."""
        del part, vault
        return Purged()

    async def _find(self, part: Slice) -> AsyncIterator[tuple[str, Sequence[bytes]]]:
        """Yields places with chunks of their keys: exact names first, then one scan for all patterns."""
        people = IdentitySet([contributor async for page in part.pages() for contributor in page])
        for place, template in self._templates.items():
            if template.is_exact:
                names = [f"{template.before}{value}{template.after}" for value in people.spellings([template.kind])]
                for start in range(0, len(names), CHUNK):
                    if there := await self._existing(names[start : start + CHUNK]):
                        self._heartbeat(place, len(there))
                        yield place, there
        wild = {place: template for place, template in self._templates.items() if not template.is_exact}
        if not wild:
            return
        found: dict[str, list[bytes]] = {place: [] for place in wild}
        scanned = 0
        async for key in self._client.scan_iter(match=_glob(wild.values()), count=CHUNK):
            scanned += 1
            if scanned % CHUNK == 0:
                self._heartbeat("keys scanned", scanned)
            text = _text(key)
            for place, template in wild.items():
                if template.names(text, people):
                    found[place].append(key)
                    break
            for place, keys in found.items():
                if len(keys) >= CHUNK:
                    yield place, keys
                    found[place] = []
        for place, keys in found.items():
            if keys:
                self._heartbeat(place, len(keys))
                yield place, keys

    async def _existing(self, names: Sequence[str]) -> list[bytes]:
        keys = [name.encode("utf-8", "surrogateescape") for name in names]
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.exists(key)
            there = await pipeline.execute()
        return [key for key, exists in zip(keys, there, strict=True) if exists]


def _glob(templates: Iterable[KeyTemplate]) -> str:
    """What one scan asks the server for: what all templates begin with, escaped."""
    heads = [template.before.split("*", 1)[0] for template in templates]
    first, last = min(heads), max(heads)
    common = next((first[:end] for end in range(len(first), 0, -1) if last.startswith(first[:end])), "")
    return re.sub(r"([*?\[\]\\])", r"\\\1", common) + "*"


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def _pre_image(part: Slice) -> str:
    return f"pre-image/redis/{part.name}"


KIND = StoreKind(
    name="redis", unit="batch", data_map=RedisMap, settings=RedisSettings, connect=connect, open=RedisStore
)
