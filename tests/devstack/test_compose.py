"""The compose file is checked by the specification's reference implementation, and by what we ask of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.compose import check, main
from tests.processes import ROOT


def test_the_projects_own_file_is_sound() -> None:
    assert check(ROOT / "docker-compose.yml") == []


@pytest.mark.parametrize(
    ("service", "fault"),
    [
        ("image: postgres:18.4\n    imagee: x", "imagee"),
        ("image: postgres:18.4\n    depends_on: [nobody]", "depends on nobody"),
        ("image: postgres:${VERSION", "invalid interpolation format"),
        ("image: postgres", "is not pinned"),
        ("image: postgres:latest", "is not pinned"),
        (
            "image: postgres:18.4\n    healthcheck: {test: [CMD, pg_isready]}\n    ports: ['5432:5432']",
            "open to other machines",
        ),
        ("image: postgres:18.4\n    ports: ['127.0.0.1:5432:5432']", "without a health check"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, service: str, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text(f"services:\n  database:\n    {service}\n")
    assert main([str(file)]) == 1
    assert fault in capsys.readouterr().err
