"""Reads S3, whoever wrote to it: names, metadata, tags and bodies of the objects of whole buckets.

places    which buckets and prefixes there are to read
objects   one object: what it is called, what it says of itself, what is in it
reading   all objects of one place, and the versions behind them
canary    the object that a scan plants itself
scanner   the verbs
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.settings import S3Settings
from activities.stores.s3.data_map import S3Map
from activities.verification.contract import ScannerKind
from activities.verification.scanners.s3.scanner import S3Scanner

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


def _open(client: S3Client, _: S3Settings) -> S3Scanner:
    return S3Scanner(client)


def _mapped(data_map: S3Map) -> Sequence[str]:
    """What comes before the first identity or wild card of each of the data map's forms of key."""
    forms = [*data_map.objects, *(rule.objects for rule in data_map.content)]
    return list(dict.fromkeys(form.partition("{")[0].partition("*")[0] for form in forms))


KIND: ScannerKind[S3Client, S3Map, S3Settings] = ScannerKind(name="s3", open=_open, mapped=_mapped)
