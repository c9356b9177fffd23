"""Short prose for comments and payloads, and sentences that mention somebody."""

from __future__ import annotations

from random import Random

SENTENCES = (
    "The label is clear.",
    "The picture is blurred at the edges.",
    "Two boxes overlap and one of them is too large.",
    "Looks good to me.",
    "The guidelines say to skip such cases.",
    "Please look at the left corner again.",
    "Same answer as last week.",
    "The audio stops halfway through.",
    "Translation is fine, punctuation is not.",
    "I was not sure about the second question.",
    "The bounding box cuts off the wheel.",
    "Sarcasm, so marked as negative.",
    "Agreed after a short discussion.",
    "The street sign cannot be read.",
    "Duplicate of an earlier unit.",
    "Good work on a hard one.",
    "The instructions changed while this was open.",
    "Contrast is low but it can be done.",
)
"""Hold no digits and no names: nothing in them can be taken for an identity."""

MENTIONS = (
    "Checked with {}, agreed.",
    "Reassigned from {} this morning.",
    "cc <{}>",
    "The answer of {}: not what we need.",
    "Ask {}.",
    'Note by "{}" was removed.',
    "({}) left this open; please close it.",
    "{} had the same question",
)
"""Each mentions one person, mostly with punctuation right beside them."""

SIDE_BY_SIDE = (
    "Both {} and {} looked at this.",
    "Moved from {} to {}, as asked.",
    "{}; {}: same result!",
)
"""Each mentions two people, so that one may have to go while the other stays."""


def prose(random: Random) -> str:
    """One or two sentences."""
    first = random.choice(SENTENCES)
    return first if random.random() < 0.5 else f"{first} {random.choice(SENTENCES)}"
