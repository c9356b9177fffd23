"""Chromium without a window, out of an npm package that holds the program itself: tests look at reports with it.

No browser's own download server is asked, and nothing is installed: libraries and fonts come in the same package.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path

from devstack import cache
from devstack.process import Server, StackError, answers, free_port

VERSION = "153.0.0"
PACKAGE = f"@sparticuz/chromium@{VERSION}"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
"""Of the package, as its registry states it."""

ARCHIVES = ("al2023", "fonts")
"""Of the package's archives, the libraries that a bare system lacks, and the fonts."""

DECOMPRESS = """
const [from, to] = process.argv.slice(1)
stream.pipeline(fs.createReadStream(from), zlib.createBrotliDecompress(), fs.createWriteStream(to), (error) => {
  if (error) throw error
})
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""

OPTIONS = (
    "--headless",
    "--no-sandbox",  # root, as whom tests run in containers, has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-zygote",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-allow-origins=*",
)


class Chromium(Server):
    """Chromium, driven over its DevTools protocol."""

    name = "chromium"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port = free_port()

    def fetch(self) -> None:
        """Fetches the package."""
        self._program()

    def command(self) -> list[str]:
        """Has a profile of its own, and no fonts but the package's: pages look alike on every machine."""
        program = self._program()
        fonts = FONTS.format(fonts=program / "fonts", cache=self.folder / "fonts")
        (self.folder / "fonts.conf").write_text(fonts)
        profile = f"--user-data-dir={self.folder / 'profile'}"
        return [str(program / "chromium"), *OPTIONS, f"--remote-debugging-port={self.port}", profile, "about:blank"]

    def environment(self) -> dict[str, str]:
        """The package's libraries and fonts."""
        own = {
            "LD_LIBRARY_PATH": str(self._program() / "lib"),
            "FONTCONFIG_FILE": str(self.folder / "fonts.conf"),
            "HOME": str(self.folder),
        }
        return {**super().environment(), **own}

    def is_ready(self) -> bool:
        """Asks its version."""
        return answers(f"{self.url}/json/version")

    @property
    def url(self) -> str:
        """Where it says how it is driven."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> Mapping[str, str]:
        """Nothing: the product does not know of it."""
        return {}

    def _program(self) -> Path:
        return cache.folder(f"chromium-{VERSION}", "npm", "70 MB", _unpack)


def _unpack(place: Path) -> None:
    cache.run(["npm", "pack", PACKAGE, "--pack-destination", place])
    (package,) = place.glob("*.tgz")
    with package.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if found != SHA512:
        raise StackError(f"npm's {PACKAGE} is not the one that was pinned: its SHA-512 is {found}, not {SHA512}.")
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            if member.name.endswith(".br"):
                member.name = Path(member.name).name
                archive.extract(member, place, filter="data")
    for name in ("chromium", *(f"{archive}.tar" for archive in ARCHIVES)):
        cache.run(["node", "-e", DECOMPRESS, "--", place / f"{name}.br", place / name])
    for name in ARCHIVES:
        with tarfile.open(place / f"{name}.tar") as archive:
            archive.extractall(place, filter="data")
    (place / "chromium").chmod(0o755)
    for used in (package, *place.glob("*.br"), *place.glob("*.tar")):
        used.unlink()
