"""A fetch that cannot reach PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from starter.exit_codes import ExitCode
from tests.bench import HasEnv
from tests.fetching.scenario import platform


async def test_a_postgresql_that_does_not_answer_is_named_and_no_file_is_written(stack: HasEnv, tmp_path: Path) -> None:
    async with platform(stack, tmp_path) as bench:
        bench.env["ERASURE_POSTGRES__DSN"] = "postgresql://somebody:a-secret@127.0.0.1:1/none"
        bench.change_map("max_attempts = 10", "max_attempts = 1")
        asked = ["--days-inactive", "365", "--min-projects", "1", "--max-contributors", "5"]
        async with bench.worker():
            refused = await bench.starter("fetch", *asked, "-o", str(tmp_path / "fetched.csv"), "--json")
    assert refused.code == ExitCode.UNREACHABLE
    assert "cannot be reached: connection refused" in refused.stderr
    assert "a-secret" not in refused.stderr
    assert refused.stdout == ""
    assert not (tmp_path / "fetched.csv").exists()
