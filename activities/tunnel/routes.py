"""Routes: the command that opens one, and what it means when that ends with an error.

What a command says is read for its cause and never passed on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from activities.errors import CriticalError, ErasureError, TransientError

Cause = tuple[str, type[ErasureError], str, str]
"""What is found in a command's last words, whether it may pass, what it means, and what to do."""

Port = Annotated[int, Field(ge=1, le=65_535)]
LocalPort = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, Field(pattern=r"^[^\s-]\S*$")]
"""Never taken for an option."""

_TAKEN = "Set {setting}__LOCAL_PORT to another one, or leave it out: then a free one is taken."


class Route(Protocol):
    """A way through which a server is reached at a local port."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    @property
    def name(self) -> str:
        """The name of what is at its end."""

    @property
    def local_port(self) -> int:
        """The local port; 0 for any that is free."""

    @property
    def causes(self) -> Sequence[Cause]:
        """What the command's last words mean; the first that fits counts."""

    def command(self, local_port: int) -> list[str]:
        """The command that keeps it open for as long as it runs."""


class PortForward(BaseModel):
    """A port of a Kubernetes cluster, by ``kubectl port-forward``.

    Args:
        context: The context of kubectl's configuration; the current one unless said.
        namespace: The namespace; the context's own unless said.
        service: The service, or
        pod: the pod.
        port: Its port.
        local_port: The port here; a free one unless said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Name | None = None
    namespace: Name | None = None
    service: Name | None = None
    pod: Name | None = None
    port: Port = 8123
    local_port: LocalPort = 0

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if (self.service is None) == (self.pod is None):
            raise ValueError("set either SERVICE or POD")
        return self

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return "kubectl port-forward"

    @property
    def name(self) -> str:
        """The service's or the pod's name."""
        return self.service or self.pod or ""

    def command(self, local_port: int) -> list[str]:
        """The command that keeps it open for as long as it runs."""
        options = [f"--context={self.context}"] if self.context else []
        options += [f"--namespace={self.namespace}"] if self.namespace else []
        end = f"service/{self.service}" if self.service else f"pod/{self.pod}"
        return ["kubectl", "port-forward", *options, "--address=127.0.0.1", end, f"{local_port}:{self.port}"]

    @property
    def causes(self) -> Sequence[Cause]:
        """What kubectl's last words mean."""
        return (
            (
                r"context .*(does not exist|was not found)",
                CriticalError,
                "kubectl knows no such context",
                "Correct {setting}__CONTEXT, or give this process the right KUBECONFIG.",
            ),
            (
                r"\(Forbidden\)|is forbidden",
                CriticalError,
                "the cluster forbids it",
                "Grant get and list of pods and services, and create of pods/portforward, in the namespace.",
            ),
            (
                r"Unauthorized|must be logged in|getting credentials",
                CriticalError,
                "the cluster does not accept the credentials",
                "Log in again, or give this process the right KUBECONFIG.",
            ),
            (
                r"\(NotFound\)",
                TransientError,
                "the cluster has no such service or pod",
                "Correct {setting}__NAMESPACE, __SERVICE or __POD, or deploy it.",
            ),
            (
                r"does not have a (service )?port",
                CriticalError,
                "the service has no such port",
                "Correct {setting}__PORT.",
            ),
            (r"unable to listen|address already in use", TransientError, "the local port is taken", _TAKEN),
            (
                r"pod is not running|timed out waiting for the condition|no pods? ",
                TransientError,
                "its pod is not running",
                "See `kubectl get pods` and `kubectl describe pod`.",
            ),
            (
                r"lost connection to pod|error creating (error|forwarding) stream",
                TransientError,
                "the connection to the pod was lost",
                "It is opened again.",
            ),
            (
                r"no such host|server misbehaving",
                TransientError,
                "the host name of the cluster's API server is not known",
                "Check the context's server in KUBECONFIG, and the name servers.",
            ),
            (
                r"was refused|refused|Unable to connect to the server|i/o timeout|no route to host|TLS handshake",
                TransientError,
                "the cluster's API server cannot be reached",
                "Check the context's server in KUBECONFIG, VPN and network.",
            ),
        )


class SshTunnel(BaseModel):
    """A port behind an SSH server, by ``ssh -N -L``; keys and options are those of OpenSSH's own configuration.

    Args:
        host: Host, ``user@host``, or an alias of ``~/.ssh/config``.
        target: The host of the server, as seen from there.
        port: Its port.
        local_port: The port here; a free one unless said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Name
    target: Name = "127.0.0.1"
    port: Port = 8123
    local_port: LocalPort = 0

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return "the SSH tunnel"

    @property
    def name(self) -> str:
        """The host behind it."""
        return self.target

    def command(self, local_port: int) -> list[str]:
        """The command that keeps it open for as long as it runs; it asks nobody anything."""
        settings = ("BatchMode=yes", "ExitOnForwardFailure=yes", "ServerAliveInterval=5", "ServerAliveCountMax=3")
        options = [part for setting in (*settings, "ConnectTimeout=10") for part in ("-o", setting)]
        return ["ssh", "-N", *options, "-L", f"127.0.0.1:{local_port}:{self.target}:{self.port}", "--", self.host]

    @property
    def causes(self) -> Sequence[Cause]:
        """What ssh's last words mean."""
        return (
            (
                r"Permission denied|Too many authentication failures",
                CriticalError,
                "the SSH server does not accept the key",
                "Give this process a key that opens {setting}__HOST without a passphrase, or an agent.",
            ),
            (
                r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED",
                CriticalError,
                "the SSH server's host key is not known, or is another one",
                "Put the right key into known_hosts.",
            ),
            (
                r"Address already in use|cannot listen to port|Could not request local forwarding",
                TransientError,
                "the local port is taken",
                _TAKEN,
            ),
            (
                r"open failed",
                TransientError,
                "the SSH server cannot reach the port",
                "Check {setting}__TARGET and __PORT, as seen from there, and that its server allows forwarding.",
            ),
            (
                r"Could not resolve hostname",
                TransientError,
                "the SSH server's host name is not known",
                "Correct {setting}__HOST, or look at the name servers.",
            ),
            (
                r"Connection refused|timed out|No route to host|Network is unreachable",
                TransientError,
                "the SSH server cannot be reached",
                "Check {setting}__HOST, VPN and network.",
            ),
            (
                r"Connection (closed|reset)|Broken pipe|not responding|client_loop",
                TransientError,
                "the connection to the SSH server was lost",
                "It is opened again.",
            ),
        )


def explain(route: Route, place: str, setting: str, said: str, code: int | None) -> ErasureError:
    """The error for a route that ended, or never led anywhere.

    Args:
        route: The route.
        place: What is reached by it.
        setting: What its variables begin with.
        said: The command's last words.
        code: Its exit code; None where it still runs.
    """
    place = f"{place} through {route.title}"
    for pattern, kind, what, remedy in route.causes:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(place, what, remedy.format(setting=setting))
    by_hand = f"Try it by hand: {' '.join(route.command(route.local_port or 18_123))}"
    if code is None:
        return TransientError(place, f"nothing answers at the end of it, {route.name}", f"{by_hand}.")
    return TransientError(place, f"it ended with exit code {code}", f"{by_hand}.")
