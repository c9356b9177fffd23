"""Planting: one small object of the canary for every template, and one for every rule that reads texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.canary.person import NAME, Canary, own_name
from activities.contract import Finding, Planted, Seed, Seeds
from activities.errors import translated
from activities.identities import IdentitySet
from activities.object_storage import translate_for
from activities.stores.s3 import answers, listing, locks
from activities.stores.s3.answers import Reasons, code_of
from activities.stores.s3.data_map import ContentRule, ObjectTemplate, S3Map, is_crooked
from activities.stores.s3.deleting import delete

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PLACE = "s3"

translate = translate_for(PLACE, "ERASURE_S3__ENDPOINT_URL")


class S3Planter:
    """Plants in S3; see `activities.contract.Planter` for the verbs.

    Args:
        client: The client, shared.
        data_map: Templates of prefixes and keys, and what is searched for identities.
    """

    def __init__(self, client: S3Client, data_map: S3Map) -> None:
        self._client = client
        self._data_map = data_map

    async def seeds(self, canary: Canary) -> Seeds:
        """Settles one object a template or rule; buckets that would not let it go again get none."""
        found = Seeds()
        with translated(PLACE, translate):
            locked = {bucket: await locks.rule(self._client, bucket) for bucket in self._data_map.buckets}
            for place, bucket, key, body in self._objects(canary):
                if (rule := locked[bucket]) is not None:
                    found.missed.append(Finding(place, f"the bucket has {rule}", "Nothing to mend."))
                elif key is None or body is None:
                    what = "is found by an identity that the canary has none of, or that makes no key"
                    found.missed.append(Finding(place, what, "Give it one: [canary]."))
                else:
                    found.seeds.append(Seed(place, {"bucket": bucket, "key": key, "body": body}))
        return found

    async def plant(self, seeds: Sequence[Seed]) -> Planted:
        """Writes the objects."""
        planted = Planted()
        with translated(PLACE, translate):
            for seed in seeds:
                named = {"Bucket": seed.record["bucket"], "Key": seed.record["key"]}
                try:
                    await self._client.put_object(**named, Body=seed.record["body"].encode(), ContentType="text/plain")
                except ClientError as error:
                    if answers.passes(error):
                        raise
                    what = f"the canary's object is refused ({code_of(error)})"
                    planted.missed.append(Finding(seed.place, what, "Grant writing, where it should be covered."))
                else:
                    planted.places[seed.place] = planted.places.get(seed.place, 0) + 1
        return planted

    async def uproot(self, seeds: Sequence[Seed]) -> list[Finding]:
        """Deletes the objects in every version: nobody else's has such a key."""
        refused: Reasons = {}
        with translated(PLACE, translate):
            for seed in seeds:
                bucket, key = seed.record["bucket"], seed.record["key"]
                try:
                    if await listing.versioning(self._client, bucket) is None:
                        await self._client.delete_object(Bucket=bucket, Key=key)
                    else:
                        await delete(self._client, await listing.stack(self._client, bucket, key, seed.place), refused)
                except ClientError as error:
                    if answers.passes(error):
                        raise
                    refused.setdefault(seed.place, Counter())[code_of(error)] += 1
        return answers.findings(refused, "versions of the canary's object cannot be deleted", "Delete them by hand.")

    def _objects(self, canary: Canary) -> Iterator[tuple[str, str, str | None, str | None]]:
        """Place, bucket, key and body of each object; no key or no body where there can be none."""
        people = IdentitySet([canary.person])
        for template in self._data_map.templates:
            key = _key_of(template, canary)
            # what several templates name counts for the first of them
            place = next(
                (each.text for each in self._of(template) if key is not None and each.names(key, people)), None
            )
            yield place or template.text, template.bucket, key if place else None, NAME
        for rule in self._data_map.content:
            yield rule.place, rule.bucket, _key_for(rule), canary.text(rule.holds)

    def _of(self, template: ObjectTemplate) -> Iterator[ObjectTemplate]:
        return (each for each in self._data_map.templates if each.bucket == template.bucket)


def _key_of(template: ObjectTemplate, canary: Canary) -> str | None:
    identity = canary.identity([template.kind])
    if identity is None or is_crooked(identity):
        return None
    before, after = (part.replace("*", NAME) for part in (template.before, template.after))
    return f"{before}{identity}{after}{f'{own_name()}.txt' if template.is_prefix else ''}"


def _key_for(rule: ContentRule) -> str:
    name = own_name()
    return f"{rule.form.key.replace('*', name)}{f'{name}.txt' if rule.form.is_prefix else ''}"
