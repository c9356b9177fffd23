"""What a command needs: Temporal, the vault, and a clear end where one of them is not there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import typer
from rich.console import Console
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.datamap import DataMapError
from activities.errors import ErasureError, TransientError
from activities.settings import S3Settings, SettingsError, TemporalSettings, VaultSettings, load
from activities.temporal import UnreachableError, connect
from activities.vault import Vault, VaultMissingError
from starter.csv_file import CsvError
from starter.exit_codes import ExitCode

out = Console()
err = Console(stderr=True)


class UsageError(Exception):
    """What was asked for makes no sense; the message says why and what to do."""


@dataclass(frozen=True)
class Session:
    """An open session.

    Args:
        client: Temporal.
        temporal: How Temporal is reached.
        vault: The vault.
    """

    client: Client
    temporal: TemporalSettings
    vault: Vault

    def url(self, batch_id: str) -> str | None:
        """The batch's page in the Web UI, where its address is known."""
        if self.temporal.ui_url is None:
            return None
        return f"{self.temporal.ui_url.rstrip('/')}/namespaces/{self.temporal.namespace}/workflows/{batch_id}"


@asynccontextmanager
async def session() -> AsyncIterator[Session]:
    """Opens Temporal and the vault.

    Raises:
        UnreachableError: One of them is not there; it is named.
    """
    temporal, vault = load(TemporalSettings), opened_vault()
    client = await connect(temporal)
    async with vault as opened:
        yield Session(client, temporal, opened)


def opened_vault() -> AbstractAsyncContextManager[Vault]:
    """Opens the vault alone."""
    return Vault.connect(load(VaultSettings), load(S3Settings))


def run(
    main: Callable[[], Coroutine[Any, Any, ExitCode]],
    goes_on: str = "The batch goes on: `python -m starter watch` shows it again.",
) -> NoReturn:
    """Runs a command to its exit code; what a user can cause ends in one message and never in a traceback.

    Args:
        main: The command.
        goes_on: What becomes of its work where it is interrupted.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries warn of is told in our own words
    try:
        code = asyncio.run(main())
    except (CsvError, DataMapError, SettingsError, UsageError) as error:
        code = _say(error, ExitCode.BAD_INPUT)
    except VaultMissingError as error:
        code = _say(error, ExitCode.BAD_INPUT)
    except (UnreachableError, TransientError) as error:
        code = _say(error, ExitCode.UNREACHABLE)
    except ErasureError as error:
        code = _say(error, ExitCode.FAILED)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            code = _say(
                UsageError("Temporal does not know this batch. See `python -m starter list`."), ExitCode.BAD_INPUT
            )
        else:
            code = _say(
                UnreachableError(f"Temporal answered {error.status.name}", "Look at its log."), ExitCode.UNREACHABLE
            )
    except KeyboardInterrupt:
        err.print(f"\nStopped watching. {goes_on}")
        code = ExitCode.FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Temporal's SDK may abort in the interpreter's own clean-up, after all work is done


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _say(error: Exception | str, code: ExitCode) -> ExitCode:
    err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    return code
