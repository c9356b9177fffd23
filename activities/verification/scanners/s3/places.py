"""Which buckets and prefixes there are to read, by the data map and by S3's own list of buckets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Finding
from activities.settings import SettingsError, VaultSettings, load
from activities.verification.canary import PREFIX as CANARY
from activities.verification.contract import Catalogue, Place, Scope
from activities.verification.reach import left_out

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectTypeDef

SMALL = 1024 * 1024
"""Bytes up to which a body is read whole at every depth."""

ESTIMATED = 20
"""Pages of 1,000 objects that an estimate lists of one place."""

WILD = "*?["


@dataclass(frozen=True)
class Area:
    """Objects of one bucket.

    Args:
        bucket: The bucket.
        prefix: What their keys begin with.
    """

    bucket: str
    prefix: str = ""

    @property
    def place(self) -> str:
        """As findings name it."""
        return f"s3://{self.bucket}/{self.prefix}"

    @classmethod
    def of(cls, place: str) -> Area:
        """The area that a place names."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return cls(bucket, prefix)


async def learn(client: S3Client, scope: Scope) -> Catalogue:
    """Lists what there is to read.

    Args:
        client: The client.
        scope: How far to look.
    """
    catalogue = Catalogue("S3")
    mapped = _outermost([Area.of(place) for place in scope.mapped])
    beyond: list[str] = []
    for area in await _areas(client, scope, mapped, catalogue):
        reached = _reached(area, scope.reach)
        for within in reached:
            try:
                catalogue.places.append(await _estimated(client, within, scope))
            except ClientError as error:
                catalogue.not_proven.append(refused(within.place, "cannot be listed", error))
        if reached != [area]:
            beyond.append(area.place)
    more = "Widen verification.reach to look there too."
    why = "places that are outside of the reach which the data map sets, or in part"
    catalogue.not_proven.extend(left_out("s3", beyond, why, more))
    return catalogue


async def listed(client: S3Client, area: Area) -> AsyncGenerator[list[ObjectTypeDef], None]:
    """Yields the current objects of an area, but for canaries, in pages of a thousand at most."""
    async for page in client.get_paginator("list_objects_v2").paginate(Bucket=area.bucket, Prefix=area.prefix):
        yield [entry for entry in page.get("Contents", []) if not is_canary(entry["Key"])]


def is_canary(key: str) -> bool:
    """Whether an object is one that a scan planted."""
    return key.rpartition("/")[2].startswith(f"{CANARY}-")


def refused(place: str, what: str, error: ClientError) -> Finding:
    """What S3 refuses to show.

    Raises:
        ClientError: It is no refusal: the server is ill.
    """
    if passes(error):
        raise error
    return Finding(place, f"{what} ({error.response['Error'].get('Code', '?')})", "Grant the right to do it.")


def passes(error: ClientError) -> bool:
    """Whether an error says nothing of what was asked for, but of the server or its load."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or error.response["Error"].get("Code") in ("SlowDown", "RequestTimeout")


async def _areas(client: S3Client, scope: Scope, mapped: Sequence[Area], catalogue: Catalogue) -> list[Area]:
    """What is to be read, the data map's first; notes what is left out."""
    own = list(dict.fromkeys(area.bucket for area in mapped))
    if scope.depth == "mapped":
        for bucket in own:
            what = "is read at depth mapped only where the data map names prefixes of it"
            if Area(bucket) not in mapped:
                catalogue.not_proven.append(Finding(Area(bucket).place, what, "Verify at depth catalogue."))
        return list(mapped)
    try:
        names = [bucket["Name"] for bucket in (await client.list_buckets()).get("Buckets", [])]
    except ClientError as error:
        catalogue.not_proven.append(refused("s3", "the buckets cannot be listed, so that others may exist", error))
        names = []
    try:
        vault = load(VaultSettings).bucket
    except SettingsError:
        vault = None  # whoever scans has no vault
    if vault in own:
        own.remove(vault)
    if vault is not None:
        what = "the vault is encrypted, and is not read"
        catalogue.not_proven.append(Finding(Area(vault).place, what, "What it keeps of a batch goes with shredding."))
    others = [name for name in names if name not in own and name != vault]
    if scope.depth == "deep":
        return [Area(name) for name in (*own, *others)]
    more = "Verify at depth deep to read them too."
    places = [Area(name).place for name in others]
    catalogue.not_proven.extend(left_out("s3", places, "buckets that the data map does not name", more))
    return [Area(name) for name in own]


def _outermost(areas: Sequence[Area]) -> list[Area]:
    """The areas without those that lie in another one."""
    return [
        area
        for area in dict.fromkeys(areas)
        if not any(area != other and area.place.startswith(other.place) for other in areas)
    ]


def _reached(area: Area, reach: Sequence[str]) -> list[Area]:
    """What of an area an operator's globs let one read: all, some prefixes of it, or nothing."""
    if any(fnmatchcase(f"s3 {area.place}", glob) for glob in reach):
        return [area]
    return _outermost(list(_narrower(area, reach)))


def _narrower(area: Area, reach: Sequence[str]) -> Iterator[Area]:
    for glob in reach:
        store, _, place = glob.partition(" ")
        literal = place[: next((at for at, letter in enumerate(place) if letter in WILD), len(place))]
        if store == "s3" and literal.startswith(area.place):
            yield Area.of(literal)


async def _estimated(client: S3Client, area: Area, scope: Scope) -> Place:
    """A place, with its objects and bytes; of one with very many objects those that an estimate lists."""
    records = size = pages = 0
    async for page in listed(client, area):
        records += len(page)
        size += sum(entry["Size"] for entry in page if scope.depth == "deep" or entry["Size"] <= SMALL)
        pages += 1
        if pages == ESTIMATED:
            break
    return Place(area.place, records, size)
