"""The signed document: made from a body and its events, and checked from bytes and a public key, offline.

The last event names the digest of every other member of the body, so that a check can say which one was altered; the
signature covers all of it. A file is canonical JSON and one line's end: any other byte is found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from activities.certificate import canonical, chain
from activities.certificate.chain import Entry, Link
from activities.contract import Finding
from activities.vault.signing import key_id

FORMAT = "contributor-erasure certificate 1"

_SIGNED = FORMAT.encode() + b"\n"
"""Put before what is signed: a signature is of a certificate, whatever else the key may ever sign."""

_REMEDY = "Export the certificate again from the vault, and compare."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Event(_Strict):
    at: str
    kind: str
    who: str
    why: str
    detail: dict[str, Any]
    previous: str
    digest: str


class _Body(BaseModel):
    """What every certificate has; the rest is bound by the last event."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: Literal["contributor-erasure certificate 1"]
    batch_id: str
    events: list[_Event] = Field(min_length=1)


class _Signature(_Strict):
    algorithm: Literal["Ed25519"]
    key: str = Field(pattern="^[0-9a-f]{16}$")
    value: str = Field(pattern="^[0-9a-f]{128}$")


class _Document(_Strict):
    certificate: _Body
    signature: _Signature


def make(
    members: dict[str, Any], earlier: Sequence[Link], news: Sequence[Entry], closing: Entry, key: Ed25519PrivateKey
) -> bytes:
    """Makes a certificate.

    Args:
        members: The body but for its events: JSON values, without personal data; ``batch_id`` among them.
        earlier: The events of the batch's earlier certificate.
        news: What happened since.
        closing: The last event; the digests of the members are added to it.
        key: Signs it.

    Returns:
        The file.
    """
    members = {"format": FORMAT, **members}
    contents = {name: canonical.digest(value) for name, value in members.items()}
    closing = Entry(closing.at, closing.kind, closing.who, closing.why, {**closing.detail, "contents": contents})
    body = {**members, "events": chain.extend(members["batch_id"], earlier, [*news, closing])}
    signature = {
        "algorithm": "Ed25519",
        "key": key_id(key.public_key()),
        "value": key.sign(_SIGNED + canonical.encode(body)).hex(),
    }
    return canonical.encode({"certificate": body, "signature": signature}) + b"\n"


def read(file: bytes) -> dict[str, Any]:
    """The ``certificate`` and the ``signature`` of a file that is known to be whole.

    Args:
        file: The file.

    Raises:
        NotCanonicalError: It is no such file.
    """
    document: dict[str, Any] = canonical.decode(file.removesuffix(b"\n"))
    return document


def check(file: bytes, keys: Collection[Ed25519PublicKey]) -> list[Finding]:
    """Checks a certificate; needs nothing but the file and the key.

    Args:
        file: Bytes of any content.
        keys: Public keys, any of which may have signed it.

    Returns:
        What fails, the most telling first; nothing where the certificate is exactly as it was issued.
    """
    if not file.endswith(b"\n"):
        return [_fault("file", "does not end with a line's end: it was cut or altered")]
    try:
        document = canonical.decode(file[:-1])
        _Document.model_validate(document)
    except canonical.NotCanonicalError as error:
        return [_fault("file", str(error))]
    except ValidationError as error:
        return [
            _fault(".".join(str(part) for part in fault["loc"]) or "file", f"is not of the form: {fault['msg']}")
            for fault in error.errors(include_input=False, include_url=False)
        ]
    body, signature = document["certificate"], document["signature"]
    faults = [_fault("events", what) for what in chain.broken(body["batch_id"], body["events"])]
    return [*_altered_members(body), *faults, *_badly_signed(body, signature, keys)]


def continues(body: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether a certificate tells the same story as an earlier one of the same batch, and only adds to it."""
    same: bool = body["batch_id"] == earlier["batch_id"]
    return same and body["events"][: len(earlier["events"])] == earlier["events"]


def _altered_members(body: dict[str, Any]) -> list[Finding]:
    members = {name: canonical.digest(value) for name, value in body.items() if name != "events"}
    contents = body["events"][-1]["detail"].get("contents")
    if not isinstance(contents, dict):
        return [_fault("events", "the last one does not close the certificate: the end was cut off")]
    return [
        _fault(name, "is not what the last event says that it was")
        for name in sorted({*members, *contents})
        if members.get(name) != contents.get(name)
    ]


def _badly_signed(body: dict[str, Any], signature: dict[str, str], keys: Collection[Ed25519PublicKey]) -> list[Finding]:
    known = {key_id(key): key for key in keys}
    if signature["key"] not in known:
        given = " or ".join(sorted(known))
        what = f"was made with key {signature['key']}, and not with {given}"
        return [Finding("signature", what, "Get that key from `keys list`, or distrust the certificate.")]
    try:
        known[signature["key"]].verify(bytes.fromhex(signature["value"]), _SIGNED + canonical.encode(body))
    except InvalidSignature:
        return [_fault("signature", "does not fit: something was altered since it was signed")]
    return []


def _fault(place: str, what: str) -> Finding:
    return Finding(place, what, _REMEDY)
