"""Formats that pack bytes, or hide them: each is opened as it comes, in little memory, and told by how it begins."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

_PIECE = 1024
"""Bytes that are unpacked at once: zstandard has no bound for what comes of them."""

SEALED = {
    b"%PDF": "PDF",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"PGDMP": "pg_dump's custom format",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
    b"\x04\x22\x4d\x18": "LZ4",
    b"age-encryption": "age",
    b"Salted__": "OpenSSL",
    b"-----BEGIN PGP": "PGP",
    b"\x85\x01": "PGP",
    b"\x85\x02": "PGP",
}
"""How formats begin that hide their text."""


class Unreadable(Exception):  # noqa: N818 it is an answer, caught where the content is opened
    """Packed content that cannot be opened; the message says why."""


class Sink(Protocol):
    """What bytes are pushed into."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""

    def end(self) -> None:
        """Says that no bytes follow."""


Inner = Callable[[], Sink]
"""Makes what takes the bytes of one packed file."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Packed:
    """One file in a stream of one format or more, each after the other: gzip, bzip2, xz, Zstandard."""

    def __init__(self, kind: str, make: Callable[[], _Decompressor], inner: Inner) -> None:
        self._kind = kind
        self._make = make
        self._decompressor = make()
        self._inner = inner()

    def feed(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), _PIECE):
            self._unpack(chunk[start : start + _PIECE])

    def end(self) -> None:
        self._inner.end()
        if not self._decompressor.eof:
            raise Unreadable(f"{self._kind} that is cut off")

    def _unpack(self, piece: bytes) -> None:
        while piece:
            if self._decompressor.eof:
                piece = piece.lstrip(b"\0")  # padding
                if not piece:
                    return
                self._decompressor = self._make()
            try:
                plain = self._decompressor.decompress(piece)
            except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, EOFError):
                self._inner.end()  # what came before is searched all the same
                raise Unreadable(f"{self._kind} that is damaged") from None
            if plain:
                self._inner.feed(plain)
            piece = self._decompressor.unused_data if self._decompressor.eof else b""


_ENTRY = struct.Struct("<4sHHHHHIIIHH")
"""A ZIP file's local header."""


class _Zip:
    """A ZIP file, read from its beginning to its end by the header of each entry, without its directory."""

    def __init__(self, inner: Inner) -> None:
        self._make = inner
        self._buffer = bytearray()
        self._entry: Sink | None = None
        self._decompressor: _Decompressor | None = None
        self._left = 0
        self._done = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while not self._done and (self._in_entry() if self._entry else self._at_header()):
            pass

    def end(self) -> None:
        if self._entry is not None:
            self._entry.end()
        if not self._done:
            raise Unreadable("ZIP that is cut off")

    def _at_header(self) -> bool:
        """Finds the next entry; false where more bytes are needed."""
        at = self._buffer.find(b"PK")
        if at < 0 or len(self._buffer) - at < _ENTRY.size:
            del self._buffer[: max(0, len(self._buffer) - _ENTRY.size)]
            return False
        del self._buffer[:at]
        if self._buffer.startswith((b"PK\x01\x02", b"PK\x05\x06")):
            self._done = True
            self._buffer.clear()
            return False
        if not self._buffer.startswith(
            b"PK\x03\x04"
        ):  # what follows an entry whose size was not known at its beginning
            del self._buffer[:2]
            return True
        _, _, flags, method, _, _, _, packed, _, name_size, extra_size = _ENTRY.unpack_from(self._buffer)
        body = _ENTRY.size + name_size + extra_size
        if len(self._buffer) < body:
            return False
        name = bytes(self._buffer[_ENTRY.size : _ENTRY.size + name_size])
        del self._buffer[:body]
        if flags & 1:
            raise Unreadable("encrypted ZIP")
        if method not in (0, 8) or (method == 0 and (flags & 8 or packed == 0xFFFFFFFF)):
            raise Unreadable("ZIP of a rare kind")
        names = self._make()
        names.feed(name)
        names.end()
        self._entry = self._make()
        self._decompressor = zlib.decompressobj(-15) if method == 8 else None
        self._left = packed
        return True

    def _in_entry(self) -> bool:
        """Reads of an entry what is there; false where more bytes are needed."""
        assert self._entry is not None
        if self._decompressor is None:
            part = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            self._left -= len(part)
            self._entry.feed(part)
            ended = self._left == 0
        else:
            piece = bytes(self._buffer[:_PIECE])
            del self._buffer[:_PIECE]
            try:
                self._entry.feed(self._decompressor.decompress(piece))
            except zlib.error:
                self._entry.end()
                raise Unreadable("ZIP that is damaged") from None
            if ended := self._decompressor.eof:
                self._buffer[:0] = self._decompressor.unused_data
        if ended:
            self._entry.end()
            self._entry = None
        return ended or bool(self._buffer)


def _packed(kind: str, make: Callable[[], _Decompressor]) -> Callable[[Inner], Sink]:
    return lambda inner: _Packed(kind, make, inner)


OPENERS: dict[bytes, Callable[[Inner], Sink]] = {
    b"\x1f\x8b": _packed("gzip", lambda: zlib.decompressobj(31)),
    b"BZh": _packed("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": _packed("xz", lzma.LZMADecompressor),
    b"\x28\xb5\x2f\xfd": _packed("Zstandard", lambda: zstandard.ZstdDecompressor().decompressobj()),
    b"PK\x03\x04": _Zip,
}
