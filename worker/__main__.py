"""``python -m worker``: hosts the workflows and activities until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import structlog

from activities.settings import SettingsError, TemporalSettings, load
from activities.temporal import UnreachableError, connect
from worker.lifecycle import run


def configure_logs() -> None:
    """One JSON object a line on standard error, whoever logs.

    Libraries only from WARNING on: some of them log the address of every request, and an address may hold an id.
    """
    common: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=common,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("worker").setLevel(logging.INFO)


async def _main() -> int:
    try:
        temporal = load(TemporalSettings)
        await run(await connect(temporal), temporal)
    except (SettingsError, UnreachableError) as error:
        structlog.get_logger("worker").error("worker cannot start", reason=str(error))
        return 5
    return 0


if __name__ == "__main__":
    configure_logs()
    exit_code = asyncio.run(_main())
    logging.shutdown()
    os._exit(exit_code)  # Temporal's SDK may abort in the interpreter's own clean-up, after all work is done
