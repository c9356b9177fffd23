"""The identities that objects' keys name, and that texts hold, whoever's they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from activities.contract import Finding, Heartbeat, Sighting
from activities.stores.s3 import answers, content, listing
from activities.stores.s3.answers import Reasons
from activities.stores.s3.data_map import S3Map

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def identities(client: S3Client, data_map: S3Map, heartbeat: Heartbeat) -> AsyncGenerator[Sighting | Finding]:
    """Yields what stands in the keys of current objects, and in texts.

    Args:
        client: The client.
        data_map: The templates and rules.
        heartbeat: Told of every chunk.
    """
    templates = {template.text: template for template in data_map.templates}
    async for chunk in listing.whoevers(client, data_map.templates):
        heartbeat(chunk[0].place, len(chunk))
        named: dict[str, list[str]] = {}
        for found in chunk:
            named.setdefault(found.place, []).extend(templates[found.place].readings(found.key))
        for place, values in named.items():
            yield Sighting(place, (templates[place].kind,), values)
    skipped: Reasons = {}
    async for texts in content.texts(client, data_map.content, skipped):
        for rule, text in texts:
            heartbeat(rule.place, 1)
            yield Sighting(rule.place, rule.holds, [text], are_texts=True)
    for finding in answers.findings(skipped, "objects were not looked at", "Look into them by hand."):
        yield finding
