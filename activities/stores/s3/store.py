"""S3's verbs."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import (
    BackUp,
    Erased,
    Extent,
    Finding,
    Health,
    Heartbeat,
    Impact,
    Purged,
    Restored,
    Sighting,
    Slice,
    Suspect,
    Tally,
)
from activities.errors import CriticalError, translated
from activities.identities import IdentitySet
from activities.object_storage import s3_client, translate_for
from activities.settings import S3Settings
from activities.stores.s3 import answers, content, expiry, listing, locks, pre_images, rights, survey, uploads
from activities.stores.s3.answers import Reasons, code_of
from activities.stores.s3.data_map import S3Map, is_crooked
from activities.stores.s3.deleting import delete, refusal
from activities.stores.s3.identities import identities
from activities.stores.s3.listing import Found
from activities.stores.s3.paging import DELETES, as_they_come
from activities.stores.s3.purging import Purging
from activities.stores.s3.restoring import Restoring
from activities.suspicion import Suspicion
from activities.vault import BatchVault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PLACE = "s3"

translate = translate_for(PLACE, "ERASURE_S3__ENDPOINT_URL")

_KEEPS = {"Enabled": "versioned", "Suspended": "versioning suspended", None: "not versioned"}


@asynccontextmanager
async def connect(settings: S3Settings) -> AsyncIterator[S3Client]:
    """Opens the client; makes no request."""
    async with s3_client(settings) as client:
        yield client


class S3Store:
    """Erases in S3.

    Args:
        client: The client, shared.
        data_map: Templates of prefixes and keys, and what is searched for identities.
        heartbeat: Told of every chunk of keys.
    """

    def __init__(self, client: S3Client, data_map: S3Map, heartbeat: Heartbeat) -> None:
        self._client = client
        self._data_map = data_map
        self._heartbeat = heartbeat

    async def probe(self) -> Health:
        """Asks whether an erasure can run, and tries each right: see `activities.contract.Store`."""
        health = Health("S3")
        with translated(PLACE, translate):
            for bucket in self._data_map.buckets:
                await self._probe(bucket, health)
        for template in self._data_map.templates:
            if template.may_confuse:
                what = "with * in the segment of the identity, 12 and 12-3 are both found in 12-3-x"
                remedy = "Make sure that no identity holds the separator that follows it."
                health.notes.append(Finding(template.text, what, remedy))
        return health

    async def _probe(self, bucket: str, health: Health) -> None:
        place = f"s3://{bucket}"
        try:
            await self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
            versioning = await listing.versioning(self._client, bucket)
        except ClientError as error:
            code = code_of(error)
            if code not in ("NoSuchBucket", "AccessDenied", "403", "404"):
                raise
            remedy = "Correct the data map." if "NoSuch" in code else "Grant listing and deleting."
            health.problems.append(Finding(place, f"cannot be listed ({code})", remedy))
            return
        for named in self._data_map.named:
            if named.bucket == bucket:
                health.problems.extend([lack async for lack in rights.missing(self._client, named, versioning)])
        rule = await locks.rule(self._client, bucket)
        health.places.append(f"{place} ({', '.join(filter(None, (_KEEPS[versioning], rule)))})")
        if versioning == "Suspended":
            what = "versioning is suspended: a rollback puts the current objects back, no older null versions"
            health.notes.append(Finding(place, what, "Enable versioning to keep them."))
        if versioning is not None and (found := await expiry.of_versions(self._client, bucket)):
            health.notes.append(found)

    async def survey(self, suspicion: Suspicion) -> list[Suspect]:
        """Looks for prefixes that the data map does not name: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await survey.survey(self._client, self._data_map, suspicion)

    async def identities(self) -> AsyncGenerator[Sighting | Finding]:
        """Yields what keys name and texts hold: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            async with aclosing(identities(self._client, self._data_map, self._heartbeat)) as found:
                async for each in found:
                    yield each

    async def preview(self, part: Slice) -> Impact:
        """Counts the objects: see `activities.contract.Store`."""
        places = Counter(dict.fromkeys(self._data_map.places, 0))
        sizes: Counter[str] = Counter()
        with translated(PLACE, translate):
            async for found in self._objects(part, {}):
                places.update(each.place for each in found)
                for each in found:
                    sizes[each.place] += each.size
        return Impact(dict(places), {place: Extent(sizes[place]) for place, count in places.items() if count})

    async def back_up(self, part: Slice, vault: BatchVault) -> BackUp:
        """Records each object, with its body where a write would destroy it: see `activities.contract.Store`."""
        name = pre_images.name_of(part)
        with translated(PLACE, translate):
            if (receipt := await vault.receipt(name)) is None:
                refused: Reasons = {}
                tried: Counter[str] = Counter()
                async with vault.recording(name) as recording:
                    async for found in self._objects(part, {}):
                        tried.update(each.place for each in found)
                        await pre_images.keep(self._client, found, recording, part, vault, refused)
                    if refused:
                        raise refusal(refused, tried)
                receipt = recording.receipt
        assert receipt is not None, "a recording that closed has a receipt"
        return receipt.back_up

    async def erase(self, part: Slice, vault: BatchVault) -> Erased:
        """Deletes the objects, or masks their text: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            receipt = await vault.receipt(pre_images.name_of(part))
            if receipt is None:
                raise CriticalError(PLACE, f"slice {part.name} has no back-up", "Submit the file again.")
            people = await listing.people_of(part)
            warnings = [
                *self._crooked(people),
                *await uploads.record(self._client, self._data_map.templates, part, vault),
            ]
            known = await pre_images.known(part, vault)
            locked = {bucket for bucket in self._data_map.buckets if await locks.rule(self._client, bucket) is not None}
            matched: Counter[str] = Counter()
            changed: Counter[str] = Counter()
            refused: Reasons = {}
            held: Reasons = {}
            skipped: Reasons = {}

            async def write(found: list[Found]) -> None:
                matched.update(each.place for each in found)
                safe = [each for each in found if pre_images.digest(each) in known]
                if later := [each for each in found if pre_images.digest(each) not in known]:
                    async with vault.recording(pre_images.new_name(part, "later")) as recording:
                        safe += await pre_images.keep(self._client, later, recording, part, vault, refused)
                if found[0].bucket in locked:
                    await locks.held(self._client, safe, held)
                changed.update(await self._write(safe, people, vault, refused))

            await as_they_come(self._objects(part, skipped), write, DELETES)
            if refused:
                raise refusal(refused, matched)
        places: dict[str, Tally] = {}
        for place in self._data_map.places:
            clean = max(0, receipt.places.get(place, 0) - matched[place])
            places[place] = Tally(matched[place], changed[place], already_clean=clean)
        remedy = "They are hidden now; a purge deletes them only once the locks have ended."
        warnings += answers.findings(held, "objects are locked", remedy)
        warnings += answers.findings(skipped, "objects were not looked at", "Look into them by hand.")
        return Erased(places, warnings)

    async def restore(self, part: Slice, vault: BatchVault) -> Restored:
        """Takes delete markers away and puts copies back: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await Restoring(self._client, self._data_map, vault, self._heartbeat).run(part)

    async def purge(self, part: Slice, vault: BatchVault) -> Purged:
        """Deletes every version that lies behind a delete marker or a mask: see `activities.contract.Store`."""
        with translated(PLACE, translate):
            return await Purging(self._client, self._data_map, vault, self._heartbeat).run(part)

    async def _objects(self, part: Slice, skipped: Reasons) -> AsyncIterator[list[Found]]:
        """Yields the slice's current objects, in chunks of one bucket; of one rule where their text was read."""
        templates, rules = self._data_map.templates, self._data_map.content
        for chunks in (
            listing.objects(self._client, templates, part),
            content.objects(self._client, rules, templates, part, skipped),
        ):
            async for found in chunks:
                self._heartbeat(found[0].place, len(found))
                yield found

    async def _write(
        self, found: Sequence[Found], people: IdentitySet, vault: BatchVault, refused: Reasons
    ) -> Counter[str]:
        """Deletes objects of one bucket, or masks those of one rule that says so; counts what was done."""
        rule = next((rule for rule in self._data_map.content if found and rule.place == found[0].place), None)
        if rule is None or rule.then == "delete":
            deleted, _ = await delete(self._client, found, refused)
            return deleted
        finder = people.finder(rule.holds)
        return Counter({rule.place: await content.mask(self._client, found, finder, vault.masker, refused)})

    def _crooked(self, people: IdentitySet) -> list[Finding]:
        """People whose files cannot be told from the folders of others: the rest of the slice does without them."""
        findings: list[Finding] = []
        for template in self._data_map.templates:
            if crooked := sum(map(is_crooked, people.spellings([template.kind]))):
                what = f"{crooked:,} identities hold a slash and could reach into the files of others: not looked for"
                findings.append(Finding(template.text, what, "Delete the files of these people by hand."))
        return findings
