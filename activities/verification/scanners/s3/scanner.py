"""The scanner of S3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from activities.contract import Heartbeat
from activities.errors import translated
from activities.object_storage import translate_for
from activities.verification.contract import Catalogue, Place, Reading, Scope
from activities.verification.needles import Needles
from activities.verification.scanners.s3.canary import PlantedObject
from activities.verification.scanners.s3.places import Area, learn
from activities.verification.scanners.s3.reading import Reader

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_translate = translate_for("s3", "ERASURE_S3__*")


class S3Scanner:
    """Reads S3: see `activities.verification.contract.Scanner`.

    Args:
        client: The store's client.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._canary: PlantedObject | None = None

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists every bucket or prefix; plants there what is to be planted."""
        with translated("s3", _translate):
            catalogue = await learn(self._client, scope)
            if self._canary is not None and catalogue.places:
                await self._canary.plant([Area.of(place.name) for place in catalogue.places])
                catalogue.places.append(Place(self._canary.place, 1, 0))
        return catalogue

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:
        """Reads one of them."""
        with translated("s3", _translate):
            canary = self._canary
            if canary is not None and canary.at is not None and place.name == canary.place:
                reader = Reader(self._client, canary.at, scope.depth, needles, heartbeat)
                return (await reader.canary(canary.at.prefix, canary.place)).reading()
            return (await Reader(self._client, Area.of(place.name), scope.depth, needles, heartbeat).read()).reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Plants an address in an object, as soon as the catalogue says where the scan looks."""
        self._canary = PlantedObject(self._client, value)
        try:
            yield self._canary.place
        finally:
            with translated("s3", _translate):
                await self._canary.remove()
            self._canary = None
