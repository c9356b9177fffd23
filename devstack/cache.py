"""Programs in the user's cache directory: fetched or built once a version, whoever asks first."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from devstack.process import StackError, launch

console = Console(stderr=True)

REMEDIES = {
    "go": "install Go 1.24 or newer (https://go.dev/dl, or your system's package golang)",
    "mvn": "install Apache Maven 3.8 or newer (your system's package maven; it brings Java)",
    "npm": "install Node.js 20 or newer with npm (https://nodejs.org, or your system's packages nodejs and npm)",
}


def root() -> Path:
    """The cache directory of all programs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "contributor-erasure"


def folder(name: str, tool: str, duration: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of a program, fetched if it is not there.

    Args:
        name: Program and version.
        tool: What fetching needs.
        duration: How long it takes, for people.
        fetch: Fills an empty folder.

    Raises:
        StackError: The tool is missing, or fetching failed.
    """
    place = root() / name
    if place.exists():
        return place
    require(tool, name)
    root().mkdir(parents=True, exist_ok=True)
    with _locked(root() / f".{name}.lock"):
        if place.exists():
            return place
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=root(), prefix=".part-") as part:
            with console.status(f"{name}: fetching or building, {duration}, once") as status:
                filled = Path(part) / "filled"
                filled.mkdir()
                status.update(f"{name}: fetching or building, {duration}, once (log: {root() / 'fetch.log'})")
                fetch(filled)
            filled.rename(place)
        console.print(f"{name}: ready after {time.monotonic() - began:.0f} s", highlight=False)
    return place


def require(tool: str, wanted_for: str) -> None:
    """Makes sure that a tool is on PATH.

    Raises:
        StackError: It is not; says how to install it.
    """
    if shutil.which(tool) is None:
        raise StackError(f"`{tool}` is not on PATH, and {wanted_for} needs it: {REMEDIES[tool]}.")


def run(command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Runs a step of a build; it ends with us, and its output goes to the cache's ``fetch.log``.

    Raises:
        StackError: It failed.
    """
    log = root() / "fetch.log"
    with log.open("ab") as file:
        process = launch(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:  # a Ctrl-C too: no build outlives us; it is raised again
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code != 0:
        tail = log.read_text(errors="replace")[-1500:]
        raise StackError(f"{Path(command[0]).name} failed with exit code {code}; the end of {log}:\n{tail}")


def go_install(module: str, place: Path) -> None:
    """Builds a Go program into a folder."""
    run(
        ["go", "install", "-ldflags=-s -w", module],
        env={"GOBIN": str(place), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOTOOLCHAIN": "local"},
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
