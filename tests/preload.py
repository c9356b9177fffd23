"""Imported by the server that tests' processes are forked from: does once what would cost each of them seconds."""

from __future__ import annotations

import asyncio
import gc

import jinja2
import rich.live
import rich.progress
import rich.table
import structlog
import temporalio.contrib.pydantic
import temporalio.worker
import typer
from pydantic import SecretStr

from activities import report, steps, stores, submission
from activities.object_storage import s3_client
from activities.settings import S3Settings
from workflows import api_test, check, erase, fetch


async def _read_the_model_of_s3() -> None:
    nobody = SecretStr("none")
    async with s3_client(S3Settings(access_key=nobody, secret_key=nobody)):
        pass


stores.kinds()
asyncio.run(_read_the_model_of_s3())
gc.freeze()  # what is shared with forks stays shared: their collections would copy it

__all__ = [
    "api_test",
    "check",
    "erase",
    "fetch",
    "jinja2",
    "report",
    "rich",
    "steps",
    "structlog",
    "submission",
    "temporalio",
    "typer",
]
