"""S3's verbs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.contract import BackUp, Erased, Finding, Health, Heartbeat, Impact, Purged, Restored, Slice, Tally
from activities.errors import CriticalError, translated
from activities.object_storage import s3_client, translate_for
from activities.settings import S3Settings
from activities.stores.s3 import copies, listing, undo
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.deleting import delete, refusal
from activities.stores.s3.listing import Found
from activities.vault import BatchVault, Recording

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PLACE = "s3"

COPIES = 8
"""Objects whose bodies are copied into the vault at the same time."""

translate = translate_for(PLACE, "ERASURE_S3__ENDPOINT_URL")


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
                    versioned = await listing.is_versioned(self._client, bucket)
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
            async for found in self._objects(part):
                places[found[0].template.text] += len(found)
        return Impact(places)

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Records each object, with its body where a delete would destroy it: see `activities.contract.Store`."""
        name = _pre_image(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                async with vault.recording(name) as recording:
                    async for found in self._objects(part):
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
            async for found in self._objects(part):
                place = found[0].template.text
                later = [each for each in found if vault.masker.token(each.identity) not in known]
                if later:
                    async with vault.recording(f"{_pre_image(part)}/later/{secrets.token_hex(8)}") as recording:
                        await self._record(later, recording, vault, part)
                deleted = await delete(
                    self._client, found[0].template.bucket, [{"Key": each.key} for each in found], refused
                )
                places[place] = places.get(place, Tally()) + Tally(len(found), deleted)
            if refused:
                raise refusal(refused)
        for template in self._templates:
            tally = places.get(template.text, Tally())
            clean = max(0, receipt.places.get(template.text, 0) - tally.matched)
            places[template.text] = tally + Tally(already_clean=clean)
        return Erased(places)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Takes delete markers away and puts copies back: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await undo.restore(self._client, self._templates, part, vault, self._heartbeat)

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Deletes every version that lies behind a delete marker: see `activities.contract.Store`."""
        del vault  # what is purged is what S3 itself lists
        with translated(PLACE, translate):
            return await undo.purge(self._client, self._templates, part, self._heartbeat)

    async def _objects(self, part: Slice) -> AsyncIterator[list[Found]]:
        """Yields the slice's current objects, in chunks of one template."""
        async for found in listing.objects(self._client, self._templates, part):
            self._heartbeat(found[0].template.text, len(found))
            yield found

    async def _record(self, found: Sequence[Found], recording: Recording, vault: BatchVault, part: Slice) -> None:
        """Adds a record an object; copies the bodies that a delete would destroy."""
        room = asyncio.Semaphore(COPIES)

        async def copied(each: Found) -> dict[str, Any] | None:
            if each.version:
                return None
            async with room:
                name = f"{_pre_image(part)}/body/{vault.masker.token(each.identity).lower()}"
                return await copies.take(self._client, each, name, vault)

        for each, copy in zip(found, await asyncio.gather(*map(copied, found)), strict=True):
            record = {
                "bucket": each.template.bucket,
                "key": each.key,
                "etag": each.etag,
                "size": each.size,
                "version": each.version,
                "copy": copy,
                "at": time.time_ns(),
            }
            await recording.add(each.template.text, record)


def _identity(record: dict[str, Any]) -> str:
    return "\0".join((record["bucket"], record["key"], record["version"] or record["etag"]))


def _pre_image(part: Slice) -> str:
    return f"pre-image/s3/{part.name}"
