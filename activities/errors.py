"""The closed taxonomy of what can go wrong.

    ErasureError
     +- TransientError   may pass by itself: Temporal tries again, with back-off
     +- CriticalError    the phase cannot go on: a mapping, a right, a constraint, integrity
     +- TolerableError   the batch goes on with a warning, and is not complete

Messages are written by us: what failed, where, and what to do. A driver's text may quote rows and never passes;
an error that nobody mapped is critical and shows its type only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ErasureError(Exception):
    """Base of the taxonomy.

    Args:
        place: The store, index, table, bucket or key pattern; no personal data.
        what: What failed, in words; no personal data.
        remedy: What the operator can do.
    """

    def __init__(self, place: str, what: str, remedy: str) -> None:
        super().__init__(f"{place}: {what}. {remedy}")
        self.place = place
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[ErasureError], tuple[str, str, str]]:
        return type(self), (self.place, self.what, self.remedy)


class TransientError(ErasureError):
    """May pass by itself: a cut connection, a deadlock, throttling."""


class CriticalError(ErasureError):
    """Cannot go on without a person."""


class TolerableError(ErasureError):
    """Goes on, with a warning in the report."""


Translate = Callable[[Exception], ErasureError | None]
"""Maps a driver's error to the taxonomy, or None where it does not know it."""


def unknown(place: str, error: BaseException) -> CriticalError:
    """What becomes of an error that nobody mapped: its type only, since its text may hold a row."""
    kind = type(error)
    return CriticalError(
        place,
        f"unexpected {kind.__module__}.{kind.__qualname__}",
        "Look into the server's own log at this time; the error's text is withheld because it may hold personal data.",
    )


@contextmanager
def translated(place: str, translate: Translate) -> Iterator[None]:
    """Lets only the taxonomy out of a block of store work.

    Args:
        place: Names the store where the translation knows no better.
        translate: The store's mapping.

    Raises:
        ErasureError: For every `Exception` raised in the block; `from None`, so that no driver text is chained.
    """
    try:
        yield
    except ErasureError:
        raise
    except Exception as error:
        raise (translate(error) or unknown(place, error)) from None
