"""S3: a contributor's files are found by prefix or exact key, and deleted 1,000 a request.

In a versioned bucket a delete only puts a marker on top, so the versions themselves are the pre-image. Elsewhere the
body and everything that belongs to it is copied into the vault first.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from botocore.exceptions import ClientError
from pydantic import AfterValidator, Field

from activities.contract import BackUp, Erased, Finding, Health, Heartbeat, Impact, Slice, StoreKind, Tally
from activities.errors import CriticalError, ErasureError, TransientError, translated
from activities.identities import IdentityKind, IdentitySet
from activities.object_storage import s3_client, translate_for
from activities.rules import StrictModel
from activities.settings import S3Settings
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

PLACE = "s3"
CHUNK = 1_000
"""Keys a delete request: S3's own limit."""

LISTINGS = 16
"""Prefixes that are listed at the same time."""

COPIES = 8
"""Objects whose bodies are copied into the vault at the same time."""

BODY_CHUNK = 1024 * 1024

PASSING = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"})
"""Codes of a single key's failure that pass by themselves."""

HEADERS = (
    "ContentType",
    "ContentEncoding",
    "ContentDisposition",
    "ContentLanguage",
    "CacheControl",
    "Metadata",
    "StorageClass",
)
"""What an exact copy of an object needs besides its body and tags."""

_TEMPLATE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*)\{(\w+)\}(.*)", re.DOTALL)

translate = translate_for(PLACE, "ERASURE_S3__ENDPOINT_URL")


@dataclass(frozen=True)
class ObjectTemplate:
    """Where a contributor's objects are: everything below a prefix that ends in ``/``, or one exact key.

    Args:
        text: As the data map writes it; also the place in counts.
        bucket: The bucket.
        before: What comes before the identity in the key.
        kind: Which identity.
        after: What comes after it.
    """

    text: str
    bucket: str
    before: str
    kind: IdentityKind
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a template.

        Raises:
            ValueError: It is not ``s3://bucket/key`` with exactly one placeholder.
        """
        kinds = [str(kind) for kind in IdentityKind]
        match = _TEMPLATE.fullmatch(text)
        if match is None or match[3] not in kinds or "{" in match[2] + match[4]:
            placeholders = ", ".join(f"{{{kind}}}" for kind in kinds)
            raise ValueError(f"{text!r} has to be s3://bucket/key with exactly one of {placeholders}")
        return cls(text, match[1], match[2], IdentityKind(match[3]), match[4])

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for everything below."""
        return self.after.endswith("/")

    def keys(self, identities: IdentitySet) -> list[str]:
        """The prefixes or keys of these people.

        Raises:
            CriticalError: An identity has a slash: it would reach into somebody else's folder.
        """
        values = identities.spellings([self.kind])
        if crooked := sum("/" in value or not value for value in values):
            what = f"{crooked} identities of the slice hold a slash and would reach into the files of others"
            raise CriticalError(self.text, what, "Leave these people out, and delete their files by hand.")
        return [f"{self.before}{value}{self.after}" for value in values]


def _is_template(text: str) -> str:
    ObjectTemplate.parse(text)
    return text


class S3Map(StrictModel):
    """S3's part of the data map.

    Args:
        objects: Templates such as ``s3://bucket/contributors/{contributor_id}/``.
    """

    objects: Annotated[list[Annotated[str, AfterValidator(_is_template)]], Field(min_length=1)]

    @property
    def templates(self) -> list[ObjectTemplate]:
        """The templates."""
        return [ObjectTemplate.parse(text) for text in self.objects]


@dataclass(frozen=True)
class Found:
    """An object as it stands now.

    Args:
        template: What found it.
        key: Its key.
        etag: Its body's tag.
        size: In bytes.
        version: Its version's id, in a versioned bucket.
    """

    template: ObjectTemplate
    key: str
    etag: str
    size: int
    version: str | None

    @property
    def identity(self) -> str:
        """Tells this object, with this content, apart from any other."""
        return "\0".join((self.template.bucket, self.key, self.version or self.etag))


Pages = asyncio.Queue[list[Found] | None]
"""Pages of a listing, then None."""


@asynccontextmanager
async def connect(settings: S3Settings) -> AsyncIterator[S3Client]:
    """Opens the client; makes no request."""
    async with s3_client(settings) as client:
        yield client


class S3Store:
    """Erases in S3.

    Args:
        client: The client, shared.
        data_map: Templates of prefixes and keys.
        heartbeat: Told of every chunk of keys.
    """

    def __init__(self, client: S3Client, data_map: S3Map, heartbeat: Heartbeat) -> None:
        self._client = client
        self._templates = data_map.templates
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run: see `activities.contract.Store`."""
        health = Health("S3")
        with translated(PLACE, translate):
            for bucket in dict.fromkeys(template.bucket for template in self._templates):
                try:
                    await self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
                    versioned = await self._is_versioned(bucket)
                except ClientError as error:
                    code = error.response.get("Error", {}).get("Code", "?")
                    if code not in ("NoSuchBucket", "AccessDenied", "403", "404"):
                        raise
                    remedy = "Correct the data map." if "NoSuch" in code else "Grant listing and deleting."
                    health.problems.append(Finding(f"s3://{bucket}", f"cannot be listed ({code})", remedy))
                    continue
                health.places.append(f"s3://{bucket} ({'versioned' if versioned else 'not versioned'})")
        return health

    async def preview(self, part: Slice) -> Impact:
        """Counts the objects: see `activities.contract.Store`."""
        places = dict.fromkeys((template.text for template in self._templates), 0)
        with translated(PLACE, translate):
            async for found in self._find(part):
                places[found[0].template.text] += len(found)
        return Impact(places)

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Records each object, with its body where a delete would destroy it: see `activities.contract.Store`."""
        name = _pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                async with vault.recording(name) as recording:
                    async for found in self._find(part):
                        await self._record(found, recording, vault, part)
                receipt = recording.receipt
        assert receipt is not None, "a recording that closed has a receipt"
        return receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Deletes the objects: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(_pre_image(part))
            if receipt is None:
                raise CriticalError(PLACE, f"slice {part.name} has no back-up", "Submit the file again.")
            known = {vault.masker.token(_identity(record)) async for _, record in vault.records(_pre_image(part))}
            places: dict[str, Tally] = {}
            refused: dict[str, int] = {}
            async for found in self._find(part):
                place = found[0].template.text
                later = [each for each in found if vault.masker.token(each.identity) not in known]
                if later:
                    async with vault.recording(f"{_pre_image(part)}/later/{secrets.token_hex(8)}") as recording:
                        await self._record(later, recording, vault, part)
                deleted = await self._delete(found, refused)
                places[place] = places.get(place, Tally()) + Tally(len(found), deleted)
            if refused:
                raise _refusal(refused)
        for template in self._templates:
            tally = places.get(template.text, Tally())
            clean = max(0, receipt.places.get(template.text, 0) - tally.matched)
            places[template.text] = tally + Tally(already_clean=clean)
        return Erased(places)

    async def _find(self, part: Slice) -> AsyncIterator[list[Found]]:
        """Yields the objects of the slice in chunks of one template, `LISTINGS` prefixes at a time."""
        people = IdentitySet([contributor async for page in part.pages() for contributor in page])
        for template in self._templates:
            versioned = await self._is_versioned(template.bucket)
            waiting = iter(template.keys(people))
            pages: Pages = asyncio.Queue(LISTINGS)

            async def work(template: ObjectTemplate, waiting: Iterator[str], versioned: bool, pages: Pages) -> None:
                for key in waiting:
                    async for page in self._list(template, key, versioned=versioned):
                        await pages.put(page)

            workers = [asyncio.create_task(work(template, waiting, versioned, pages)) for _ in range(LISTINGS)]
            closing = asyncio.create_task(_close(pages, workers))
            try:
                async for chunk in _chunks(pages):
                    self._heartbeat(template.text, len(chunk))
                    yield chunk
                await asyncio.gather(*workers)
            finally:
                for task in (*workers, closing):
                    task.cancel()
                await asyncio.gather(*workers, closing, return_exceptions=True)

    async def _list(self, template: ObjectTemplate, key: str, *, versioned: bool) -> AsyncIterator[list[Found]]:
        """Yields the current objects below a prefix, or the one of an exact key, page by page."""
        if versioned:
            async for page in self._client.get_paginator("list_object_versions").paginate(
                Bucket=template.bucket, Prefix=key
            ):
                yield [
                    Found(template, entry["Key"], entry["ETag"], entry["Size"], entry["VersionId"])
                    for entry in page.get("Versions", [])
                    if entry["IsLatest"] and (template.is_prefix or entry["Key"] == key)
                ]
                if not template.is_prefix and page.get("NextKeyMarker", key) != key:
                    return  # keys come in order: the exact one comes first
        else:
            async for listed in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=template.bucket, Prefix=key
            ):
                yield [
                    Found(template, item["Key"], item["ETag"], item["Size"], None)
                    for item in listed.get("Contents", [])
                    if template.is_prefix or item["Key"] == key
                ]
                if not template.is_prefix:
                    return

    async def _record(self, found: Sequence[Found], recording: Recording, vault: BatchVault, part: Slice) -> None:
        """Adds a record an object; copies the bodies that a delete would destroy."""
        room = asyncio.Semaphore(COPIES)

        async def copied(each: Found) -> dict[str, Any] | None:
            async with room:
                return None if each.version else await self._copy(each, vault, part)

        copies = await asyncio.gather(*(copied(each) for each in found))
        for each, copy in zip(found, copies, strict=True):
            record = {
                "bucket": each.template.bucket,
                "key": each.key,
                "etag": each.etag,
                "size": each.size,
                "version": each.version,
                "copy": copy,
            }
            await recording.add(each.template.text, record)

    async def _copy(self, each: Found, vault: BatchVault, part: Slice) -> dict[str, Any]:
        """Copies an object's body into the vault; answers with where it is and what belongs to it."""
        bucket, key = each.template.bucket, each.key
        answer = await self._client.get_object(Bucket=bucket, Key=key)
        name = f"{_pre_image(part)}/body/{vault.masker.token(each.identity).lower()}"
        body = answer["Body"]
        async with body:
            if await vault.receipt(name) is None:
                async with vault.recording(name) as recording:
                    async for chunk in body.iter_chunks(BODY_CHUNK):
                        await recording.write(chunk)
        tagged = answer.get("TagCount", 0) > 0
        tags = (await self._client.get_object_tagging(Bucket=bucket, Key=key))["TagSet"] if tagged else []
        headers = {name: value for name, value in answer.items() if name in HEADERS}
        return {"name": name, "tags": tags, "headers": headers}

    async def _delete(self, found: Sequence[Found], refused: dict[str, int]) -> int:
        """Deletes a chunk of one bucket; counts each key's own error by its code.

        Returns:
            How many were deleted.
        """
        objects: list[ObjectIdentifierTypeDef] = [{"Key": each.key} for each in found]
        answer = await self._client.delete_objects(
            Bucket=found[0].template.bucket, Delete={"Objects": objects, "Quiet": True}
        )
        errors = answer.get("Errors", [])
        for error in errors:
            code = error.get("Code", "?")
            refused[code] = refused.get(code, 0) + 1
        return len(found) - len(errors)

    async def _is_versioned(self, bucket: str) -> bool:
        """Whether a delete leaves the object below a marker; a suspended bucket destroys its null version."""
        return (await self._client.get_bucket_versioning(Bucket=bucket)).get("Status") == "Enabled"


async def _close(pages: Pages, workers: Sequence[asyncio.Task[None]]) -> None:
    """Says that no page will come any more, once all have ended, however they ended."""
    await asyncio.wait(workers)
    await pages.put(None)


async def _chunks(pages: Pages) -> AsyncIterator[list[Found]]:
    """Joins pages to chunks of `CHUNK`."""
    chunk: list[Found] = []
    while (page := await pages.get()) is not None:
        chunk += page
        while len(chunk) >= CHUNK:
            yield chunk[:CHUNK]
            del chunk[:CHUNK]
    if chunk:
        yield chunk


def _refusal(refused: dict[str, int]) -> ErasureError:
    """What becomes of keys that S3 did not delete."""
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(refused.items()))
    what = f"some objects were not deleted ({codes})"
    if set(refused) <= PASSING:
        return TransientError(PLACE, what, "Wait; it is tried again.")
    return CriticalError(PLACE, what, "Look for object locks, legal holds and missing rights; then submit again.")


def _identity(record: dict[str, Any]) -> str:
    return "\0".join((record["bucket"], record["key"], record["version"] or record["etag"]))


def _pre_image(part: Slice) -> str:
    return f"pre-image/s3/{part.name}"


KIND = StoreKind(name="s3", unit="slice", data_map=S3Map, settings=S3Settings, connect=connect, open=S3Store)
