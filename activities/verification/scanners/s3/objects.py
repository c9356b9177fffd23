"""One object: what it is called, what it says of itself, and what is in it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import aiohttp
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from activities.contract import Heartbeat
from activities.verification.content import Content
from activities.verification.evidence import Evidence, Found, Inside
from activities.verification.scanners.s3.places import passes, refused

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CHUNK = 64 * 1024
"""Bytes of a body that are read at once."""

IN_A_ROW = 20
"""Objects one after the other that the server fails to send, until it counts as ill."""

ARCHIVED = "objects in an archive, whose bodies cannot be read"
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_SAID = ("ContentType", "ContentDisposition", "ContentLanguage", "CacheControl", "WebsiteRedirectLocation")


@dataclass(frozen=True)
class Thing:
    """An object, or a version of one.

    Args:
        key: Its key.
        size: Its bytes.
        storage: Its storage class.
        version: The version's id; None for the current object.
    """

    key: str
    size: int
    storage: str = ""
    version: str | None = None


class Objects:
    """Reads the objects of one bucket.

    Args:
        client: The client.
        bucket: The bucket.
        evidence: What was seen, and what was not.
        heartbeat: Told the objects, at every piece of a body.
    """

    def __init__(self, client: S3Client, bucket: str, evidence: Evidence, heartbeat: Heartbeat) -> None:
        self._client = client
        self._bucket = bucket
        self._evidence = evidence
        self._heartbeat = heartbeat
        self._failed_in_a_row = 0

    async def read(self, thing: Thing, place: str, *, with_body: bool) -> Inside | None:
        """Reads an object.

        Args:
            thing: The object.
            place: Where it is, as findings show it.
            with_body: Whether its body is read too.

        Returns:
            What it holds; None where it is not there any more.

        Raises:
            ClientError: The server fails again and again.
        """
        inside = Inside(self._evidence, place)
        inside.look(*_spelled(thing.key))
        if thing.storage in _ARCHIVES:
            self._evidence.miss(place, ARCHIVED, "Restore them to read them, or delete them.")
            with_body = False
        try:
            answer = await self._answer(thing, inside, with_body)
            await self._look_at_tags(thing, answer, inside)
        except ClientError as error:
            code = str(error.response["Error"].get("Code", "?"))
            if code in ("NoSuchKey", "NoSuchVersion", "404"):
                return None
            self._failed(place, code, error if passes(error) else None)
        except (aiohttp.ClientPayloadError, HTTPClientError, IncompleteReadError) as error:
            self._failed(place, "cut off", error)
        else:
            self._failed_in_a_row = 0
        return inside

    def named(self, key: str) -> Found:
        """What identities stand in a key."""
        inside = Inside(self._evidence, "")
        inside.look(*_spelled(key))
        return inside.holds

    async def _answer(self, thing: Thing, inside: Inside, with_body: bool) -> Mapping[str, Any]:
        if not with_body:
            head = await self._client.head_object(**self._addressed(thing))
            inside.look(*_said(head))
            return head
        answer = await self._client.get_object(**self._addressed(thing))
        inside.look(*_said(answer))
        content = Content(inside.look, lambda kind: self._sealed(inside.place, kind))
        body = answer["Body"]
        async with body:
            read = 0
            while chunk := await body.read(CHUNK):
                content.feed(chunk)
                read += len(chunk)
                self._heartbeat(f"s3://{self._bucket}/", self._evidence.records)
        content.end()
        self._evidence.bytes += read
        return answer

    async def check_tags(self, thing: Thing, place: str) -> None:
        """Notes where tags may not be read: then no object says that it has some.

        Args:
            thing: Any object.
            place: Where it is.
        """
        try:
            await self._client.get_object_tagging(**self._addressed(thing))
        except ClientError as error:
            if error.response["Error"].get("Code") not in ("NoSuchKey", "404"):
                self._evidence.leave_out([refused(f"{place} (tags)", "cannot be read", error)])

    async def _look_at_tags(self, thing: Thing, answer: Mapping[str, Any], inside: Inside) -> None:
        if "Body" in answer and not answer.get("TagCount"):
            return  # without a body, not every server says how many there are
        tags = (await self._client.get_object_tagging(**self._addressed(thing)))["TagSet"]
        inside.look([tag["Value"] for tag in tags], [tag["Key"] for tag in tags])
        inside.look([tag["Key"] for tag in tags], [""] * len(tags))

    def _addressed(self, thing: Thing) -> Any:
        named = {"Bucket": self._bucket, "Key": thing.key}
        return named if thing.version is None else {**named, "VersionId": thing.version}

    def _sealed(self, place: str, kind: str) -> None:
        self._evidence.miss(place, f"objects whose content nobody can read ({kind})", "Look into them by hand.")

    def _failed(self, place: str, code: str, error: Exception | None) -> None:
        """Notes an object that was not read; gives up where the server itself fails."""
        self._failed_in_a_row = self._failed_in_a_row + 1 if error is not None else 0
        if error is not None and self._failed_in_a_row >= IN_A_ROW:
            raise error
        what = f"objects that could not be read, or not to their end ({code})"
        self._evidence.miss(place, what, "Grant the right, or the key, to read them; then verify again.")


def _spelled(key: str) -> tuple[list[str], list[str]]:
    """A key, its parts, and the file's name without its ending, each called after the folders above it."""
    segments = key.split("/")
    parts = [(segment, "/".join(segments[:number])) for number, segment in enumerate(segments)]
    stem, ending = posixpath.splitext(segments[-1].removesuffix(".gz"))
    if ending and "@" not in stem:  # an address ends in none
        parts.append((stem, "/".join(segments[:-1])))
    return [key, *(part for part, _ in parts)], ["", *(name for _, name in parts)]


def _said(answer: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What an object says of itself: its metadata, and headers that people fill."""
    pairs = [(name, answer[name]) for name in _SAID if answer.get(name)]
    for name, value in answer.get("Metadata", {}).items():
        pairs += [(name, spelling) for spelling in dict.fromkeys((value, _unquoted(value), unquote_plus(value)))]
        pairs.append(("", name))
    return [value for _, value in pairs], [name for name, _ in pairs]


def _unquoted(value: str) -> str:
    """A header's value without the encoding that letters beyond ASCII have there."""
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
