"""The object that a scan plants in S3. It is made once the buckets are known: these are the scope's, never others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.errors import CriticalError
from activities.verification.canary import Canary
from activities.verification.scanners.s3.places import Area, passes

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class PlantedObject:
    """An object that holds a made-up address.

    Args:
        client: The client.
        value: The address.
    """

    def __init__(self, client: S3Client, value: str) -> None:
        self._client = client
        self._canary = Canary(value)
        self._named: dict[str, Any] | None = None

    @property
    def place(self) -> str:
        """Its place."""
        return self._canary.name

    @property
    def at(self) -> Area | None:
        """Where it is; None while it is nowhere."""
        return Area(self._named["Bucket"], self._named["Key"]) if self._named else None

    async def plant(self, areas: Sequence[Area]) -> None:
        """Puts it where the first of some areas takes it, and removes what earlier scans left there.

        Args:
            areas: Where the scan looks.

        Raises:
            CriticalError: None takes it.
        """
        if self._named is not None:
            return
        folders = list(dict.fromkeys(Area(area.bucket, area.prefix[: area.prefix.rfind("/") + 1]) for area in areas))
        for folder in folders:
            await self._remove_left_overs(folder)
        for folder in folders:
            if await self._put(folder.bucket, f"{folder.prefix}{self._canary.name}"):
                return
        what = "the scan's canary cannot be planted there, so that finding nothing would prove nothing"
        remedy = "Grant PutObject and DeleteObjectVersion on one of its buckets that does not lock new objects."
        raise CriticalError("s3", what, remedy)

    async def remove(self) -> None:
        """Removes it for ever."""
        if self._named is not None:
            await self._client.delete_object(**self._named)
            self._named = None

    async def _put(self, bucket: str, key: str) -> bool:
        try:
            if await self._locks(bucket):
                return False
            body = self._canary.value.encode()
            answer = await self._client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/plain")
        except ClientError as error:
            if passes(error):
                raise
            return False
        version = answer.get("VersionId")
        self._named = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        return True

    async def _locks(self, bucket: str) -> bool:
        """Whether nobody could remove what is put there."""
        try:
            answer = await self._client.get_object_lock_configuration(Bucket=bucket)
        except ClientError as error:
            if passes(error):
                raise
            return False  # there is none, or nobody may see it
        return "DefaultRetention" in answer.get("ObjectLockConfiguration", {}).get("Rule", {})

    async def _remove_left_overs(self, folder: Area) -> None:
        """Removes canaries of scans that were cut off; whoever may not look for them did not leave any."""
        prefix = f"{folder.prefix}{self._canary.prefix}"
        try:
            page = await self._client.list_object_versions(Bucket=folder.bucket, Prefix=prefix)
            for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if self._canary.is_left_over(entry["Key"].removeprefix(folder.prefix)):
                    key, version = entry["Key"], entry["VersionId"]
                    await self._client.delete_object(Bucket=folder.bucket, Key=key, VersionId=version)
        except ClientError as error:
            if passes(error):
                raise
