"""What the platform's answers mean, as the data map says it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from activities.errors import CriticalError
from activities.platform_api.data_map import Answers

PLACE = "platform API"

_CODE = re.compile(r"[A-Z]+(_[A-Z]+)*")
"""A code that may be shown: words in capitals, no digit, so that it is hardly anybody's id."""


class Meaning(StrEnum):
    """What an answer means, by the data map."""

    WORK = "work given"
    TAKEN = "work taken"
    SYSTEM_ERROR = "system error"
    KNOWN = "nothing given"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Answer:
    """What the platform answered about one contributor.

    Args:
        meaning: What it means.
        code: The platform's code, or ``HTTP 502``, or why there is none; holds no personal data.
        milliseconds: How long the last try took.
        work_id: The work that was given.
        tries: How often it was asked.
    """

    meaning: Meaning
    code: str
    milliseconds: float = 0.0
    work_id: str = ""
    tries: int = 1


@dataclass(frozen=True)
class Work:
    """A piece of work to hand in.

    Args:
        contributor_id: Whose it is.
        work_id: Which.
        idempotency_key: The same for every try.
    """

    contributor_id: str
    work_id: str
    idempotency_key: str


def read(answers: Answers, status: int, body: bytes, wanted: Meaning, contributor_id: str) -> Answer:
    """What an answer means.

    Args:
        answers: What codes and statuses mean.
        status: The HTTP status.
        body: The body.
        wanted: What was hoped for: `Meaning.WORK` or `Meaning.TAKEN`.
        contributor_id: Whom it is about; is never shown.

    Raises:
        CriticalError: It is one of those after which to ask on makes no sense.
    """
    held = _json(body)
    found = _field(held, answers.code)
    entry: str | int = found if isinstance(found, str) else status
    named = (*answers.work, *answers.taken, *answers.system_error, *answers.known, *answers.stop)
    code = f"HTTP {status}"
    if isinstance(entry, str):
        shown = entry in named or (_CODE.fullmatch(entry) and len(entry) <= 40 and entry != contributor_id)
        code = entry if shown else f"{code}, a code that is not shown"
    if entry in answers.stop:
        raise CriticalError(
            PLACE,
            f"answers {code}: it lets nobody of this job be asked",
            "Check the job's URL, its secret and ERASURE_API__TOKEN; see platform_api.answers.stop.",
        )
    if entry in answers.system_error:
        return Answer(Meaning.SYSTEM_ERROR, code)
    if entry in answers.known:
        return Answer(Meaning.KNOWN, code)
    if entry not in (answers.work if wanted is Meaning.WORK else answers.taken):
        return Answer(Meaning.UNCLEAR, code)
    if wanted is Meaning.TAKEN:
        return Answer(wanted, code)
    work_id = _field(held, answers.work_id)
    if not isinstance(work_id, str | int) or isinstance(work_id, bool) or work_id == "":
        return Answer(Meaning.UNCLEAR, f"{code} without work")
    return Answer(wanted, code, work_id=str(work_id))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _field(held: Any, path: str) -> Any:
    """A field of JSON values, dots leading into objects; None where there is none."""
    for name in path.split("."):
        held = held.get(name) if isinstance(held, dict) else None
    return held
