"""Content: small text objects that are read and searched for identities, where the data map asks for it."""

from __future__ import annotations

import asyncio
import codecs
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from activities.contract import Slice
from activities.masking import IdentityFinder, Masker
from activities.stores.s3 import copies, listing
from activities.stores.s3.answers import ABSENT, CHANGED, Reasons, code_of
from activities.stores.s3.data_map import ContentRule, ObjectTemplate
from activities.stores.s3.listing import Found, Listing
from activities.stores.s3.paging import Pages, side_by_side

if TYPE_CHECKING:
    from aiobotocore.response import StreamingBody
    from types_aiobotocore_s3 import S3Client

READS = 8
"""Objects that are read at the same time; each is held in memory."""


async def objects(
    client: S3Client,
    rules: Sequence[ContentRule],
    templates: Sequence[ObjectTemplate],
    part: Slice,
    skipped: Reasons,
) -> Pages[Found]:
    """Yields the objects whose text holds an identity of the slice, in chunks of one rule.

    Args:
        client: The client.
        rules: What to read; an object counts for the first rule that names it.
        templates: An object that one of these names is theirs, and not read.
        part: Whose identities.
        skipped: Gathers why objects were not looked at.
    """
    if not rules:
        return
    named = {search.bucket: search.place for search in await listing.searches(templates, part)}
    people = await listing.people_of(part)
    for rule in rules:
        owner = named.get(rule.bucket, _nobody)
        earlier = [each for each in rules[: rules.index(rule)] if each.bucket == rule.bucket]

        def place(
            key: str,
            rule: ContentRule = rule,
            earlier: Sequence[ContentRule] = earlier,
            owner: Callable[[str], str | None] = owner,
        ) -> str | None:
            taken = any(each.form.matches(key) for each in earlier) or owner(key) is not None
            return rule.place if rule.form.matches(key) and not taken else None

        finder = people.finder(rule.holds)

        def look(each: Found, rule: ContentRule = rule, finder: IdentityFinder = finder) -> Pages[Found]:
            return _look(client, each, rule.max_bytes, finder, skipped)

        listings = [Listing(rule.form.key.partition("*")[0])]
        async for listed in listing.below(client, rule.bucket, listings, place):
            async for chunk in side_by_side(listed, look, READS):
                yield chunk


def _nobody(_: str) -> None:
    """The place of a key in a bucket that no template names."""


async def _look(
    client: S3Client, each: Found, max_bytes: int, finder: IdentityFinder, skipped: Reasons
) -> Pages[Found]:
    text = await _text(client, each, max_bytes, skipped)
    if text is not None and await asyncio.to_thread(_has, finder, text):
        yield [each]


async def texts(client: S3Client, rules: Sequence[ContentRule], skipped: Reasons) -> Pages[tuple[ContentRule, str]]:
    """Yields the texts of all objects that the rules name, each with its rule.

    Args:
        client: The client.
        rules: What to read.
        skipped: Gathers why objects were not looked at.
    """
    for rule in rules:

        def place(key: str, rule: ContentRule = rule) -> str | None:
            return rule.place if rule.form.matches(key) else None

        async def read(each: Found, rule: ContentRule = rule) -> Pages[tuple[ContentRule, str]]:
            text = await _text(client, each, rule.max_bytes, skipped)
            if text is not None:
                yield [(rule, text)]

        listings = [Listing(rule.form.key.partition("*")[0])]
        async for listed in listing.below(client, rule.bucket, listings, place):
            for start in range(0, len(listed), READS):  # a few at a time: their texts are held in memory
                async for chunk in side_by_side(listed[start : start + READS], read, READS):
                    yield chunk


async def _text(client: S3Client, each: Found, max_bytes: int, skipped: Reasons) -> str | None:
    """An object's text; None where it is gone, or was not looked at, and why."""
    reason: str | None = None
    if each.size > max_bytes:
        reason = "too large"
    else:
        try:
            body = await _body(client, Bucket=each.bucket, Key=each.key)
        except ClientError as error:
            reason = None if code_of(error) in ABSENT else code_of(error)
        else:
            if (text := decoded(body)) is not None:
                return text[0]
            reason = "not text"
    if reason is not None:
        skipped.setdefault(each.place, Counter())[reason] += 1
    return None


async def mask(
    client: S3Client, found: Sequence[Found], finder: IdentityFinder, masker: Masker, refused: Reasons
) -> int:
    """Writes objects anew with tokens in place of the identities, guarded by the tag of what was recorded.

    Args:
        client: The client.
        found: The objects, as they were recorded.
        finder: Knows the identities.
        masker: Makes the tokens.
        refused: Gathers the errors.

    Returns:
        How many were written.
    """

    async def one(each: Found) -> Pages[bool]:
        try:
            await _mask(client, each, finder, masker)
        except ClientError as error:
            code = "PreconditionFailed" if code_of(error) in CHANGED else code_of(error)
            refused.setdefault(each.place, Counter())[code] += 1
        else:
            yield [True]

    return sum([len(written) async for written in side_by_side(found, one, READS)])


async def _mask(client: S3Client, each: Found, finder: IdentityFinder, masker: Masker) -> None:
    named: dict[str, Any] = {"Bucket": each.bucket, "Key": each.key}
    answer = await client.get_object(**named, IfMatch=each.etag)
    text = decoded(await _read(answer["Body"]))
    assert text is not None, "it was text when it was found, and its tag is the same"
    masked = await asyncio.to_thread(masker.text, text[0], finder)
    made = {**named, **copies.headers(answer), "Body": masked.encode(text[1])}
    if answer.get("TagCount", 0) > 0:
        made["Tagging"] = copies.tagging((await client.get_object_tagging(**named))["TagSet"])
    await client.put_object(**made, IfMatch=each.etag)


async def is_masked(
    client: S3Client, record: Mapping[str, Any], original: bytes, finder: IdentityFinder, masker: Masker
) -> bool:
    """Whether the object that is there is what masking makes of an original, whoever of the slice was masked.

    Args:
        client: The client.
        record: The pre-image.
        original: Its body.
        finder: Knows the identities.
        masker: Makes the tokens.
    """
    before = decoded(original)
    now = decoded(await _body(client, Bucket=record["bucket"], Key=record["key"]))
    if before is None or now is None:
        return False
    return await asyncio.to_thread(lambda: masker.text(before[0], finder) == masker.text(now[0], finder))


async def original(client: S3Client, record: Mapping[str, Any]) -> bytes:
    """The body of a recorded version."""
    return await _body(client, Bucket=record["bucket"], Key=record["key"], VersionId=record["version"])


def decoded(body: bytes) -> tuple[str, str] | None:
    """A text and its encoding: UTF-8, or UTF-16 where a mark says so; None where it is no text."""
    encoding = "utf-8"
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if body.startswith(mark):
            encoding = name
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else (text, encoding)


def _has(finder: IdentityFinder, text: str) -> bool:
    return next(iter(finder.spans(text)), None) is not None


async def _body(client: S3Client, **named: str) -> bytes:
    answer = await client.get_object(**named)  # type: ignore[arg-type]  # each name is typed by itself
    return await _read(answer["Body"])


async def _read(body: StreamingBody) -> bytes:
    async with body:
        return await body.read()
