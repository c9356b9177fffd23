"""The rows of the CSV that ``erase`` reads, written and read again.

Ids stand in it as they are, also where a spreadsheet would take one for a formula (``=1+1``): open it as text.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from activities.contract import Contributor
from activities.csv_cells import COLUMNS, SEPARATOR, is_address, is_decoded, is_worker_id, several


def is_readable(contributor_id: str, id_pattern: re.Pattern[str]) -> bool:
    """Whether the file's reader takes an id, and takes it for what it is.

    Args:
        contributor_id: The id.
        id_pattern: What a whole id looks like.
    """
    stripped = contributor_id == contributor_id.strip() != ""
    return stripped and id_pattern.fullmatch(contributor_id) is not None and is_decoded(contributor_id)


def fit(contributor_id: str, emails: Sequence[str], worker_ids: Sequence[str]) -> Contributor:
    """Somebody as the CSV can name them: without addresses and worker ids that its reader would split or refuse.

    Args:
        contributor_id: The id.
        emails: Their addresses.
        worker_ids: Their worker ids.
    """
    return Contributor(contributor_id, _fit(emails, is_address), _fit(worker_ids, is_worker_id))


def encode(people: Iterable[Contributor], *, header: bool = False) -> bytes:
    """Rows as they stand in the file.

    Args:
        people: Whom to write.
        header: Whether the columns' names come first.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    for person in people:
        writer.writerow((person.contributor_id, SEPARATOR.join(person.emails), SEPARATOR.join(person.worker_ids)))
    return text.getvalue().encode()


async def decode(chunks: AsyncIterator[bytes]) -> AsyncIterator[Contributor]:
    """Yields the people of a file that `encode` wrote.

    Args:
        chunks: The file, cut anywhere.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, header = "", True
    async for chunk in chunks:
        rest += decoder.decode(chunk)
        end = _whole(rest)
        rows = csv.reader(io.StringIO(rest[:end], newline=""), strict=True)
        rest = rest[end:]
        for cells in rows:
            if not header:
                yield Contributor(cells[0], several(cells[1]), several(cells[2]))
            header = False


def _whole(text: str) -> int:
    """Where the last whole row ends: at a line's end that stands in no quotes."""
    end = text.rfind("\n") + 1
    while end and text.count('"', 0, end) % 2:
        end = text.rfind("\n", 0, end - 1) + 1
    return end


def _fit(values: Sequence[str], may_stand: Callable[[str], bool]) -> tuple[str, ...]:
    return tuple(value for value in values if several(value) == (value,) and may_stand(value) and is_decoded(value))
