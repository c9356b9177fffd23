"""The survey: prefixes whose folders or files are named after people, and that the data map does not name.

Two levels of each bucket are sampled, in a bounded number of requests. A folder whose own name could be a value, since
it has a digit or an ``@`` in it, is shown as ``*`` and stands for all of its kind.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from activities.contract import Suspect
from activities.settings import SettingsError, VaultSettings, load
from activities.stores.s3.answers import passes
from activities.stores.s3.data_map import KeyPattern, S3Map
from activities.suspicion import SAMPLE, Suspicion

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LEVELS = 2
"""How deep folders are looked into."""

FOLDERS = 20
"""Folders of one folder that are looked into."""

BUCKETS = 100
"""Buckets that are looked at besides those of the data map."""

_A_VALUE = re.compile(r"[\d@]")


@dataclass
class Sample:
    """What was seen at one place, in all folders that it stands for."""

    folders: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


async def survey(client: S3Client, data_map: S3Map, suspicion: Suspicion) -> list[Suspect]:
    """Looks for prefixes that may hold somebody's files.

    Args:
        client: The client.
        data_map: What is named already.
        suspicion: What to look for, and where.
    """
    suspects: list[Suspect] = []
    for bucket in await _buckets(client, data_map, suspicion):
        named = _named(data_map, bucket)
        for place, sample in (await _look(client, bucket, named, suspicion)).items():
            if suspicion.watches("s3", place):
                suspects += _suspects(place, sample, suspicion)
    return suspects


async def _buckets(client: S3Client, data_map: S3Map, suspicion: Suspicion) -> list[str]:
    """The data map's buckets, and others that may be looked at: never the vault's own."""
    others: list[str] = []
    try:
        others = [bucket["Name"] for bucket in (await client.list_buckets()).get("Buckets", [])]
    except ClientError as error:
        if passes(error):
            raise  # else the user may not list buckets: those of the data map are known
    try:
        vault = load(VaultSettings).bucket
    except SettingsError:
        vault = None
    watched = [name for name in others if name != vault and suspicion.watches("s3", f"s3://{name}/")]
    return list(dict.fromkeys([*data_map.buckets, *watched[:BUCKETS]]))


def _named(data_map: S3Map, bucket: str) -> list[KeyPattern]:
    templates = [each.form for each in data_map.templates if each.bucket == bucket]
    return [*templates, *(rule.form for rule in data_map.content if rule.bucket == bucket)]


async def _look(client: S3Client, bucket: str, named: Sequence[KeyPattern], suspicion: Suspicion) -> dict[str, Sample]:
    """Samples a bucket's folders, by place; one that is itself named like an identity is not looked into."""
    samples: dict[str, Sample] = {}
    level = [""]
    for depth in range(LEVELS + 1):
        below: list[str] = []
        listed = await asyncio.gather(*(_listed(client, bucket, prefix) for prefix in level))
        for prefix, (folders, files) in zip(level, listed, strict=True):
            sample = samples.setdefault(f"s3://{bucket}/{_shown(prefix)}", Sample())
            sample.folders |= {name for name in folders if not _is_named(f"{prefix}{name}/", named)}
            sample.files |= {name for name in files if not _is_named(f"{prefix}{name}", named)}
            below += [f"{prefix}{name}/" for name in folders if suspicion.by_content([name]) is None][:FOLDERS]
        level = below[:FOLDERS] if depth < LEVELS else []
    return samples


async def _listed(client: S3Client, bucket: str, prefix: str) -> tuple[list[str], list[str]]:
    """The first folders and files of a folder."""
    try:
        page = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=SAMPLE)
    except ClientError as error:
        if passes(error):
            raise
        return [], []  # gone meanwhile, or not to be listed: the probe names those of the data map
    folders = [entry["Prefix"].removeprefix(prefix).removesuffix("/") for entry in page.get("CommonPrefixes", [])]
    files = [entry["Key"].removeprefix(prefix) for entry in page.get("Contents", [])]
    return [name for name in folders if name], [name for name in files if name]


def _shown(prefix: str) -> str:
    return "/".join("*" if _A_VALUE.search(segment) else segment for segment in prefix.split("/"))


def _is_named(path: str, named: Sequence[KeyPattern]) -> bool:
    """Whether a form of the data map names a file, or may name something below a folder."""
    if not path.endswith("/"):
        return any(form.matches(path) for form in named)
    parts = path.removesuffix("/").split("/")
    return any(
        (form.is_prefix or len(parts) < len(form.segments))
        and all(pattern.fullmatch(part) for pattern, part in zip(form.segments, parts, strict=False))
        for form in named
    )


def _suspects(place: str, sample: Sample, suspicion: Suspicion) -> Iterator[Suspect]:
    found = suspicion.by_content(sample.folders)
    owner = place.removesuffix("/").rpartition("/")[2]
    if found and not found[1]:
        yield _suspect(place, f"its folders look like {found[0]}", f"{place}{{{found[0]}}}/")
    elif sample.folders and (kind := suspicion.by_name(owner)) is not None:
        yield _suspect(place, f"it is named after {kind} and has folders", f"{place}{{{kind}}}/")
    elif found:
        yield Suspect(place, f"some of its folders' names hold {found[0]}", {})
    yield from _suspect_files(place, sample.files, suspicion)


def _suspect_files(place: str, files: Iterable[str], suspicion: Suspicion) -> Iterator[Suspect]:
    """Files by ending: the whole name before it, or what stands before or after a separator."""
    by_ending: dict[str, list[str]] = {}
    for name in files:
        stem, dot, ending = name.rpartition(".")
        if not dot or not stem or _A_VALUE.search(ending):
            stem, ending = name, ""
        by_ending.setdefault(dot and ending and f".{ending}", []).append(stem)
    for ending, stems in sorted(by_ending.items()):
        whole = suspicion.by_content(stems)
        if whole and not whole[1]:
            yield _suspect(place, f"its files look like {whole[0]}", f"{place}{{{whole[0]}}}{ending}")
            continue
        for form, pieces in _pieces(stems):
            found = suspicion.by_content(pieces)
            if found and not found[1]:
                text = f"{place}{form.format(f'{{{found[0]}}}')}{ending}"
                yield _suspect(place, f"its files' names hold {found[0]}", text)
                break
        else:
            if whole:
                yield Suspect(place, f"some of its files' names hold {whole[0]}", {})


def _pieces(stems: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What stands before the first and after the last separator, with the form of such a name."""
    for separator in "-_.":
        split = [stem for stem in stems if separator in stem]
        if len(split) * 2 >= len(stems):
            yield f"{{}}{separator}*", [stem.partition(separator)[0] for stem in split]
            yield f"*{separator}{{}}", [stem.rpartition(separator)[2] for stem in split]


def _suspect(place: str, why: str, template: str) -> Suspect:
    return Suspect(place, why, {"objects": [template]})
