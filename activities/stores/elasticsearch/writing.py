"""Documents that were read, and how their replacements are written: guarded, in bulk, patient with a busy cluster."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch

from activities.contract import Heartbeat
from activities.errors import CriticalError, ErasureError, TransientError
from activities.stores.elasticsearch.connection import blocked, error_type
from activities.stores.elasticsearch.documents import text_of

BULK_BYTES = 5 * 1024 * 1024
REJECTIONS = 7
"""How often rejected writes are sent again, after 0.25, 0.5, ... 16 seconds."""

Key = tuple[str, str | None]
"""Id and routing: the same id may stand under two routings."""


@dataclass(frozen=True)
class Match:
    """A document that has to change.

    Args:
        hit: As it was found.
        replacement: Its ``_source`` as it shall be.
    """

    hit: dict[str, Any]
    replacement: dict[str, Any]

    @property
    def key(self) -> Key:
        """What tells it apart within its index."""
        return self.hit["_id"], self.hit.get("_routing")

    @property
    def pre_image(self) -> dict[str, Any]:
        """What the vault keeps: all that an exact restore needs."""
        return {
            "index": self.hit["_index"],
            "id": self.hit["_id"],
            "routing": self.hit.get("_routing"),
            "seq_no": self.hit["_seq_no"],
            "primary_term": self.hit["_primary_term"],
            "version": self.hit["_version"],
            "source": text_of(self.hit["_source"]),
        }

    @property
    def operation(self) -> str:
        """The bulk operation that replaces exactly the document that was found, and no later one."""
        action = {
            "_index": self.hit["_index"],
            "_id": self.hit["_id"],
            "if_seq_no": self.hit["_seq_no"],
            "if_primary_term": self.hit["_primary_term"],
        }
        if (routing := self.hit.get("_routing")) is not None:
            action["routing"] = routing
        return f"{json.dumps({'index': action})}\n{text_of(self.replacement)}"


def fingerprint(pre_image: dict[str, Any]) -> bytes:
    """Names a pre-image by all that it holds: in an index made anew, the same sequence number is another document."""
    place = json.dumps([pre_image[part] for part in ("index", "id", "routing", "seq_no", "primary_term")])
    return hashlib.blake2b(f"{place}{pre_image['source']}".encode(), digest_size=16).digest()


async def write(client: AsyncElasticsearch, index: str, matches: Sequence[Match], heartbeat: Heartbeat) -> list[Match]:
    """Writes the documents of one index.

    Args:
        client: The client.
        index: The index's name, for errors.
        matches: What to write; each already has its pre-image in the vault.
        heartbeat: Told of each pause.

    Returns:
        The matches that were not written, since somebody else wrote or deleted the document first.

    Raises:
        TransientError: The cluster keeps on rejecting writes.
        CriticalError: A document was refused, or the index is blocked.
    """
    overtaken: list[Match] = []
    for chunk in _chunks(matches):
        waiting, pause = chunk, 0.25
        for _ in range(REJECTIONS + 1):
            rejected: list[tuple[Match, str]] = []
            outcomes = await _send(client, [operation for _, operation in waiting])
            for (match, operation), outcome in zip(waiting, outcomes, strict=True):
                status = outcome["status"]
                if status in (404, 409):
                    overtaken.append(match)
                elif status == 429:
                    rejected.append((match, operation))
                elif status >= 300:
                    raise _refused(index, status, error_type(outcome.get("error")))
            if not rejected:
                break
            heartbeat(index, 0)
            waiting = rejected
            await asyncio.sleep(pause)
            pause *= 2
        else:
            raise TransientError(index, "the cluster keeps on rejecting writes (429)", "Wait; it is tried again.")
    return overtaken


async def _send(client: AsyncElasticsearch, operations: Sequence[Any]) -> list[dict[str, Any]]:
    """One bulk request, not repeated by the client: a repetition would conflict with its own first try."""
    try:
        answer = await client.options(max_retries=0).bulk(
            operations=operations,
            pipeline="_none",  # the documents went through the index's default pipeline when they came
            filter_path="items.*.status,items.*.error.type",
        )
    except ApiError as error:
        if error.status_code == 429:
            return [{"status": 429}] * len(operations)
        raise
    return [item["index"] for item in answer["items"]]


def _refused(index: str, status: int, kind: str) -> ErasureError:
    if kind == "cluster_block_exception":
        return blocked(index, kind)
    if status >= 500:
        return TransientError(index, f"a write failed ({status} {kind})", "Wait; it is tried again.")
    return CriticalError(
        index,
        f"a document was refused ({status} {kind})",
        "Compare the masks of the data map with the index's mapping, and the rights of the erasure's user.",
    )


def _chunks(matches: Iterable[Match]) -> Iterator[list[tuple[Match, str]]]:
    """The matches with their operations, in requests of at most `BULK_BYTES` (or of one document)."""
    chunk: list[tuple[Match, str]] = []
    size = 0
    for match in matches:
        operation = match.operation
        if chunk and size + len(operation) > BULK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append((match, operation))
        size += len(operation)
    if chunk:
        yield chunk


async def rehearse(client: AsyncElasticsearch, index: str) -> ErasureError | None:
    """Tries a write that cannot happen, and answers what would refuse a real one.

    The document asked for does not exist, so that its guard fails: but only after rights and blocks were checked.
    """
    action = {"_index": index, "_id": f"erasure-probe-{secrets.token_hex(16)}", "routing": "probe"}
    answer = await client.bulk(
        operations=[{"index": {**action, "if_seq_no": 0, "if_primary_term": 1}}, {}], pipeline="_none"
    )
    outcome = answer["items"][0]["index"]
    # 400: an empty document does not suit the mapping (a data stream wants its @timestamp)
    return None if outcome["status"] in (400, 409) else _refused(index, outcome["status"], error_type(outcome["error"]))
