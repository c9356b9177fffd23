"""``python -m devstack.compose FILE``: checks a compose file with the specification's own reference implementation.

No engine is needed: compose-go is the library that Docker Compose itself loads files with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from devstack import cache
from devstack.process import StackError

VERSION = "v2.16.2"

VARIABLES = {"ERASURE_VAULT__KEY": "only-to-check-the-file"}
"""What the file demands of its user."""


def check(path: Path) -> list[str]:
    """Checks a compose file.

    Args:
        path: The file.

    Returns:
        What is wrong with it: what the specification forbids, images that are not pinned, ports that others reach,
        and servers without a health check.

    Raises:
        StackError: The validator cannot be built.
    """
    module = f"github.com/compose-spec/compose-go/v2/cmd@{VERSION}"
    folder = cache.folder(f"compose-go-{VERSION}", "go", "half a minute", lambda place: cache.go_install(module, place))
    checked = subprocess.run(
        [folder / "cmd", "--format", "json", path.name],
        cwd=path.resolve().parent,
        env={**os.environ, **VARIABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode != 0:
        return [(checked.stderr or checked.stdout).strip()]
    faults: list[str] = []
    for name, service in json.loads(checked.stdout)["services"].items():
        faults += [f"{name}: {fault}" for fault in _faults(service)]
    return faults


def _faults(service: dict[str, Any]) -> list[str]:
    faults = []
    image = service.get("image", "")
    tag = image.rpartition(":")[2] if ":" in image else "latest"
    if tag == "latest":
        faults.append(f"image {image!r} is not pinned")
    faults += [
        f"port {port.get('published')} is open to other machines"
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    ]
    if service.get("ports") and "healthcheck" not in service:
        faults.append("is a server without a health check")
    return faults


def main(arguments: list[str]) -> int:
    """Checks the files named; prints what is wrong."""
    faults = [f"{argument}: {fault}" for argument in arguments for fault in check(Path(argument))]
    sys.stderr.write("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as error:
        sys.exit(str(error))
