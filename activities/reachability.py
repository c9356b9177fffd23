"""Why a server cannot be reached, told apart whatever driver reports it: its name, its port, TLS, time, or itself.

Drivers wrap what the system said in errors of their own, each in another way. Only numbers, types and OpenSSL's words
about a certificate are taken from there, never a driver's text.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp

from activities.errors import CriticalError, ErasureError, TransientError

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})
"""OpenSSL's reasons where what answers does not speak TLS at all."""

_ROUTES = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})

_CUT = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})


def unreachable(
    place: str, error: BaseException, setting: str, *, what: str = "cannot be reached", authority: str = ""
) -> ErasureError:
    """The error for a server that cannot be reached, with why and what to do about it.

    Args:
        place: The store, as messages name it.
        error: What the driver raised.
        setting: The variables that say where the server is.
        what: What is not possible.
        authority: How the certificate authority is named; ``SSL_CERT_FILE`` unless said.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError) and (why := getattr(cause, "verify_message", "")):
            remedy = authority or "Name its certificate authority with SSL_CERT_FILE where this runs."
            return CriticalError(place, f"{what}: its certificate is not accepted ({why})", remedy)
        if isinstance(cause, ssl.SSLError) and _reason(cause) in NO_TLS:
            why = "what listens there does not speak TLS"
            return CriticalError(place, f"{what}: {why}", f"Correct scheme or port in {setting}.")
    why, remedy = next(filter(None, map(_why, causes)), (type(error).__name__, f"Check {setting} and the network."))
    return TransientError(place, f"{what}: {why}", remedy.replace("{setting}", setting))


def _why(error: BaseException) -> tuple[str, str] | None:
    """What one error of the chain says, and what to do; None where it says nothing."""
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return "its host name cannot be looked up now", "Check the name servers, and the name in {setting}."
        return "its host name is not known", "Correct the name in {setting}, or look at the name servers."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known", "Correct the name in {setting}, or look at the name servers."
    if isinstance(error, ssl.SSLError):
        why = f"the TLS handshake fails ({_reason(error) or type(error).__name__})"
        return why, "Check {setting}: certificates, versions of TLS, and what stands between."
    numbers = _numbers(error)
    if errno.ECONNREFUSED in numbers:
        return "connection refused, nothing listens there", "Start the server, or correct host and port in {setting}."
    if numbers & _ROUTES:
        return "no way leads to its host", "Check {setting}, routes, VPN and firewall."
    if numbers & _CUT or isinstance(error, aiohttp.ServerDisconnectedError | EOFError | asyncio.IncompleteReadError):
        why = "it hangs up without an answer"
        return why, "Check {setting}: it may want TLS, or be another server. Look into its log."
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__ or errno.ETIMEDOUT in numbers:
        return "no answer in time", "Check {setting}: host, port, TLS or not; firewalls, and the server's load."
    return None


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason; a driver's error that only inherits from its class has none."""
    return str(getattr(error, "reason", None) or "")


def _numbers(error: BaseException) -> set[int]:
    """The system's numbers in an error; asyncio joins those of several addresses into one text."""
    if not isinstance(error, OSError):
        return set()
    return {error.errno} if error.errno else {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and every one that it stands for, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner: list[Any] = [each.__cause__, each.__context__, *getattr(each, "errors", ())]
        inner += [getattr(each, name, None) for name in ("certificate_error", "os_error")]
        kept = getattr(each, "kwargs", None)  # botocore keeps what it wraps among what its text is made of
        inner += [kept.get("error")] if isinstance(kept, dict) else []
        waiting += [found for found in inner if isinstance(found, BaseException)]
