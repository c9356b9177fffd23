"""``certificate``: a batch's certificate out of the vault, and its check, which needs neither vault nor network."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from activities.certificate import canonical, document, issuing, people
from activities.contract import Finding
from starter.exit_codes import ExitCode
from starter.session import UsageError, err, opened_vault, print_json, run

app = typer.Typer(help="Certificates: signed evidence of a batch, to be checked offline.", no_args_is_help=True)

Batch = Annotated[str, typer.Argument(help="The batch's id.")]
File = Annotated[Path, typer.Argument(help="The certificate.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_KEY = re.compile(r"[0-9a-f]{64}")


@app.command()
def export(
    batch: Batch,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Say what was written as JSON; the file is JSON itself.")
    ] = False,
) -> None:
    """Print a batch's newest certificate, or write it to a file.

    Example: python -m starter certificate export erase-0123456789abcdef -o erase-0123456789abcdef.cert.json
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            file = await issuing.newest(await vault.archive(batch))
        if file is None:
            raise UsageError(f"The batch {batch} has no certificate: it is not that far, or was refused.")
        if output is None:
            typer.echo(file, nl=False)
            return ExitCode.ERASED
        output.write_bytes(file)
        body = document.read(file)["certificate"]
        err.print(f"Wrote {output}: {_summary(body)}.", highlight=False, markup=False, soft_wrap=True)
        if json:
            print_json({"file": str(output), "number": body["number"], "batch_id": body["batch_id"]})
        return ExitCode.ERASED

    run(main)


@app.command()
def verify(
    file: File,
    public_key: Annotated[str, typer.Option(help="The public key in hex, or a file of them, as `keys list` prints.")],
    extends: Annotated[
        Path | None, typer.Option(help="An earlier certificate of the batch, which this one has to continue.")
    ] = None,
    json: Json = False,
) -> None:
    """Check a certificate offline: that not a byte was altered since it was signed by that key.

    Exit codes: 0 genuine, 1 not, 2 it cannot be checked.

    Example: python -m starter certificate verify erase-0123456789abcdef.cert.json --public-key certificate-keys.txt
    """

    async def main() -> ExitCode:
        keys = _public_keys(public_key)
        content = _bytes(file)
        faults = document.check(content, keys)
        if extends is not None:
            faults += _against(content, _bytes(extends), keys, genuine=not faults)
        if json:
            print_json(_as_json(faults, content))
        elif faults:
            for fault in faults:
                typer.echo(str(fault))
            typer.echo("The certificate is NOT genuine.")
        else:
            typer.echo(f"The certificate is genuine: {_summary(document.read(content)['certificate'])}.")
        return ExitCode.FAILED if faults else ExitCode.ERASED

    run(main)


@app.command()
def includes(
    file: File,
    contributor_id: Annotated[str, typer.Argument(metavar="ID", help="The contributor's id, as the CSV had it.")],
    key: Annotated[
        str, typer.Option(help="The batch's key, or that contributor's receipt.", envvar="ERASURE_CERTIFICATE_KEY")
    ],
    public_key: Annotated[
        str | None, typer.Option(help="Check the certificate as well: the public key in hex, or a file of them.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether a certificate is about somebody, offline; needs the key of `certificate key`.

    Exit codes: 0 yes, 1 no, or the certificate is not genuine.

    Example: python -m starter certificate includes erase-0123456789abcdef.cert.json c-1017 --key RECEIPT
    """

    async def main() -> ExitCode:
        content, secret = _bytes(file), _secret(key)
        if public_key is None:
            err.print("The certificate itself was not checked: name --public-key as well.", highlight=False)
        elif document.check(content, _public_keys(public_key)):
            return _answer("The certificate is NOT genuine: `certificate verify` says what fails.", None, json=json)
        try:
            found = document.read(content)["certificate"]["contributors"]
            of_batch = hmac.compare_digest(found["key"], people.name_of(secret))
            digests = set(found["digests"])
        except (canonical.NotCanonicalError, KeyError, TypeError):
            raise UsageError(f"{file} is no certificate: `certificate verify` says why.") from None
        receipt = people.receipt(secret, contributor_id) if of_batch else secret
        if people.digest(receipt, contributor_id) in digests:
            return _answer("The certificate includes this contributor.", True, json=json)
        if of_batch:
            return _answer("The certificate does not include this contributor.", False, json=json)
        unknown = "Not found: the certificate does not include this contributor, or the key is of somebody else."
        return _answer(unknown, None, json=json)

    run(main)


def _answer(said: str, includes: bool | None, *, json: bool) -> ExitCode:
    """Says whether somebody is included; None where that cannot be said."""
    if json:
        print_json({"includes": includes, "said": said})
    else:
        typer.echo(said)
    return ExitCode.ERASED if includes else ExitCode.FAILED


@app.command("key")
def show_key(
    batch: Batch,
    contributor_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this contributor's.")] = None,
    json: Json = False,
) -> None:
    """Print the key that looks contributors up in a batch's certificate; with an ID, a receipt good for that one alone.

    Example: python -m starter certificate key erase-0123456789abcdef c-1017
    """

    async def main() -> ExitCode:
        async with opened_vault() as vault:
            key = await vault.inclusion_key(batch)
        shown = (key if contributor_id is None else people.receipt(key, contributor_id)).hex()
        if json:
            print_json({"batch_id": batch, "of_one": contributor_id is not None, "key": shown})
        else:
            typer.echo(shown)
        return ExitCode.ERASED

    run(main)


def _against(content: bytes, earlier: bytes, keys: list[Ed25519PublicKey], *, genuine: bool) -> list[Finding]:
    """What is wrong between a certificate and an earlier one."""
    if document.check(earlier, keys):
        return [Finding("extends", "the earlier certificate is not genuine itself", "Verify that one by itself.")]
    if genuine and not document.continues(document.read(content)["certificate"], document.read(earlier)["certificate"]):
        what = "the certificate does not continue the earlier one: events of it are missing or other ones"
        return [Finding("extends", what, "Ask who signed both.")]
    return []


def _as_json(faults: list[Finding], content: bytes) -> dict[str, Any]:
    body = None if faults else document.read(content)["certificate"]
    return {
        "genuine": not faults,
        "faults": [{"place": fault.place, "what": fault.what} for fault in faults],
        "batch_id": body and body["batch_id"],
        "outcome": body and body["outcome"],
        "verification": body and body["verification"]["verdict"],
        "shredding": body and body["shredding"]["state"],
    }


def _summary(body: dict[str, Any]) -> str:
    return (
        f"batch {body['batch_id']}, {body['outcome']}, {len(body['contributors']['digests']):,} contributors, "
        f"{body['verification']['verdict']}, {body['shredding']['state']}; issued {body['issued_at']} "
        f"as number {body['number']}"
    )


def _public_keys(given: str) -> list[Ed25519PublicKey]:
    """The keys given in hex, or those at the beginning of a file's lines."""
    lines = [given]
    if not _KEY.fullmatch(given):
        lines = [line.split("#")[0].strip() for line in _bytes(Path(given)).decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line]
    if not keys or not all(_KEY.fullmatch(key) for key in keys):
        raise UsageError("--public-key takes 64 hexadecimal digits, or a file with such lines: see `keys list`.")
    return [Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in keys]


def _secret(given: str) -> bytes:
    if not _KEY.fullmatch(given):
        raise UsageError("--key takes 64 hexadecimal digits: see `certificate key`.")
    return bytes.fromhex(given)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
