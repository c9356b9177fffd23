"""``certificate`` and ``keys`` where something is wrong: exit codes, and what a user is told to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from starter.exit_codes import ExitCode
from tests.bench import bare_environment, starter

HEX = "0" * 64


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["certificate", "verify", "missing.json", "--public-key", HEX], ExitCode.BAD_INPUT, "missing.json cannot be"),
        (["certificate", "verify", "FILE", "--public-key", "missing.txt"], ExitCode.BAD_INPUT, "missing.txt cannot be"),
        (["certificate", "verify", "FILE", "--public-key", "FILE"], ExitCode.BAD_INPUT, "64 hexadecimal digits"),
        (["certificate", "verify", "FILE", "--public-key", HEX], ExitCode.FAILED, "file: is not JSON at character 0"),
        (["certificate", "includes", "FILE", "c-1", "--key", "short"], ExitCode.BAD_INPUT, "64 hexadecimal digits"),
        (["certificate", "includes", "FILE", "c-1", "--key", HEX], ExitCode.BAD_INPUT, "is no certificate"),
        (
            ["certificate", "includes", "FILE", "c-1", "--key", HEX, "--public-key", HEX],
            ExitCode.FAILED,
            "NOT genuine",
        ),
        (["keys", "list"], ExitCode.BAD_INPUT, "ERASURE_VAULT__BUCKET: is not set"),
    ],
)
async def test_what_cannot_be_checked_is_said_with_the_remedy(
    tmp_path: Path, arguments: list[str], code: ExitCode, says: str
) -> None:
    file = tmp_path / "no-certificate.json"
    file.write_text("nobody@example.org is no JSON\n")
    refused = await starter(bare_environment(), *(str(file) if word == "FILE" else word for word in arguments))
    assert refused.code == code, refused.stdout + refused.stderr
    assert says in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    assert "nobody@example.org" not in refused.stdout + refused.stderr
