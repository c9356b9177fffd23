"""The texts that stand in what Temporal keeps: every field, and every payload, read as bytes and not as our classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

ENCODINGS = ("json/plain", "json/protobuf", "binary/plain", "binary/protobuf", "binary/null")
"""Encodings of payloads that hide nothing."""

_NUMBERED = {"activity_id", "timer_id"}
"""Fields that an SDK fills with running numbers."""


@dataclass(frozen=True)
class Text:
    """A text of a message.

    Args:
        field: The outermost field that it stands in.
        name: What it is called; empty where nothing says whose it is: a number may be a count.
        text: It.
    """

    field: str
    name: str
    text: str


@dataclass(frozen=True)
class Sealed:
    """A payload of a message, to be decoded.

    Args:
        field: The outermost field that it stands in.
        payload: It.
    """

    field: str
    payload: Payload


def parts(message: Message, field: str = "", name: str = "") -> Iterator[Text | Sealed]:
    """Yields every text and every payload of a message and of the messages in it.

    Args:
        message: The message.
        field: The outermost field that it stands in; none where it is the outermost itself.
        name: The field that it stands in.
    """
    if isinstance(message, Payload):
        yield Sealed(field, message)
        return
    for descriptor, value in message.ListFields():
        within = descriptor.name if not field or field.endswith("_attributes") else field
        for key, entry in _entries(descriptor, value):
            if key:
                yield Text(within, "", key)
            if isinstance(entry, Message):
                yield from parts(entry, within, key or descriptor.name)
            elif isinstance(entry, bytes):
                yield Text(within, key or name, entry.decode("utf-8", "replace"))
            elif isinstance(entry, str) and not (descriptor.name in _NUMBERED and entry.isdecimal()):
                yield Text(within, key or descriptor.name, entry)


def decoded(field: str, payload: Payload) -> Iterator[Text]:
    """Yields the texts of a payload that hides nothing.

    Args:
        field: The outermost field that it stands in.
        payload: The payload.
    """
    for key, value in payload.metadata.items():
        yield Text(field, key, value.decode("utf-8", "replace"))
    text = payload.data.decode("utf-8", "replace")
    try:
        document = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        yield Text(field, "", text)
    else:
        yield from (Text(field, name, leaf) for name, leaf in _leaves("", document))


def encoding(payload: Payload) -> str:
    """How a payload says that it is encoded."""
    return payload.metadata.get("encoding", b"").decode("utf-8", "replace")


def _entries(descriptor: FieldDescriptor, value: Any) -> Iterable[tuple[str, Any]]:
    """The values of a field, each with its key where it is a map's."""
    if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
        return [(str(key), entry) for key, entry in value.items()]
    if isinstance(value, Message | str | bytes):
        return [("", value)]
    if descriptor.message_type is not None or descriptor.type in (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
    ):
        return [("", entry) for entry in value]
    return []


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value of a document, and every key. A number has no name: nobody knows whether it counts."""
    match value:
        case dict():
            for key, each in value.items():
                yield "", key
                yield from _leaves(key, each)
        case list():
            for each in value:
                yield from _leaves(name, each)
        case bool() | None:
            pass
        case str():
            yield name, value
        case _:
            yield "", str(value)
