"""Everything that Temporal keeps of a workflow, as the texts that stand in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from devstack.platform.people import Person

GENERATED = {"activity_id", "timer_id", "request_id", "run_id", "identity", "worker_id", "sdk_version"}
"""Fields that Temporal and its SDK fill by themselves: an activity's id is a running number."""


async def recorded(client: Client, task_queue: str) -> list[str]:
    """Every text that Temporal keeps of a queue's workflows, of every run of each.

    Args:
        client: Temporal.
        task_queue: The queue.
    """
    return [
        text
        async for run in client.list_workflows(f"TaskQueue = '{task_queue}'")
        for text in await texts(client, run.id, run.run_id)
    ]


async def texts(client: Client, workflow_id: str, run_id: str | None = None) -> list[str]:
    """Every text of every event, payloads decoded, and of the workflow's description.

    Args:
        client: Temporal.
        workflow_id: The workflow.
        run_id: The run; the latest one where none is given.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    history = await handle.fetch_history()
    description = await handle.describe()
    return [text for message in (*history.events, description.raw_description) for text in _texts(message)]


def leaks(found: Iterable[str], people: Iterable[Person]) -> list[str]:
    """The identities that stand in one of the texts: addresses, names, worker ids, ids.

    A short number is also a count: it is a leak only where it is a whole text.
    """
    whole = set(found)
    lowered = "\n".join(whole).lower()
    words = {word for text in whole for word in re.findall(r"[^\s\"'<>(),;]+", text)}
    leaked: list[str] = []
    for person in people:
        leaked += [value for value in (person.email.lower(), person.full_name.lower()) if value in lowered]
        leaked += [
            value
            for value in (person.worker_id, person.contributor_id)
            if value and (value in whole or (value in words and not value.isdigit()))
        ]
    return leaked


def _texts(message: Message) -> Iterator[str]:
    """The texts of a message and of all messages in it."""
    if isinstance(message, Payload):
        yield from _decoded(message.data)
        return
    for field, value in message.ListFields():
        if field.name in GENERATED:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entries: Iterable[Any] = [part for pair in value.items() for part in pair]
        elif isinstance(value, Message) or field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            entries = [value] if isinstance(value, Message | str | bytes) else value
        else:
            entries = value if field.message_type is not None else []
        for entry in entries:
            if isinstance(entry, Message):
                yield from _texts(entry)
            elif isinstance(entry, bytes):
                yield from _decoded(entry)
            elif isinstance(entry, str):
                yield entry


def _decoded(data: bytes) -> Iterator[str]:
    """The texts of a JSON document, keys included; anything else is one text."""
    text = data.decode("utf-8", "replace")
    try:
        yield from leaves(json.loads(text))
    except ValueError:
        yield text


def leaves(value: Any) -> Iterator[str]:
    """Every text of a JSON value, keys included."""
    match value:
        case str():
            yield value
        case dict():
            for key, entry in value.items():
                yield key
                yield from leaves(entry)
        case list():
            for entry in value:
                yield from leaves(entry)
