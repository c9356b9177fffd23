"""What in a text may be an identity: whatever stands by itself, exactly where an erasure would find one.

An identity with white space in it is not found in texts; as a whole value it is. An id is found as it was spelled when
it was erased, and in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from activities.identities import IdentityKind
from activities.masking import IdentityFinder, is_mask, lower

_RUN = re.compile(r"\S{1,256}")


def candidates(text: str, kinds: Collection[IdentityKind]) -> Iterator[tuple[IdentityKind, str]]:
    """Yields what may be an identity of some kinds; some more than once.

    Args:
        text: The text.
        kinds: What is looked for.
    """
    for value in _standing_alone(text):
        for kind in kinds:
            if kind is not IdentityKind.EMAIL:
                yield kind, value
                if (lowered := lower(value)) != value:
                    yield kind, lowered
            elif "@" in value:
                yield kind, value


def _standing_alone(text: str) -> Iterator[str]:
    for boundary in IdentityFinder.START.finditer(text):
        start = boundary.start()
        run = _RUN.match(text, start)
        assert run is not None, "no identity begins with white space"
        for end in IdentityFinder.END.finditer(text, start + 1, run.end()):
            if not is_mask(value := text[start : end.start()]):
                yield value
