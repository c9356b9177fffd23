"""What stands beside an identity in a text, and in what place the text stands: whether it is one there.

address      nothing that could belong to an address: ``bob@x.io`` is neither in ``notbob@x.io`` nor in
             ``bob@x.io.uk``, but it is in ``bob@x.io.pdf``
id           no letter and no digit. Where it is joined to more by a dot, a dash or the like, it may be a part of
             somebody else's id: such a match is not certain, unless the id is a long one
chancy id    one of digits alone, or a short word, which texts are full of: it has to be a whole value, or a whole
             part of a key, and is certain only in a place that is named after people. In a text only one of many
             digits is found, and it is not certain
"""

from __future__ import annotations

import re

LONG = 12
"""An id of this length is nobody else's, whatever it is joined to."""

MANY_DIGITS = 6
"""Digits from which on a number inside a text may be an id."""

KEY = 1_024
"""Characters that a key may have."""

MASK = "DELETED_USER"
"""What a mask starts with."""

_MASK = re.compile(rf"{MASK}(?:-[a-z2-7]{{26}})?", re.IGNORECASE)
_MASK_LENGTH = len(MASK) + 27

_UNSPACED = "\u2e80"
"""From here on: Chinese, Japanese, Korean."""

_BLANK = " \t\n\r\f\v\0\u00a0"
_KEY_EDGES = ":/|,;=&?#{}()[]\"'<>"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d|$)")
_PERSONAL = re.compile(
    r"worker|contributor|e_?mail|user|person|people|account|login|auth|session|member|owner|author|profile|customer"
    r"|payee|actor|reviewer|requester|annotator|submitter|assignee|(?:_|\b)by\b|(?-i:[a-z]By\b)",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\.(?:csv|tsv|jsonl?|ndjson|xml|html?|txt|log|sql|eml|pdf|docx?|xlsx?|png|jpe?g|gif|webp|svg|mp[34]|wav|zip|gz"
    r"|zst|bz2|tar|tgz|parquet|avro|orc|bak|tmp|old)(?![A-Za-z0-9@-])",
    re.IGNORECASE,
)


def is_named_after_people(name: str) -> bool:
    """Whether a column, field or key is called as if it held somebody's identity.

    Args:
        name: Its name.
    """
    return _PERSONAL.search(name) is not None


def is_inside_a_word(text: str, start: int, end: int) -> bool:
    """Whether a letter or digit goes on before or after: ``12`` in ``123``."""
    return (start > 0 and _is_one_word(text[start - 1], text[start])) or (
        end < len(text) and _is_one_word(text[end - 1], text[end])
    )


def _is_one_word(left: str, right: str) -> bool:
    """Whether two neighbours are of one word; a script that is written without blanks ends one of another script."""
    return left.isalnum() and right.isalnum() and (left < _UNSPACED) is (right < _UNSPACED)


def is_masked(view: str, start: int, end: int) -> bool:
    """Whether it is a part of a mask, which stands for nobody."""
    masks = _MASK.finditer(view, max(0, start - _MASK_LENGTH), end + _MASK_LENGTH)
    return any(mask.start() <= start and end <= mask.end() for mask in masks)


def certainty(view: str, start: int, end: int, name: str, *, chancy: bool) -> bool | None:
    """Whether an identity that is in a text is certainly one there.

    Args:
        view: The text.
        start: Where it begins.
        end: Where it ends.
        name: What the place is called.
        chancy: Whether it may well stand anywhere by chance.

    Returns:
        Whether it is certain; None where it is none, but a part of something else.
    """
    if chancy:
        return _chancy_certainty(view, start, end, name)
    before, after = view[max(0, start - 2) : start], view[end : end + 2]
    if "@" in view[start:end]:
        return None if _joins_address_before(before) or _joins_address_after(after, view, end) else True
    if after[:1] == "@" or (before[-1:] == "@" and before[:1].isalnum() and len(before) == 2):
        return None  # it is a part of an address, which is not its own
    joined = _joins_id_before(before) or (_joins_id_after(after) and not _names_a_file(view, start, end))
    if not joined or end - start >= LONG:
        return True
    # a longer word that fills a place of ids is another one's
    return None if is_named_after_people(name) and _is_one_part(view) else False


def _names_a_file(view: str, start: int, end: int) -> bool:
    """Whether an id is the name of a file: ``avatars/c-7.png``, and neither ``c-7.png`` alone nor a folder of it."""
    ending = _FILE.match(view, end)
    if ending is None or view[ending.end() : ending.end() + 1] in ("/", ".", "_"):
        return False
    before = view[max(0, start - 2) : start]
    return before in ('="', "='") or before[-1:] in ("/", "\\", "=", " ")


def _is_one_part(view: str) -> bool:
    return not any(letter.isspace() or letter in _KEY_EDGES for letter in view.strip(_BLANK))


def _chancy_certainty(view: str, start: int, end: int, name: str) -> bool | None:
    if len(view) <= KEY:
        if not view[:start].strip(_BLANK) and not view[end:].strip(_BLANK):
            return is_named_after_people(name)
        is_part = view[start - 1 : start] in ("", *_KEY_EDGES) and view[end : end + 1] in ("", *_KEY_EDGES)
        if is_part and not any(map(str.isspace, view)):
            return is_named_after_people(name) if _MOMENT.match(view) is None else None
    alone = not _joins_id_before(view[max(0, start - 2) : start]) and not _joins_id_after(view[end : end + 2])
    return False if alone and end - start >= MANY_DIGITS and view[start:end].isdecimal() else None


def _joins_address_before(before: str) -> bool:
    last = before[-1:]
    return last == "_" or (last in ".'+%-@" and len(before) == 2 and (before[0].isalnum() or before[0] == "_"))


def _joins_address_after(after: str, view: str, end: int) -> bool:
    if after[:1] == "@":
        return True
    joined = len(after) == 2 and after[0] in ".-" and after[1].isalnum()
    return joined and _FILE.match(view, end) is None


def _joins_id_before(before: str) -> bool:
    last = before[-1:]
    return last == "_" or (bool(last) and last in ".'+%-" and len(before) == 2 and before[0].isalnum())


def _joins_id_after(after: str) -> bool:
    first = after[:1]
    return first == "_" or (bool(first) and first in ".'+%-" and len(after) == 2 and after[1].isalnum())
