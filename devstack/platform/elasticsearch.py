"""The platform's Elasticsearch: one index a project, one document a unit of work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from random import Random
from typing import Any, cast

from elasticsearch import AsyncElasticsearch

from devstack.platform.people import AWKWARD, BYSTANDERS, Person
from devstack.platform.plan import PROJECTS, SEED, TODAY, Names, Size
from devstack.platform.prose import MENTIONS, SIDE_BY_SIDE, prose

ROUTED = "gamma"
"""The project whose index has two shards and some documents with a routing of their own."""

CHUNK = 1_000
"""Documents a bulk request: about half a megabyte."""

WORKERS = 3

_KEYWORD = {"type": "keyword"}

MAPPINGS: dict[str, Any] = {
    "dynamic": True,
    "properties": {
        "unit_id": _KEYWORD,
        "project": _KEYWORD,
        "status": _KEYWORD,
        "created_at": {"type": "date"},
        "payload": {"type": "text"},
        "worker_email": _KEYWORD,
        "worker_id": _KEYWORD,
        "worker_name": {"type": "text", "fields": {"keyword": _KEYWORD}},
        "judgments": {
            "type": "nested",
            "properties": {
                "worker_id": _KEYWORD,
                "worker_email": _KEYWORD,
                "worker_name": _KEYWORD,
                "answer": _KEYWORD,
                "trust": {"type": "float"},
                "at": {"type": "date"},
            },
        },
        "reviewers": {"properties": {"email": _KEYWORD, "decision": _KEYWORD}},
        "comment": {"type": "text"},
    },
}

_LOADING = {"refresh_interval": "-1", "translog": {"durability": "async"}}
_LOADED = {"refresh_interval": None, "translog": {"durability": "request"}}


async def create(client: AsyncElasticsearch, names: Names) -> None:
    """Makes the indices; fails where one exists already.

    Args:
        client: Connected to the platform's cluster.
        names: Holds the prefix of the indices.
    """
    for project, index in zip(PROJECTS, names.indices, strict=True):
        shards = 2 if project == ROUTED else 1
        await client.indices.create(
            index=index,
            settings={"number_of_shards": shards, "number_of_replicas": 0, **_LOADING},
            mappings=MAPPINGS,
            wait_for_active_shards=1,
        )


async def drop(client: AsyncElasticsearch, names: Names) -> None:
    """Deletes the indices that are there."""
    await client.indices.delete(index=list(names.indices), ignore_unavailable=True)


async def load(
    client: AsyncElasticsearch, people: Sequence[Person], size: Size, names: Names, seed: int = SEED
) -> None:
    """Fills the indices by a few bulk requests at a time, and makes the documents visible at the end.

    Args:
        client: Connected to the platform's cluster.
        people: The contributors.
        size: Says how many documents.
        names: Holds the prefix of the indices.
        seed: The same seed makes the same documents.

    Raises:
        RuntimeError: A document was refused.
    """
    chunks = _chunks(people, size.documents, names, seed)

    async def work() -> None:
        for chunk in chunks:
            # Lines that are JSON already pass as they are, which the client's types do not say.
            answer = await client.bulk(operations=cast("list[dict[str, Any]]", chunk), filter_path="errors")
            if answer["errors"]:
                raise RuntimeError("Elasticsearch refused documents of the demo platform")

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
    await client.indices.put_settings(index=list(names.indices), settings=_LOADED)
    await client.indices.refresh(index=list(names.indices))


def _chunks(people: Sequence[Person], count: int, names: Names, seed: int) -> Iterator[list[str]]:
    """Yields bulk requests' lines; made on demand, so that memory stays small."""
    share = count // len(PROJECTS)
    for project, index in zip(PROJECTS, names.indices, strict=True):
        lines = _lines(index, project, people, share, Random(f"elasticsearch {project} {seed}"))
        while chunk := list(islice(lines, CHUNK * 2)):
            yield chunk


def _lines(index: str, project: str, people: Sequence[Person], count: int, random: Random) -> Iterator[str]:
    """Yields an action and a document in turn."""
    workers = [person for person in people if person.worker_id is not None]
    mentionable = [person for person in people if person.contributor_id not in _UNMENTIONED]
    pairs = _pairs(people)
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    for number in range(count):
        unit = f"{project}-u{number:05d}"
        action: dict[str, str] = {"_index": index, "_id": unit}
        if project == ROUTED and number % 3 == 0:
            action["routing"] = f"region-{number % 5}"
        worker = workers[number] if number < len(workers) else random.choice(workers)
        document = _document(unit, project, worker, workers, random)
        if number < len(pairs):
            document["comment"] = pairs[number]
        else:
            document["comment"] = _comment(mentionable, random)
        yield encode({"index": action})
        yield encode(document)


def _document(unit: str, project: str, worker: Person, workers: Sequence[Person], random: Random) -> dict[str, Any]:
    created = TODAY - timedelta(seconds=random.randint(0, 500 * 86_400))
    draw = random.random()
    document: dict[str, Any] = {
        "unit_id": unit,
        "project": f"project-{project}",
        "status": "finalized" if draw < 0.8 else "judgable",
        "created_at": created.isoformat(),
        "payload": prose(random),
        "worker_email": _known_spelling(worker, random),
        "worker_id": worker.worker_id,
        "worker_name": worker.full_name,
        "judgments": [
            {
                "worker_id": judge.worker_id,
                "worker_email": judge.email,
                "worker_name": judge.full_name,
                "answer": "yes" if random.random() < 0.6 else "no",
                "trust": round(random.random(), 2),
                "at": created.isoformat(),
            }
            for judge in random.choices(workers, k=random.randint(1, 3))
        ],
        "reviewers": [
            {"email": _known_spelling(reviewer, random), "decision": "accepted" if draw < 0.5 else "returned"}
            for reviewer in random.choices(workers, k=int(draw * 3))
        ],
    }
    if draw < 0.05:
        document["device"] = {"kind": "phone", "rotated": True}
    return document


def _comment(people: Sequence[Person], random: Random) -> str:
    draw = random.random()
    if draw > 0.08:
        return prose(random)
    person = random.choice(people)
    who = person.worker_id if person.worker_id is not None and draw < 0.03 else _known_spelling(person, random)
    return f"{prose(random)} {random.choice(MENTIONS).format(who)} {prose(random)}"


_UNMENTIONED = frozenset({"C-7"})
"""Their worker id is another's in upper case: in prose nobody could tell them apart."""


def _pairs(people: Sequence[Person]) -> list[str]:
    """Sentences that name an awkward contributor beside a bystander."""
    by_id = {person.contributor_id: person for person in people}
    awkward = [by_id[identity[0]] for identity in AWKWARD]
    bystanders = [by_id[identity[0]] for identity in BYSTANDERS if identity[0] not in _UNMENTIONED]
    pairs = []
    for number, bystander in enumerate(bystanders):
        person = awkward[number % len(awkward)]
        pattern = SIDE_BY_SIDE[number % len(SIDE_BY_SIDE)]
        pairs.append(pattern.format(bystander.email, person.email))
        if person.worker_id is not None and bystander.worker_id is not None:
            pairs.append(pattern.format(person.worker_id, bystander.worker_id))
    bob, notbob, bob_uk = by_id["12"].email, by_id["123"].email, by_id["1234"].email
    return [f"{notbob}, {bob} and {bob_uk} all looked at it.", f"Not {notbob}: it was {bob}!", *pairs]


def _known_spelling(person: Person, random: Random) -> str:
    """An email as stored or in lower case: an index of keywords finds no other spelling."""
    return person.email.lower() if random.random() < 0.1 else person.email
