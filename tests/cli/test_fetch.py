"""What `fetch` refuses before anybody is looked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starter.exit_codes import ExitCode
from tests.bench import bare_environment, starter
from tests.processes import ROOT


async def test_what_makes_no_sense_is_refused_with_what_to_do_and_leaves_no_file(tmp_path: Path) -> None:
    bad, mapless = tmp_path / "bad.csv", tmp_path / "mapless.toml"
    bad.write_text("contributor_id\nc-1\nann@example.com\n")
    text = (ROOT / "erasure.toml").read_text()
    mapless.write_text(text[: text.index("[fetch]")])
    out = tmp_path / "ids.csv"
    asked = ["--days-inactive", "365", "--min-projects", "1", "--max-contributors", "5"]
    cases = [
        ([*asked], "Name the file to write: -o ids.csv"),
        (["-o", str(out)], "--days-inactive, --min-projects and --max-contributors are all needed"),
        ([*asked, "-o", str(tmp_path)], "is a folder"),
        ([*asked, "-o", str(out), "--max-projects", "0"], "--max-projects is less than --min-projects"),
        ([*asked, "-o", str(out), "--as-of", "2999-01-01"], "--as-of lies in the future"),
        ([*asked, "-o", str(out), "--erase"], "erase FILE --require-approval"),
        ([*asked, "-o", str(out), "--schedule", "0 2 * * *"], "A schedule writes no file"),
        ([*asked, "-o", str(out), "--exclude", str(bad)], "line 3: the contributor id is not of the form"),
        ([*asked, "-o", str(out), "--config", str(mapless)], "has no table [fetch]. Add one"),
    ]
    for (_, named), refused in zip(
        cases,
        await asyncio.gather(*(starter(bare_environment(), "fetch", *arguments) for arguments, _ in cases)),
        strict=True,
    ):
        assert (refused.code, named in refused.stderr) == (ExitCode.BAD_INPUT, True), refused.stderr
        assert "ann@example.com" not in refused.stderr
    assert not out.exists()
