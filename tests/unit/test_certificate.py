"""A certificate is checked from its bytes and a public key: whatever is altered is found, and named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from activities.certificate import canonical, chain, document, history, people
from activities.certificate.chain import Entry
from activities.certificate.contents import members
from activities.contract import Finding, Tally
from activities.messages import Verification
from activities.status import BatchStatus, CommandKind, CommandRecord, Outcome, PhaseState, PhaseStatus
from activities.vault.signing import key_id
from tests.bench import bare_environment
from tests.processes import ROOT

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
INCLUSION = b"i" * 32


def status() -> BatchStatus:
    """A batch of two phases that was erased with a warning, after a pause."""
    phases = [
        PhaseStatus(
            store,
            critical=True,
            state=PhaseState.DONE,
            before={f"{store} 'ä\u2028\U0001f600": 7},
            after={},
            erased={f"{store} 'ä\u2028\U0001f600": Tally(matched=7, changed=5, already_clean=1, conflicted=1)},
            backups={"000000": "ab" * 32},
            started_at=START + timedelta(seconds=number + 1),
            ended_at=START + timedelta(seconds=number + 2),
        )
        for number, store in enumerate(("postgres", "redis"))
    ]
    phases[1].warnings.append(Finding("redis", "1 record still holds an identity of the batch", "`retry` the phase."))
    return BatchStatus(
        "erase-1",
        "dana",
        "d" * 64,
        contributors=3,
        duplicates=1,
        phases=phases,
        outcome=Outcome.WARNED,
        commands=[CommandRecord(CommandKind.PAUSE, "eve", "lunch", START + timedelta(seconds=2))],
        started_at=START,
        ended_at=START + timedelta(seconds=9),
    )


def issued(known: BatchStatus, earlier: list[chain.Link] | None = None, kind: str = "certified") -> bytes:
    body = members(known, {"postgres": 1})
    digests = sorted(people.digest(people.receipt(INCLUSION, name), name) for name in ("c-1", "c-2"))
    body["contributors"] = {"key": people.name_of(INCLUSION), "digests": digests}
    news = chain.missing(earlier or [], history.entries(known))
    return document.make(body, earlier or [], news, Entry("2026-03-01T13:00:00.000000Z", kind), KEY)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.LARGEST, canonical.LARGEST) | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=12,
)
"""JSON values that have a canonical form."""

FILE = issued(status())


def check(file: bytes, *keys: Ed25519PrivateKey) -> list[Finding]:
    return document.check(file, [key.public_key() for key in keys or (KEY,)])


def places(file: bytes) -> list[str]:
    return [fault.place for fault in check(file)]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path to every value that holds no others."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inside:
        yield from leaves(entry, (*path, key))
    if not inside or not value:
        yield path


LEAVES = list(leaves(json.loads(FILE)))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def written(value: Any) -> bytes:
    return canonical.encode(value) + b"\n"


def test_a_certificate_as_it_was_issued_is_genuine_for_its_key_alone() -> None:
    assert check(FILE) == []
    assert check(FILE, OTHER, KEY) == [], "among several keys"
    (fault,) = check(FILE, OTHER)
    assert fault.place == "signature"
    assert key_id(KEY.public_key()) in fault.what


@given(path=st.sampled_from(LEAVES), new=st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=9)))
def test_whatever_value_is_altered_is_refused_and_named(path: tuple[str | int, ...], new: Any) -> None:
    changed = json.loads(FILE)
    old = at(changed, path)
    if canonical.encode(old) == canonical.encode(new):
        return
    at(changed, path[:-1])[path[-1]] = new
    found = check(written(changed))
    assert found, path
    told = " ".join(f"{fault.place} {fault.what}" for fault in found)
    member = str(path[1])
    assert (f"event {path[2]} " in told or f"events.{path[2]}" in told) if member == "events" else member in told, told
    assert path[0] == "signature" or "signature" in told or "is not of the form" in told


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: ".".join(str(part) for part in path))
def test_every_value_counts(path: tuple[str | int, ...]) -> None:
    changed = json.loads(FILE)
    at(changed, path[:-1])[path[-1]] = "altered"
    assert check(written(changed))
    dropped = json.loads(FILE)
    del at(dropped, path[:-1])[path[-1]]
    assert check(written(dropped))
    more = json.loads(FILE)
    parent = at(more, path[:-1])
    parent.append("more") if isinstance(parent, list) else parent.update(more="more")
    assert check(written(more))


@given(where=st.integers(0, len(FILE) - 1), new=st.binary(max_size=3), width=st.integers(0, 3))
def test_whatever_byte_is_altered_put_in_or_cut_out_is_found(where: int, new: bytes, width: int) -> None:
    changed = FILE[:where] + new + FILE[where + width :]
    assert changed == FILE or check(changed)


@given(st.binary(max_size=64) | values.map(lambda value: json.dumps(value).encode() + b"\n"))
def test_what_is_no_certificate_is_refused_without_an_error(content: bytes) -> None:
    assert check(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (FILE[:-1], "cut or altered"),
        (FILE + b"\n", "reformatted or altered"),
        (json.dumps(json.loads(FILE), indent=2).encode() + b"\n", "reformatted or altered"),
        (FILE.replace(b'"complete":false', b'"complete":true,"complete":false'), "reformatted or altered"),
        (FILE.replace(b'"eve"', b'"\\u0065ve"'), "reformatted or altered"),
        (FILE.replace(b'"duplicates":1', b'"duplicates":1.0'), "not whole"),
        (b"\xff\n", "not UTF-8 at byte 0"),
        (b"{\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b'{"certificate":{},"signature":{}}\n', "certificate.format"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(content: bytes, says: str) -> None:
    assert says in " ".join(str(fault) for fault in check(content))


def test_an_event_that_is_dropped_put_in_or_moved_breaks_the_chain() -> None:
    whole = json.loads(FILE)
    events = whole["certificate"]["events"]
    forged = chain.extend("erase-1", [], [Entry("2026-03-01T12:00:01.500000Z", "approve", "mallory")])[0]
    for number, changed in (
        (1, [events[0], *events[2:]]),
        (1, [events[0], forged, *events[1:]]),
        (1, [events[0], events[2], events[1], *events[3:]]),
        (0, events[1:]),
    ):
        whole["certificate"]["events"] = changed
        assert any(fault.what.startswith(f"event {number} ") for fault in check(written(whole)))
    whole["certificate"]["events"] = events[:-1]
    assert "the end was cut off" in str(check(written(whole))[0])


def test_who_computes_every_digest_anew_still_lacks_the_key() -> None:
    forged = status()
    forged.phases[0].erased["postgres 'ä\u2028\U0001f600"] = Tally(matched=7, changed=7)
    signed = json.loads(issued(forged))
    signed["signature"] = json.loads(FILE)["signature"]
    assert [fault.place for fault in check(written(signed))] == ["signature"]


def test_the_events_tell_the_whole_story_once_and_a_later_certificate_only_adds() -> None:
    known = status()
    first = json.loads(FILE)["certificate"]
    assert [event["kind"] for event in first["events"]] == [
        "submitted",
        "phase began",
        "pause",
        "phase ended",
        "phase began",
        "phase ended",
        "ended",
        "certified",
    ]
    assert (first["events"][2]["who"], first["events"][2]["why"]) == ("eve", "lunch")
    assert first["events"][3]["detail"]["conflicted"] == 1
    assert chain.missing(first["events"], history.entries(known)) == [], "nothing is told twice"
    known.commands.append(CommandRecord(CommandKind.SHRED, "dana", "done", START + timedelta(hours=1)))
    known.shredded = True
    file = issued(known, first["events"], "shredded")
    second = json.loads(file)["certificate"]
    assert check(file) == []
    assert [event["kind"] for event in second["events"][len(first["events"]) :]] == ["shred", "shredded"]
    assert document.continues(second, first)
    assert not document.continues(first, second)
    assert history.why_shredded(known) == "dana asked for it"
    assert second["shredding"]["state"] == "shredded"


def test_counts_stand_in_it_by_store_and_place() -> None:
    (postgres, redis) = json.loads(FILE)["certificate"]["stores"]
    assert postgres["counts"] == {"matched": 7, "changed": 5, "already_clean": 1, "conflicted": 1, "held": 1}
    assert (redis["counts"]["held"], redis["places"][0]["before"], redis["places"][0]["after"]) == (0, 7, 0)
    assert redis["warnings"][0]["place"] == "redis"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (None, "not verified"),
        (Verification("mapped", START), "not proven"),
        (Verification("deep", START, proven=["redis"]), "proven"),
        (
            Verification("deep", START, ["redis"], {}, [Finding("s3", "x", "y")]),
            "proven, but for the places that are named",
        ),
        (Verification("deep", START, ["redis"], {"s3 bucket": 1}), "residuals found"),
    ],
)
def test_it_claims_no_more_than_was_proven(found: Verification | None, verdict: str) -> None:
    known = status()
    known.verification = found
    section = json.loads(issued(known))["certificate"]["verification"]
    assert section["verdict"] == verdict
    if found is None:
        assert "nobody but the eraser has looked" in section["not_proven"][0]["what"]
    else:
        assert (section["depth"], section["at"]) == (found.depth, "2026-03-01T12:00:00.000000Z")


@given(st.text(), st.text())
def test_a_receipt_is_good_for_one_contributor_and_the_certificate_alone_for_none(one: str, other: str) -> None:
    receipt = people.receipt(INCLUSION, one)
    assert people.digest(receipt, one) == people.digest(people.receipt(INCLUSION, one), one)
    if one != other:
        assert people.digest(receipt, other) != people.digest(people.receipt(INCLUSION, other), other)
    assert people.digest(people.receipt(b"j" * 32, one), one) != people.digest(receipt, one), "another batch's key"


@given(values)
def test_the_canonical_form_reads_back_and_does_not_depend_on_order(value: Any) -> None:
    file = canonical.encode(value)
    assert canonical.decode(file) == value
    if isinstance(value, dict):
        assert canonical.encode(dict(reversed(value.items()))) == file


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    value = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": '€$\x0f\nA\'B"\\\\"/'}
    assert canonical.encode(value).decode() == (
        '{"\\r":2,"1":4,"\x80":6,"ö":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/","€":1,"\U0001f600":5,"\ufb33":3}'
    )
    for bad in (1.5, canonical.LARGEST + 1, b"x", {"a": {1: 2}}, ["\ud800"]):
        with pytest.raises((ValueError, AttributeError)):
            canonical.encode(bad)


def test_the_check_that_is_documented_needs_nothing_of_this_project(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "certificate.md").read_text(), re.DOTALL)
    public = KEY.public_key().public_bytes_raw().hex()
    altered = FILE.replace(b'"operator":"dana"', b'"operator":"dora"')
    for name, content, code in (("genuine", FILE, 0), ("altered", altered, 1)):
        (tmp_path / name).write_bytes(content)
        ran = subprocess.run(
            [sys.executable, "-I", "-c", script, str(tmp_path / name), public],
            cwd=tmp_path,
            env=bare_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stderr
        assert ("genuine: erase-1" in ran.stdout) is (code == 0)
