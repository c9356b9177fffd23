"""What is found in bytes of any kind, wherever they are cut."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import secrets
import zipfile
from collections.abc import Callable, Iterable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.contract import Contributor
from activities.verification.content import OVERLAP, WINDOW, Content
from activities.verification.evidence import Evidence, Inside
from activities.verification.needles import Needles

NEEDLES = Needles([Contributor("12", ("bob@x.io",), ("w-471100",))])


def read(chunks: Iterable[bytes]) -> tuple[set[tuple[str, str]], list[str]]:
    """What is found, as kinds by place, and what is said to be sealed."""
    sealed: list[str] = []
    inside = Inside(Evidence(NEEDLES), "file")
    content = Content(inside.look, sealed.append)
    for chunk in chunks:
        content.feed(chunk)
    content.end()
    return {(place, kind) for place, kind, certain in inside.holds if certain}, sealed


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


MAIL = {("file", "email")}


@settings(max_examples=40)
@given(
    st.integers(WINDOW - 2 * OVERLAP, WINDOW + 2 * OVERLAP),
    st.sampled_from([997, 65_536, 10_000_000]),
    st.sampled_from(" \n,<\xff"),
)
def test_an_identity_is_found_wherever_windows_and_chunks_are_cut(at: int, size: int, around: str) -> None:
    edge = around.encode("latin-1")
    data = b"x" * at + edge + b"bob@x.io" + edge + b"y" * (WINDOW + 8 * OVERLAP)
    assert read(cut(data, size)) == (MAIL, [])


@settings(max_examples=40)
@given(st.integers(WINDOW - 2 * OVERLAP, WINDOW + 2 * OVERLAP))
def test_a_neighbour_is_not_found_wherever_windows_are_cut(at: int) -> None:
    data = b"ab " * (at // 3) + b"notbob@x.io bob@x.io.uk xw-471100" + b" cd" * (WINDOW // 2)
    assert read(cut(data, 65_536)) == (set(), [])


def zipped(method: int, streamed: bool = False) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        class Forward(io.BytesIO):
            def seek(self, offset: int, whence: int = 0) -> int:
                if streamed:
                    raise OSError
                return super().seek(offset, whence)

        packed = Forward()
        with zipfile.ZipFile(packed, "w", method) as archive:
            archive.writestr("empty/", b"")
            archive.writestr("first.txt", b"nothing")
            archive.writestr("second.txt", data)
            archive.writestr("third.txt", b"nothing PK\x03\x04 either")
        return packed.getvalue()

    return pack


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip twice over": lambda data: gzip.compress(b"first") + gzip.compress(data),
    "gzip in gzip": lambda data: gzip.compress(gzip.compress(data)),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": lambda data: zstandard.compress(b"first") + zstandard.compress(data),
    "zip": zipped(zipfile.ZIP_DEFLATED),
    "zip as a stream": zipped(zipfile.ZIP_DEFLATED, streamed=True),
    "zip of stored files": zipped(zipfile.ZIP_STORED),
    "gzip in zip": lambda data: zipped(zipfile.ZIP_DEFLATED)(gzip.compress(data)),
    "utf-16": lambda data: codecs.BOM_UTF16_BE + data.decode("latin-1").encode("utf-16-be"),
    "utf-16 without a mark": lambda data: data.decode("latin-1").encode("utf-16-le"),
    "utf-32": lambda data: codecs.BOM_UTF32_LE + data.decode("latin-1").encode("utf-32-le"),
}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_what_is_packed_is_opened(kind: str, size: int) -> None:
    body = secrets.token_hex(2_000).encode() + b" bob@x.io " + secrets.token_hex(2_000).encode()
    assert read(cut(PACKED[kind](body), size)) == (MAIL, [])


@pytest.mark.parametrize(
    ("data", "sealed"),
    [
        (gzip.compress(b"bob" * 100)[:-12], "gzip that is cut off"),
        (gzip.compress(secrets.token_bytes(3_000))[:1_500] + b"\0" * 2_000, "gzip that is damaged"),
        (zipped(zipfile.ZIP_DEFLATED)(b"x" * 99)[:120], "ZIP that is cut off"),
        (zipped(zipfile.ZIP_LZMA)(b"x" * 99), "ZIP of a rare kind"),
        (zipped(zipfile.ZIP_STORED, streamed=True)(b"x" * 99), "ZIP of a rare kind"),
        (b"PGDMP\x01\x0e" + b"\0" * 99, "pg_dump's custom format"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"bob@x.io")))), "what is packed too deep"),
    ],
    ids=["cut gzip", "damaged gzip", "cut zip", "rare zip", "stored stream", "custom dump", "too deep"],
)
def test_what_cannot_be_opened_is_said(data: bytes, sealed: str) -> None:
    assert read([data]) == (set(), [sealed])


def test_what_comes_before_damage_is_searched_all_the_same() -> None:
    plain = b"bob@x.io " + secrets.token_bytes(3_000)
    for packed in (gzip.compress(plain), zipped(zipfile.ZIP_DEFLATED)(plain)):
        assert read([packed[:2_000]])[0] == MAIL
        assert read([packed[:2_000] + b"\xff" * 99_000])[0] == MAIL


DUMP = b"""--
-- PostgreSQL database dump
--
COPY public.payments (id, "Contributor", amount) FROM stdin;
1\t12\t5
12\t13\t6
\\.

COPY public.numbers (n) FROM stdin;
12
\\.
"""


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (DUMP, 'file: public.payments."Contributor"'),
        (b"n;worker_id;x\r\n12;1;2\r\n1;12;3\r\n", "file"),
        (b'"n","userId"\n"1","12"\n', "file"),
        (b'{"a": {"workers": [13, 12]}}', "file"),
        (b'{"n": 12}\n{"worker_id":12}\n', "file"),
        (b"<list><n>12</n><worker>12</worker></list>", "file"),
        (b"GET /x?n=12&worker_id=12 HTTP/1.1", "file"),
        (b"n: 12\nworker: 12\n", "file"),
    ],
    ids=["dump", "csv", "quoted csv", "json", "lines of json", "xml", "address", "yaml"],
)
def test_a_short_id_is_found_under_a_name_of_people_and_nowhere_else(data: bytes, place: str) -> None:
    assert read([data])[0] == {(place, "contributor_id")}
    elsewhere = data
    for name in (b'"Contributor"', b"worker_id", b"workers", b"worker", b"userId"):
        elsewhere = elsewhere.replace(name, b"other")
    assert read([elsewhere]) == (set(), [])
