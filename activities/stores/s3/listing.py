"""Listing: the objects of a slice's people, and every version of them, several prefixes at a time.

Where identities make prefixes, these are listed; where they cannot, what all keys begin with is listed once for the
slice. No prefix is listed twice, and each key counts for the first template that names it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from activities.contract import Slice
from activities.identities import IdentitySet
from activities.stores.s3.data_map import ObjectTemplate
from activities.stores.s3.paging import Pages, side_by_side

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import (
        DeleteMarkerEntryTypeDef,
        ListObjectVersionsOutputTypeDef,
        ObjectVersionTypeDef,
        PaginatorConfigTypeDef,
    )

LISTINGS = 16
"""Prefixes that are listed at the same time."""

NULL = "null"
"""The version that a bucket has of a key without versioning, or while that is suspended: there is only one."""

Versioning = Literal["Enabled", "Suspended"] | None


@dataclass(frozen=True)
class Found:
    """An object as it stands now.

    Args:
        place: What found it, as counts name it.
        bucket: Its bucket.
        key: Its key.
        etag: Its body's tag.
        size: In bytes.
        modified: When it was last modified, in whole seconds since 1970.
        version: Its version's id, where that outlives a delete; None where a delete destroys the object.
    """

    place: str
    bucket: str
    key: str
    etag: str
    size: int
    modified: int
    version: str | None


@dataclass(frozen=True)
class Version:
    """One version of a key, or one delete marker.

    Args:
        place: What found it, as counts name it.
        bucket: Its bucket.
        key: Its key.
        version: Its id.
        is_marker: Whether it is a delete marker.
        is_latest: Whether it is on top: what a reader without a version sees.
    """

    place: str
    bucket: str
    key: str
    version: str
    is_marker: bool
    is_latest: bool


@dataclass(frozen=True)
class Listing:
    """What is listed: everything below a prefix, or one exact key."""

    prefix: str
    is_exact: bool = False


class Search:
    """What is looked for in one bucket.

    Args:
        bucket: The bucket.
        templates: Those of this bucket.
        people: Whose objects.
    """

    def __init__(self, bucket: str, templates: Sequence[ObjectTemplate], people: IdentitySet) -> None:
        self.bucket = bucket
        self._templates = templates
        self._people = people

    def place(self, key: str) -> str | None:
        """The first template that names a key, or None where it belongs to nobody of the slice."""
        return next((each.text for each in self._templates if each.names(key, self._people)), None)

    @property
    def listings(self) -> list[Listing]:
        """What has to be listed, so that each key comes once."""
        wide: set[str] = set()
        exact: set[str] = set()
        for template in self._templates:
            if template.scanned is not None:
                wide.add(template.scanned)
            else:
                (exact if template.is_exact else wide).update(template.made(self._people))
        roots = _outermost(wide)
        alone = (key for key in sorted(exact) if not _is_below(key, roots))
        return [*map(Listing, roots), *(Listing(key, is_exact=True) for key in alone)]


async def people_of(part: Slice) -> IdentitySet:
    """The identities of a slice."""
    return IdentitySet([contributor async for page in part.pages() for contributor in page])


async def searches(templates: Sequence[ObjectTemplate], part: Slice) -> list[Search]:
    """One search a bucket, for a slice's people."""
    people = await people_of(part)
    buckets = dict.fromkeys(template.bucket for template in templates)
    return [Search(name, [each for each in templates if each.bucket == name], people) for name in buckets]


async def objects(client: S3Client, templates: Sequence[ObjectTemplate], part: Slice) -> Pages[Found]:
    """Yields the current objects of a slice, in chunks of one bucket.

    Args:
        client: The client.
        templates: Where to look.
        part: Whose.
    """
    for search in await searches(templates, part):
        async for chunk in below(client, search.bucket, search.listings, search.place):
            yield chunk


async def whoevers(client: S3Client, templates: Sequence[ObjectTemplate]) -> Pages[Found]:
    """Yields the current objects of everybody, in chunks of one bucket.

    Args:
        client: The client.
        templates: Where to look; an object counts for the first that names it.
    """
    for bucket in dict.fromkeys(template.bucket for template in templates):
        own = [each for each in templates if each.bucket == bucket]

        def place(key: str, own: Sequence[ObjectTemplate] = own) -> str | None:
            return next((each.text for each in own if next(each.readings(key), None) is not None), None)

        roots = _outermost(each.before.partition("*")[0] for each in own)
        async for chunk in below(client, bucket, [*map(Listing, roots)], place):
            yield chunk


async def below(
    client: S3Client, bucket: str, listings: Sequence[Listing], place: Callable[[str], str | None]
) -> Pages[Found]:
    """Yields the current objects of some listings, in chunks.

    Args:
        client: The client.
        bucket: The bucket.
        listings: What to list.
        place: The place of a key, or None where it is passed over.
    """
    state = await versioning(client, bucket)

    def pages(listing: Listing) -> Pages[Found]:
        if state is None:
            return _plain(client, bucket, listing, place)
        return _current(client, bucket, listing, place, state)

    async for chunk in side_by_side(listings, pages, LISTINGS):
        yield chunk


async def versions(client: S3Client, templates: Sequence[ObjectTemplate], part: Slice) -> Pages[list[Version]]:
    """Yields every version and delete marker of a slice's people: chunks of stacks of one bucket, a stack a key.

    Args:
        client: The client.
        templates: Where to look; those in buckets without versions are passed over.
        part: Whose.
    """
    for search in await searches(templates, part):
        if await versioning(client, search.bucket) is None:
            continue

        def pages(listing: Listing, search: Search = search) -> Pages[list[Version]]:
            return _stacks(client, search.bucket, listing, search.place)

        async for stacks in side_by_side(search.listings, pages, LISTINGS):
            yield stacks


async def stack(client: S3Client, bucket: str, key: str, place: str) -> list[Version]:
    """Every version and delete marker of one key, the newest first."""
    pages = _stacks(client, bucket, Listing(key, is_exact=True), lambda _: place)
    return [version async for stacks in pages for stack in stacks for version in stack]


async def versioning(client: S3Client, bucket: str) -> Versioning:
    """How a bucket keeps versions; None where a delete destroys the object.

    While it is suspended, a delete destroys what the bucket holds of the key as its null version.
    """
    status = (await client.get_bucket_versioning(Bucket=bucket)).get("Status")
    return status if status in ("Enabled", "Suspended") else None


async def _plain(client: S3Client, bucket: str, listing: Listing, place: Callable[[str], str | None]) -> Pages[Found]:
    size: PaginatorConfigTypeDef = {"PageSize": 1} if listing.is_exact else {}
    paginator = client.get_paginator("list_objects_v2")
    async for page in paginator.paginate(Bucket=bucket, Prefix=listing.prefix, PaginationConfig=size):
        yield [
            Found(where, bucket, item["Key"], item["ETag"], item["Size"], _seconds(item["LastModified"]), None)
            for item in page.get("Contents", [])
            if (where := _place(item["Key"], listing, place)) is not None
        ]
        if listing.is_exact:
            return  # keys come in order: the exact one comes first


async def _current(
    client: S3Client, bucket: str, listing: Listing, place: Callable[[str], str | None], state: Versioning
) -> Pages[Found]:
    before: set[str] = set()
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=listing.prefix):
        found: list[Found] = []
        for entry in page.get("Versions", []):
            key = entry["Key"]
            if not entry["IsLatest"] or key in before or (where := _place(key, listing, place)) is None:
                continue  # real gateways repeat rows from page to page
            outlives = state == "Enabled" or entry["VersionId"] != NULL
            modified = _seconds(entry["LastModified"])
            version = entry["VersionId"] if outlives else None
            found.append(Found(where, bucket, key, entry["ETag"], entry["Size"], modified, version))
        before = {each.key for each in found}
        yield found
        if _is_past(listing, page):
            return


async def _stacks(
    client: S3Client, bucket: str, listing: Listing, place: Callable[[str], str | None]
) -> Pages[list[Version]]:
    """Versions and markers come in two lists: they are joined to one stack a key."""
    stack: dict[str, tuple[float, Version]] = {}
    current: str | None = None
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=listing.prefix):
        entries: list[tuple[ObjectVersionTypeDef | DeleteMarkerEntryTypeDef, bool]] = [
            *((entry, False) for entry in page.get("Versions", [])),
            *((entry, True) for entry in page.get("DeleteMarkers", [])),
        ]
        stacks: list[list[Version]] = []
        for entry, is_marker in sorted(entries, key=lambda pair: pair[0]["Key"].encode("utf-8", "surrogatepass")):
            key = entry["Key"]
            if (where := _place(key, listing, place)) is None:
                continue
            if key != current:
                if stack:
                    stacks.append(_newest_first(stack.values()))
                stack, current = {}, key
            version = Version(where, bucket, key, entry["VersionId"], is_marker, entry["IsLatest"])
            # a suspended bucket's null version and its null marker are two
            stack.setdefault(f"{is_marker}{version.version}", (_seconds(entry["LastModified"]), version))
        yield stacks
        if _is_past(listing, page):
            break
    if stack:
        yield [_newest_first(stack.values())]


def _newest_first(stack: Iterable[tuple[float, Version]]) -> list[Version]:
    """Sorted by whole seconds, all that servers agree on.

    Within one second, versions keep the server's own order, and markers come before them.
    """

    def age(entry: tuple[float, Version]) -> tuple[bool, float, bool]:
        seconds, version = entry
        return version.is_latest, seconds, version.is_marker

    return [version for _, version in sorted(stack, key=age, reverse=True)]


def _place(key: str, listing: Listing, place: Callable[[str], str | None]) -> str | None:
    return None if listing.is_exact and key != listing.prefix else place(key)


def _is_past(listing: Listing, page: ListObjectVersionsOutputTypeDef) -> bool:
    """Whether nothing more of an exact key can come; not every server's markers are keys."""
    return listing.is_exact and any(
        entry["Key"] != listing.prefix for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
    )


def _seconds(moment: datetime) -> int:
    return math.floor(moment.timestamp())


def _outermost(prefixes: Iterable[str]) -> list[str]:
    """The prefixes that no other one covers, sorted."""
    kept: list[str] = []
    for prefix in sorted(prefixes):
        if not (kept and prefix.startswith(kept[-1])):
            kept.append(prefix)
    return kept


def _is_below(key: str, roots: Sequence[str]) -> bool:
    """Whether one of these outermost prefixes covers a key: then it is the last one that sorts before it."""
    at = bisect_right(roots, key)
    return at > 0 and key.startswith(roots[at - 1])
