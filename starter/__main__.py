"""``python -m starter``: the command line."""

from __future__ import annotations

import typer

from starter import certificate, hold, keys, map, operate
from starter.api_test import api_test
from starter.check import check
from starter.erase import erase
from starter.fetch import fetch
from starter.report import report
from starter.setup import setup
from starter.status import list_batches, status
from starter.suppressed import suppressed
from starter.sweep import sweep
from starter.verify import verify
from starter.watch import watch

app = typer.Typer(
    help="Erase contributors from every store, watch it, and read the report.",
    epilog=(
        "Exit codes: 0 erased, 1 failed or rolled back, 2 bad input, 3 finished with warnings, "
        "4 parked and needs an operator, 5 cannot reach something."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(erase)
app.command()(check)
app.command()(watch)
app.command()(status)
app.command("list")(list_batches)
app.command()(report)
app.command()(fetch)
app.command()(verify)
app.command("api-test")(api_test)
app.command()(sweep)
app.command()(suppressed)
app.command()(setup)
for command in (
    operate.approve,
    operate.pause,
    operate.resume,
    operate.retry,
    operate.skip,
    operate.rollback,
    operate.shred,
):
    app.command()(command)
app.add_typer(hold.app, name="hold")
app.add_typer(map.app, name="map")
app.add_typer(certificate.app, name="certificate")
app.add_typer(keys.app, name="keys")

if __name__ == "__main__":
    app()
