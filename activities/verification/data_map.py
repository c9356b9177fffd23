"""The data map's table ``[verification]``: how far a verification looks, and where beside the stores."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from activities.messages import Depth
from activities.rules import StrictModel

_LOCATION = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?|file:///.*", re.DOTALL)


def _is_location(text: str) -> str:
    if not _LOCATION.fullmatch(text):
        raise ValueError("has to be s3://bucket/prefix or file:///folder/; the file's name may have *, ? and [...]")
    return text


class VerificationMap(StrictModel):
    """How a verification looks for what an erasure left.

    Args:
        depth: How far, unless a command says otherwise.
        after_batch: Whether each batch ends with a verification.
        dumps: Where the platform's exports and backups are: ``s3://exports/``, ``file:///backups/*.sql.gz``.
        reach: Globs of places to look at, as in ``postgres public.*``; all else is not proven.
        api_sample: About how many contributors of a batch the platform's API is asked; 0: about all.
    """

    depth: Depth = "catalogue"
    after_batch: bool = True
    dumps: tuple[Annotated[str, AfterValidator(_is_location)], ...] = ()
    reach: tuple[str, ...] = ("*",)
    api_sample: Annotated[int, Field(ge=0)] = 100
