"""What the tests of S3 work on: a bucket of the test's own, with two people's objects and their neighbours'."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from activities.contract import Contributor, Heartbeat
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.store import S3Store

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

ANN = Contributor("12", ("Ann@x.io",), ("w-12",))
BOB = Contributor("b*[o]'? +&é", ("bob@x.io",), ())

OURS = (
    "files/12/id card.jpg",
    "files/12/deep/er/voice.wav",
    "files/b*[o]'? +&é/cv.pdf",
    "avatars/12.png",
)
OTHERS = (
    "files/123/id card.jpg",
    "files/1/12",
    "files/012/x",
    "avatars/123.png",
    "avatars/12.png.bak",
    "avatars/12.pngx",
    "avatars/b.png",
    "shared/12/x",
)

AWKWARD = ("ü€𝄞", "a%20b%", "a+b&c", "'\"<>", "new\nline", "cr\rx", "tab\tx", "back\\slash", "*?[x]", " sp ", "\u2028")
"""Names of files that both servers take."""

NO_XML = "ctl\x01x"
"""A name that XML cannot carry; versitygw lists it as another one."""

SERVERS = {"minio": "stack", "versitygw": "versitygw"}
"""The fixture of each server."""

VERSIONED = (("minio", "Enabled"), ("versitygw", "Enabled"))
SUSPENDED = (("minio", "Suspended"), ("versitygw", "Suspended"))
PLAIN = (("minio", "plain"), ("versitygw", "plain"))
EVERYWHERE = (*VERSIONED, *SUSPENDED, *PLAIN)
"""Servers, and how a bucket keeps versions there."""

EACH_KIND = (("versitygw", "Enabled"), ("minio", "Suspended"), ("versitygw", "plain"))
OTHERWISE = (("minio", "Enabled"), ("versitygw", "Suspended"), ("minio", "plain"))
"""Each kind of bucket once, on one of the servers: for what depends on the kind alone."""


def on(*params: tuple[str, str]) -> pytest.MarkDecorator:
    """Runs a test on some of the servers and kinds of bucket only."""
    return pytest.mark.parametrize("bucket", params, ids="-".join, indirect=True)


@dataclass(frozen=True)
class Bucket:
    """A bucket on a real server.

    Args:
        client: The client.
        name: The bucket.
        server: ``minio`` or ``versitygw``.
        state: How it keeps versions.
        heartbeat: For its stores.
    """

    client: S3Client
    name: str
    server: str
    state: str
    heartbeat: Heartbeat

    async def put(self, key: str, body: bytes | None = None, **more: Any) -> str:
        """Puts an object, whose body is its key unless said."""
        body = key.encode() if body is None else body
        return (await self.client.put_object(Bucket=self.name, Key=key, Body=body, **more)).get("VersionId", "")

    async def fill(self) -> None:
        """Puts the two people's objects and the neighbours'."""
        await asyncio.gather(*(self.put(key) for key in (*OURS, *OTHERS)))

    async def keep_versions(self, state: str) -> None:
        """Sets how it keeps versions."""
        configuration: Any = {"Status": state}
        await self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration=configuration)

    async def there(self) -> dict[str, str]:
        """The current objects' tags."""
        found: dict[str, str] = {}
        async for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            found |= {entry["Key"]: entry["ETag"] for entry in page.get("Contents", [])}
        return found

    async def versions(self) -> dict[str, list[str]]:
        """The ids of all versions, the newest first, without the markers."""
        found: dict[str, list[str]] = {}
        async for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for entry in page.get("Versions", []):
                found.setdefault(entry["Key"], []).append(entry["VersionId"])
        return found

    async def body(self, key: str) -> bytes:
        """An object's body."""
        async with (await self.client.get_object(Bucket=self.name, Key=key))["Body"] as body:
            return await body.read()

    async def described(self, key: str) -> dict[str, Any]:
        """All that belongs to an object but its version and times."""
        answer = await self.client.head_object(Bucket=self.name, Key=key)
        tags = (await self.client.get_object_tagging(Bucket=self.name, Key=key))["TagSet"]
        own = ("LastModified", "VersionId", "ResponseMetadata", "Expires")
        named = {name: value for name, value in answer.items() if name not in own and "Checksum" not in name}
        return named | {"tags": sorted(tag["Key"] + tag["Value"] for tag in tags)}

    @property
    def templates(self) -> tuple[str, str]:
        """The templates of the two people's objects."""
        return f"s3://{self.name}/files/{{contributor_id}}/", f"s3://{self.name}/avatars/{{contributor_id}}.png"

    def store(self, *objects: str, client: S3Client | None = None, content: tuple[dict[str, Any], ...] = ()) -> S3Store:
        """A store with templates and rules of this bucket: below it, without ``s3://bucket/``."""
        texts = [f"s3://{self.name}/{text}" for text in objects]
        rules = [{**rule, "objects": f"s3://{self.name}/{rule['objects']}"} for rule in content]
        data_map = S3Map.model_validate({"objects": texts or ([] if content else self.templates), "content": rules})
        return S3Store(client or self.client, data_map, self.heartbeat)

    def places(self, files: Any, avatars: Any) -> dict[str, Any]:
        """Counts by template."""
        return dict(zip(self.templates, (files, avatars), strict=True))

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """Every request of a kind from now on, as its parameters."""
        seen: list[dict[str, Any]] = []
        self.before(operation, seen.append)
        return seen

    def before(self, operation: str, act: Callable[[dict[str, Any]], Any]) -> None:
        """Does something before each request of a kind, from now on."""
        self.client.meta.events.register(f"before-parameter-build.s3.{operation}", lambda params, **_: act(params))


@asynccontextmanager
async def own_bucket(
    client: S3Client, server: str, state: str, heartbeat: Heartbeat, **more: Any
) -> AsyncIterator[Bucket]:
    """Makes a bucket, and drops it with all that is in it."""
    name = f"test-{secrets.token_hex(6)}"
    await client.create_bucket(Bucket=name, **more)
    made = Bucket(client, name, server, state, heartbeat)
    if state != "plain":
        await made.keep_versions(state)
    yield made
    async for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        found = sorted({(entry["Key"], entry["VersionId"]) for entry in _all(page)})
        entries: list[Any] = [{"Key": key, "VersionId": version} for key, version in found if NO_XML not in key]
        if entries:
            await client.delete_objects(Bucket=name, Delete={"Objects": entries}, BypassGovernanceRetention=True)
        for key, version in found:
            if NO_XML in key:
                await client.delete_object(Bucket=name, Key=key, VersionId=version)
    uploads = await client.list_multipart_uploads(Bucket=name)
    for upload in uploads.get("Uploads", []):
        await client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    await client.delete_bucket(Bucket=name)


def _all(page: Any) -> list[Any]:
    return [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
