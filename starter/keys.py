"""``keys``: the keys that sign certificates, and the one that importers need."""

from __future__ import annotations

import base64
from typing import Annotated

import typer

from activities.tombstones import TombstoneKey
from activities.vault.signing import SigningKey
from starter.exit_codes import ExitCode
from starter.session import UsageError, err, opened_vault, print_json, run

app = typer.Typer(help="The keys that sign certificates, and the one that importers need.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def init(json: Json = False) -> None:
    """Make the first key, and print its public half: hand that to whoever will check certificates.

    Where nobody does, the first certificate makes it.

    Example: python -m starter keys init
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            if keys := await vault.signing.all():
                raise UsageError(f"There is a key already: {keys[-1].id}. Replace it by `keys rotate`.")
            _show([await vault.signing.add(0)], json=json)
        return ExitCode.ERASED

    run(main)


@app.command()
def rotate(json: Json = False) -> None:
    """Make another key: it signs from now on. What older keys signed is still checked with their public halves.

    Example: python -m starter keys rotate
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            keys = await vault.signing.all()
            if not keys:
                raise UsageError("There is no key yet: make one by `keys init`.")
            _show([await vault.signing.add(keys[-1].number + 1)], json=json)
        err.print(f"Key {keys[-1].id} signs no more; keep its public half for what it has signed.", highlight=False)
        return ExitCode.ERASED

    run(main)


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List the public keys, the oldest first; the last one signs. `certificate verify` takes the output as a file.

    Example: python -m starter keys list > certificate-keys.txt
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            _show(await vault.signing.all(), json=json)
        return ExitCode.ERASED

    run(main)


@app.command()
def suppression(json: Json = False) -> None:
    """Print the key that `erasure.is_suppressed` takes, in base64: with it and the tombstones identities can be tried.

    Example: umask 077; python -m starter keys suppression > suppression.key
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            key = TombstoneKey(await vault.tombstone_secret())
        encoded = base64.b64encode(key.pads).decode()
        if json:
            print_json({"key": encoded})
        else:
            typer.echo(encoded)
        return ExitCode.ERASED

    run(main)


def _show(keys: list[SigningKey], *, json: bool) -> None:
    if json:
        print_json([{"id": key.id, "created_at": key.created_at, "public_key": key.public} for key in keys])
        return
    for key in keys:
        typer.echo(f"{key.public}  # {key.id}, made {key.created_at}")
