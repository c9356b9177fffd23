"""ClickHouse's own HTTP server, out of the library libchdb (npm).

The library holds clickhouse-local's main(): run with ``SYSTEM START LISTEN HTTP`` it is a server, until SIGTERM.
This module is also the child process: ``python -m devstack.clickhouse LIBRARY ...``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from devstack import cache
from devstack.process import Server, answers, free_port

PACKAGE = "@chdb/lib-linux-x64-gnu"
VERSION = "26.7.3-stable.1"
"""Pinned: npm's `latest` lacks the HTTP handler."""

DATABASE = "platform"
"""Where the demo's platform keeps its tables."""

SERVER_SETTINGS = {
    "mutations_sync": "0",
    "implicit_select": "0",
    "storage_file_read_method": "pread",
    "allow_introspection_functions": "0",
}
"""Where the library's defaults differ from a server's."""

CONFIG = """<clickhouse>
<users_config>{users}</users_config>
<logger><level>warning</level><log>{folder}/server.log</log></logger>
<backups><allowed_path>{folder}/backups</allowed_path></backups>
</clickhouse>"""

USERS = """<clickhouse>
<profiles><default>{settings}</default></profiles><quotas><default/></quotas>
<users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota><access_management>1</access_management></default></users>
</clickhouse>"""

SERVE = "SYSTEM START LISTEN HTTP; SELECT * FROM file('/dev/stdin', 'LineAsString', 'line String')"
"""Serves for as long as its own standard input lasts, which is for ever."""


class ClickHouse(Server):
    """ClickHouse 26.7."""

    name = "clickhouse"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()

    def fetch(self) -> None:
        """Downloads the library."""
        self._library()

    def command(self) -> list[str]:
        """Writes the configuration anew; the data stay."""
        # `system` does not persist in clickhouse-local: what is left of it makes every flush of its logs fail
        shutil.rmtree(self.folder / "data/data/system", ignore_errors=True)
        settings = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in SERVER_SETTINGS.items())
        users, config = self.folder / "users.xml", self.folder / "config.xml"
        users.write_text(USERS.format(settings=settings))
        config.write_text(CONFIG.format(users=users, folder=self.folder))
        options = [f"--config-file={config}", f"--path={self.folder}/data", "--listen_host=127.0.0.1"]
        child = [sys.executable, "-m", "devstack.clickhouse", str(self._library())]
        return [*child, *options, f"--http_port={self.port}", "--query", SERVE]

    def environment(self) -> dict[str, str]:
        """Runs this module as a program: the package has to be found."""
        return {**super().environment(), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}

    def is_ready(self) -> bool:
        """Pings it."""
        return answers(f"http://127.0.0.1:{self.port}/ping", b"Ok.")

    @property
    def env(self) -> Mapping[str, str]:
        """Its address."""
        return {"ERASURE_CLICKHOUSE__URL": f"http://127.0.0.1:{self.port}/", "ERASURE_CLICKHOUSE__DATABASE": DATABASE}

    def _library(self) -> Path:
        return cache.folder(f"libchdb-{VERSION}", "npm", "178 MB", _download) / "libchdb.so"


def _download(place: Path) -> None:
    """npm checks the package against the registry's own digest."""
    cache.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=place)
    (archive,) = place.glob("*.tgz")
    cache.run(["tar", "xzf", archive, "--strip-components=1", "package/libchdb.so"], cwd=place)
    archive.unlink()


def _serve(library: str, arguments: Sequence[str]) -> None:
    """Runs the library's main() in this process, until it ends."""
    never_ends, _ = os.pipe()
    os.dup2(never_ends, 0)
    chdb = ctypes.CDLL(library)
    argv = [b"clickhouse", *(argument.encode() for argument in arguments)]
    chdb.chdb_query_cmdline.restype = ctypes.c_void_p
    chdb.chdb_result_error.restype = ctypes.c_char_p
    chdb.chdb_result_error.argtypes = [ctypes.c_void_p]
    result = chdb.chdb_query_cmdline(len(argv), (ctypes.c_char_p * (len(argv) + 1))(*argv, None))
    error = chdb.chdb_result_error(result) if result else b"no result"
    if error:
        sys.stderr.write(error.decode(errors="replace") + "\n")
        sys.stderr.flush()
    os._exit(1 if error else 0)  # skips the library's static destructors, which may crash


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
