"""``python -m devstack.compose FILE``: checks a compose file with the specification's own reference implementation.

No engine is needed: compose-go is the library that Docker Compose itself loads files with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from devstack import cache
from devstack.process import StackError

VERSION = "v2.16.2"

REQUIRED = re.compile(r"\$\{\w+:\?[^}]*\}")
"""A variable that the user has to set; compose-go's own command does not read its environment."""


def check(path: Path) -> list[str]:
    """Checks a compose file.

    Args:
        path: The file.

    Returns:
        What is wrong with it: what the specification forbids, services that are not there, images that are not pinned,
        ports that others reach, and servers without a health check.

    Raises:
        StackError: The validator cannot be built.
    """
    module = f"github.com/compose-spec/compose-go/v2/cmd@{VERSION}"
    folder = cache.folder(f"compose-go-{VERSION}", "go", "half a minute", lambda place: cache.go_install(module, place))
    with tempfile.TemporaryDirectory() as copy:
        (Path(copy) / path.name).write_text(REQUIRED.sub("set-by-the-user", path.read_text()))
        command = [str(folder / "cmd"), "--format", "json", path.name]
        checked = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        return [(checked.stderr or checked.stdout).strip()]
    services = json.loads(checked.stdout)["services"]
    return [f"{name}: {fault}" for name, service in services.items() for fault in _faults(service, services)]


def _faults(service: dict[str, Any], services: dict[str, Any]) -> list[str]:
    faults = [
        f"depends on {other}, which is no service" for other in service.get("depends_on", {}) if other not in services
    ]
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
