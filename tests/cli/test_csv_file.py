"""The operator's CSV, in every dialect that people have, and in every way that it can be wrong."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starter.csv_file import CsvError, CsvFile, Row

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ids.csv"


def read(path: Path, content: str | bytes) -> list[Row]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = CsvFile(path, ID_PATTERN)
    file.inspect()
    return list(file.rows())


def ids(path: Path, content: str | bytes) -> list[str]:
    return [row.contributor_id for row in read(path, content)]


def refused(path: Path, content: str | bytes) -> CsvError:
    with pytest.raises(CsvError) as caught:
        read(path, content)
    return caught.value


@pytest.mark.parametrize("header", ["contributor_id", "ID", "Contributor Id", "user-id", " uuid "])
def test_the_id_column_is_known_by_name_or_alias(path: Path, header: str) -> None:
    assert ids(path, f"{header}\n12\n123\n") == ["12", "123"]


def test_a_bare_column_needs_no_header(path: Path) -> None:
    assert ids(path, "12\n007\n") == ["12", "007"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects_and_encodings_read_the_same(path: Path, delimiter: str, ending: str, encoding: str) -> None:
    lines = ["e-mail", "id", "worker id"], ["José@x.io", "12", "w-1"], ["", "123", ""]
    content = ending.join(delimiter.join(line) for line in lines).encode(encoding)
    (one, other) = read(path, content)
    assert (one.contributor_id, one.emails, one.worker_ids) == ("12", ("José@x.io",), ("w-1",))
    assert (other.contributor_id, other.emails, other.worker_ids) == ("123", (), ())


def test_quoted_cells_may_hold_delimiters_newlines_and_quotes(path: Path) -> None:
    rows = read(path, 'id,note,email\n"12","a, ""b""\nc",bob@x.io\n123,,\n')
    assert [(row.contributor_id, row.line) for row in rows] == [("12", 2), ("123", 4)]


def test_blank_lines_and_surrounding_blanks_do_not_count(path: Path) -> None:
    assert ids(path, "\n id \n\n 12 \n \n123") == ["12", "123"]


def test_a_cell_may_hold_several_addresses(path: Path) -> None:
    (row,) = read(path, 'id,email\n12,"bob@x.io; bob@y.io,bob@x.io"\n')
    assert row.emails == ("bob@x.io", "bob@y.io")


def test_duplicates_are_folded_and_counted(path: Path) -> None:
    path.write_text("id,email\n12,bob@x.io\n12,bob@x.io\n12,\n13,\n12,other@x.io\n")
    file = CsvFile(path, ID_PATTERN)
    summary = file.inspect()
    assert (summary.contributors, summary.duplicates) == (2, 3)
    assert [(row.contributor_id, row.emails) for row in file.rows()] == [
        ("12", ("bob@x.io",)),
        ("13", ()),
        ("12", ("other@x.io",)),
    ]


def test_columns_that_are_not_used_are_named_unless_their_name_may_be_data(path: Path) -> None:
    path.write_text("id,country,bob@x.io\n12,DE,x\n")
    assert CsvFile(path, ID_PATTERN).inspect().ignored_columns == ["country", "number 3"]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("id\n12\n\n!!\n", 4, "identity.id_pattern"),
        ("id,email\n12,a@b\n,x@y\n", 3, "contributor id is empty"),
        ("id,email\n12\n", 2, "1 cells where the first line has 2"),
        ("id,email\n12,nobody\n", 2, "addresses holds something that is none"),
        ('id,email\n12,a@b\n13,"a@b\n14,a@b\n', 3, "a quote is opened here and not closed"),
        ('id,email\n12,"a"b\n', 2, "quotes are broken"),
        ("id,id\n12,13\n", 1, "two columns are both contributor_id"),
        ("email,name\na@b,x\n", 1, "no column of ids"),
        ("12,bob@x.io\n", 1, "no column of ids"),
        ("id\n12\0\n", 2, "NUL"),
        ("id\n12\nJos\xe9\n".encode("latin-1"), 3, "not UTF-8"),
        ('id\n12\n"' + "x" * 200_000, 3, "a quote is opened here and not closed"),
    ],
)
def test_a_bad_line_is_refused_by_number(path: Path, content: str | bytes, line: int, said: str) -> None:
    error = refused(path, content)
    assert error.problems[0].line == line
    assert said in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"id\n", "no contributor"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (b"\x1f\x8brest", "compressed"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_with_a_remedy(path: Path, content: bytes, said: str) -> None:
    assert said in str(refused(path, content))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CsvError, match="No such file"):
        CsvFile(tmp_path / "none.csv", ID_PATTERN).inspect()
    with pytest.raises(CsvError, match="is a folder"):
        CsvFile(tmp_path, ID_PATTERN).inspect()


def test_the_first_problems_are_listed_and_the_others_counted(path: Path) -> None:
    error = refused(path, "id\n" + "!\n" * 50 + "12\n")
    assert (len(error.problems), error.more) == (20, 30)
    assert "and 30 more" in str(error)


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    path.write_text("id\n12\n")
    file = CsvFile(path, ID_PATTERN)
    file.inspect()
    path.write_text("id\n13\n")
    with pytest.raises(CsvError, match="changed while it was read"):
        list(file.rows())


names = st.from_regex(ID_PATTERN, fullmatch=True)
addresses = st.lists(st.sampled_from(["a@b.c", "O'x@y.z", "ü@b.c", 'q"@x.y']), max_size=2, unique=True)
people = st.lists(st.tuples(names, addresses), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    people, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8-sig", "utf-16"])
)
def test_the_digest_is_of_the_content_and_not_of_the_dialect(
    path: Path, people: list[tuple[str, list[str]]], delimiter: str, ending: str, encoding: str
) -> None:
    def digest(delimiter: str, ending: str, encoding: str) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
        writer.writerow(["contributor_id", "email"])
        writer.writerows((name, " ".join(emails)) for name, emails in people)
        path.write_bytes(text.getvalue().encode(encoding))
        return CsvFile(path, ID_PATTERN).inspect().digest

    assert digest(delimiter, ending, encoding) == digest(",", "\n", "utf-8")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: ("id,email\n" + text).encode("utf-8", "replace"))
)
def test_whatever_the_bytes_the_end_is_a_summary_or_a_clear_refusal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    file = CsvFile(path, ID_PATTERN)
    try:
        file.inspect()
    except CsvError as error:
        said = str(error.problems[0])
    else:
        said = "" if list(file.rows()) else "no rows after all"
    assert said.strip() == said
    assert said != "no rows after all"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", categories=["L", "S", "Po"]), min_size=4, max_size=30))
def test_what_is_said_of_a_bad_line_never_quotes_it(path: Path, secret: str) -> None:
    said = str(refused(path, "id,email\n" + f"!{secret.replace(chr(34), '')},x\n" + "12\n"))
    assert secret not in said.replace(str(path), "")


MEASURE = """
import re, sys
from activities import stores
from starter.erase import erase
stores.kinds()  # with erase, the whole program as it runs
from starter.csv_file import CsvFile
file = CsvFile(__import__("pathlib").Path(sys.argv[1]), r"[A-Za-z0-9-]+")
assert file.inspect().contributors == 1_000_000
assert sum(1 for _ in file.rows()) == 1_000_000
# not ru_maxrss: after a fork that begins with the parent's
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


def test_a_million_rows_fit_into_300_megabytes(path: Path) -> None:
    with path.open("w") as file:
        file.write("contributor_id,email,worker_id\n")
        file.writelines(f"c-{n},person{n}@example.com,w-{n}\n" for n in range(1_000_000))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=280
    )
    assert int(done.stdout) < 300
