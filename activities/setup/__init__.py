"""Setup: whether everything that a batch needs is there, works, and may be used; where the worker runs.

contract       a check, and what it answers
running        all checks at once, each within its time; fix, and retry
installation   Python, and the packages
configuration  the data map
vault          the key that wraps, and the bucket
identities     who exists, and the tool's own schema
stores         each store, by its own probe
temporal       the server, and the workers
platform_api   the platform's own API
everything     all of them, in the order in which they are shown
"""

from __future__ import annotations

from activities.setup.contract import Check, Result, State
from activities.setup.everything import checks
from activities.setup.running import Setup

__all__ = ["Check", "Result", "Setup", "State", "checks"]
