"""The one place that connects to Temporal."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.settings import TemporalSettings

CONNECT_TIMEOUT = 5.0


_REMEDY = "Start it, or set ERASURE_TEMPORAL__ADDRESS."

_CAUSES = (
    (r"dns error|lookup address", "its host name is not known", "Correct the name in ERASURE_TEMPORAL__ADDRESS."),
    (r"[Cc]onnection refused", "connection refused, nothing listens there", _REMEDY),
    (
        r"InvalidContentType|corrupt message",
        "what listens there does not speak TLS",
        "Take ERASURE_TEMPORAL__TLS out, or correct ERASURE_TEMPORAL__ADDRESS.",
    ),
    (
        r"[Cc]ertificate|UnknownIssuer",
        "its certificate is not accepted",
        "Name its certificate authority with SSL_CERT_FILE where this runs.",
    ),
    (
        r"Unauthenticated|PermissionDenied|Request unauthorized",
        "the caller is refused",
        "Check ERASURE_TEMPORAL__API_KEY, its role, and the namespace.",
    ),
    (
        r"http2|h2 protocol|GoAway|frame|Unimplemented|grpc-status|invalid content-type|connection closed|broken pipe",
        "what answers is not Temporal, or wants TLS",
        "Check ERASURE_TEMPORAL__ADDRESS (port 7233 is usual), and ERASURE_TEMPORAL__TLS.",
    ),
)
"""What the SDK's text means, which holds nothing but addresses; the first that fits counts."""


class UnreachableError(Exception):
    """Something that a batch needs cannot be reached; the message names it and says what to do.

    Args:
        what: What cannot be reached, and why.
        remedy: What to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what = what
        self.remedy = remedy


async def connect(settings: TemporalSettings) -> Client:
    """Connects to Temporal.

    Args:
        settings: Where it is.

    Raises:
        UnreachableError: It does not answer within five seconds.
    """
    try:
        return await asyncio.wait_for(
            Client.connect(
                settings.address,
                namespace=settings.namespace,
                data_converter=pydantic_data_converter,
                identity=f"erasure@{socket.gethostname()}",
                api_key=settings.api_key.get_secret_value() if settings.api_key else None,
                tls=settings.tls or settings.api_key is not None,
            ),
            CONNECT_TIMEOUT,
        )
    except (RuntimeError, TimeoutError) as error:
        why, remedy = _why(error)
        raise UnreachableError(f"Temporal at {settings.address} does not answer: {why}", remedy) from None


def _why(error: RuntimeError | TimeoutError) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return f"nothing within {CONNECT_TIMEOUT:g} s", _REMEDY
    for pattern, why, remedy in _CAUSES:
        if re.search(pattern, str(error)):
            return why, remedy
    return type(error).__name__, _REMEDY


async def idle_queues(client: Client, settings: TemporalSettings, stores: Sequence[str] = ()) -> list[str]:
    """Task queues of a batch that no worker polls.

    Args:
        client: The client.
        settings: Names the task queues.
        stores: The batch's stores, where known.

    Raises:
        RPCError: Temporal refuses to say.
    """
    base = settings.task_queue
    queues = [(base, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)]
    queues += [(f"{base}-{store}", TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY) for store in stores]
    idle = []
    for name, kind in queues:
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=settings.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind
            )
        )
        if not answer.pollers:
            idle.append(name)
    return idle
