"""Everything that Temporal keeps of a workflow, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from devstack.platform.people import Person


async def texts(client: Client, workflow_id: str) -> list[str]:
    """Every event, as JSON and with its payloads decoded, and the workflow's description.

    Args:
        client: Temporal.
        workflow_id: The workflow.
    """
    handle = client.get_workflow_handle(workflow_id)
    history = await handle.fetch_history()
    description = await handle.describe()
    messages: list[Message] = [*history.events, description.raw_description]
    return [MessageToJson(message) for message in messages] + [
        payload.data.decode("utf-8", "replace") for message in messages for payload in _payloads(message)
    ]


def leaks(found: Iterable[str], people: Iterable[Person]) -> list[str]:
    """The identities that stand in one of the texts: addresses, names, worker ids, ids.

    A short number is also a count: it is a leak only where it stands as a string of its own.
    """
    everything = "\n".join(found)
    lowered = everything.lower()
    words = set(re.findall(r"[^\s\"'<>(),;]+", everything))
    strings = set(re.findall(r'"((?:[^"\\]|\\.)*)"', everything))
    found_leaks: list[str] = []
    for person in people:
        found_leaks += [value for value in (person.email.lower(), person.full_name.lower()) if value in lowered]
        found_leaks += [value for value in (person.worker_id,) if value and (value in words or value in strings)]
        if person.contributor_id in strings or (not person.contributor_id.isdigit() and person.contributor_id in words):
            found_leaks.append(person.contributor_id)
    return found_leaks


def _payloads(message: Message) -> Iterator[Payload]:
    if isinstance(message, Payload):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if hasattr(value, "values") and callable(value.values):
            entries: Iterable[object] = value.values()
        elif isinstance(value, Message):
            entries = [value]
        else:
            entries = value
        for entry in entries:
            if isinstance(entry, Message):
                yield from _payloads(entry)
