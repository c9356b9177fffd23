"""The one place that connects to Temporal."""

from __future__ import annotations

import asyncio
import socket

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.settings import TemporalSettings

CONNECT_TIMEOUT = 5.0


class UnreachableError(Exception):
    """Something that a batch needs cannot be reached; the message names it and says what to do."""


async def connect(settings: TemporalSettings) -> Client:
    """Connects to Temporal.

    Args:
        settings: Where it is.

    Raises:
        UnreachableError: It does not answer within five seconds, or does not know the namespace.
    """
    remedy = "Start it, or set ERASURE_TEMPORAL__ADDRESS"
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
        raise UnreachableError(
            f"Temporal at {settings.address} does not answer ({type(error).__name__}). {remedy}."
        ) from None
