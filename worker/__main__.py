"""``python -m worker``: hosts the workflows and activities until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

from activities.settings import SettingsError, TemporalSettings, load
from activities.temporal import UnreachableError, connect
from worker.lifecycle import run


def _configure_logs() -> None:
    """One JSON object a line on standard error, the Temporal SDK's own logs included."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _main() -> int:
    try:
        temporal = load(TemporalSettings)
        await run(await connect(temporal), temporal)
    except (SettingsError, UnreachableError) as error:
        structlog.get_logger().error("worker cannot start", reason=str(error))
        return 5
    return 0


if __name__ == "__main__":
    _configure_logs()
    sys.exit(asyncio.run(_main()))
