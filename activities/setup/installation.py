"""Python, and the packages, as ``pyproject.toml`` asks for them."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from activities.contract import Finding
from activities.setup.contract import Result, State

DISTRIBUTION = "contributor-erasure"

SOURCE = Path(__file__).parents[2] / "pyproject.toml"
"""Says what is needed where the project runs from its source, and is not installed."""

_INSTALL = "Install what the lock says: python -m pip install --require-hashes -r requirements/runtime.txt"


def asked_for() -> tuple[str, list[str]] | None:
    """Which Python and which packages are asked for; None where neither metadata nor source say."""
    try:
        found = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        if not SOURCE.exists():
            return None
        project = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["project"]
        return project["requires-python"], project["dependencies"]
    return found["Requires-Python"], metadata.requires(DISTRIBUTION) or []


class PythonCheck:
    """The interpreter's version."""

    name = "python"

    async def run(self) -> Result:
        """Compares it with what is asked for."""
        version = platform.python_version()
        asked = asked_for()
        if asked is None or SpecifierSet(asked[0]).contains(version, prereleases=True):
            return Result(State.OK, version)
        finding = Finding(self.name, f"version {version} is not {asked[0]}", f"Run this by Python {asked[0]}.")
        return Result(State.FAILED, version, [finding])


class PackagesCheck:
    """The packages' versions, those of their extras included."""

    name = "packages"

    async def run(self) -> Result:
        """Compares them with what is asked for."""
        asked = asked_for()
        if asked is None:
            what = "what is needed is not known: there is neither metadata nor pyproject.toml"
            return Result(State.WARNED, findings=[Finding(self.name, what, f"{_INSTALL}.")])
        wanted = [Requirement(text) for text in asked[1]]
        findings = [finding for each in wanted if _applies(each) for finding in missing(each)]
        return Result(State.FAILED if findings else State.OK, f"{len(wanted)} packages", findings)


def missing(wanted: Requirement) -> Iterator[Finding]:
    """What of a requirement is not installed, or of another version.

    Args:
        wanted: A package, with the extras that are used of it.
    """
    try:
        there = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        yield Finding(wanted.name, "is not installed", f"{_INSTALL}.")
        return
    if not wanted.specifier.contains(there, prereleases=True):
        yield Finding(wanted.name, f"version {there} is not {wanted.specifier}", f"{_INSTALL}.")
    for text in metadata.requires(wanted.name) or []:
        further = Requirement(text)
        if any(_applies(further, extra) for extra in wanted.extras) and not _applies(further):
            yield from missing(further)


def _applies(wanted: Requirement, extra: str = "") -> bool:
    """Whether a requirement is one here, for an extra."""
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})
