"""A scan shares the connection with an eraser, and no way to look for anybody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import activities.verification

ROOT = Path(activities.verification.__file__).parent

SCANS = ("scanners/*", "scanners/*/*", "content", "evidence", "needles", "surroundings", "spellings", "tally")

SHARED = r"connection|data_map|keyspace|cluster"
"""A store's connection, with what it is made of; and the data map's form, since it says which places are mapped."""

ERASERS = re.compile(rf"activities\.(stores\.\w+\.(?!({SHARED})\b)|masking|suspicion|sharing|identity_table)")
"""What erasers find and change people by."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_scan_imports_an_erasers_queries_nor_its_comparison_of_identities() -> None:
    modules = [path for glob in SCANS for path in ROOT.glob(f"{glob}.py")]
    assert len(modules) > 25
    shared = {path.name: [name for name in imports(path) if ERASERS.match(name)] for path in modules}
    assert {name: names for name, names in shared.items() if names} == {}
