"""The name under which a scan plants its canary in a store: it tells whose it is, and when it may be removed."""

from __future__ import annotations

import hashlib
import re
import time

PREFIX = "erasure-canary"

_LIFETIME = 24 * 60 * 60
"""Seconds after which a canary was left behind: no scan of one store takes longer."""


class Canary:
    """A made-up address, and what holds it.

    Args:
        value: The address: random, nobody's. Who scans again after having been cut off takes the same one.
        joined_by: What joins the parts of a name in the store; ``_`` where a name has no dashes.
    """

    def __init__(self, value: str, joined_by: str = "-") -> None:
        self.value = value
        self._digest = hashlib.sha256(value.encode()).hexdigest()[:16]
        self._joined_by = joined_by
        self.name = self._join(self._digest, str(int(time.time())))

    @property
    def lasting_name(self) -> str:
        """Its name in a store that removes it by itself in time."""
        return self._join(self._digest)

    @property
    def prefix(self) -> str:
        """What the names of all canaries start with."""
        return self._join("")

    def is_left_over(self, name: str) -> bool:
        """Whether a name is that of an earlier canary which nobody removed: this scan's own, or one of long ago.

        Args:
            name: Of an index, a table or a key.
        """
        found = re.fullmatch(re.escape(self.prefix) + "([0-9a-f]{16})" + re.escape(self._joined_by) + r"(\d+)", name)
        if found is None or name == self.name:
            return False
        return found[1] == self._digest or int(found[2]) < time.time() - _LIFETIME

    def _join(self, *parts: str) -> str:
        head = PREFIX.replace("-", "_") if self._joined_by == "_" else PREFIX
        return self._joined_by.join((head, *parts))
