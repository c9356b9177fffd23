"""Bytes of any kind, searched as they come: packed ones are opened, and identities across two chunks are found.

A content is pushed through: `Content.feed` a chunk at a time, then `Content.end`. Memory holds one window of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence

from activities.verification.evidence import COLUMN, named_values
from activities.verification.packing import OPENERS, SEALED, Sink, Unreadable

WINDOW = 256 * 1024
"""Bytes that are searched at once."""

OVERLAP = 4 * 1024
"""Bytes that two windows share: an identity is shorter, however it is escaped."""

NESTED = 3
"""How deep packed content is opened that lies in packed content."""

LINE = 64 * 1024
"""Bytes of a line up to which it may be a row of values."""

_JOINING = bytes(code for code in range(256) if code >= 0x80 or chr(code).isalnum() or chr(code) in "_.'+%-@")
"""Bytes that may join two words to one identity: a window neither begins nor ends between them."""

_READABLE = re.compile(
    rb"(?:[\t\n\r\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}){6,}"
)
"""Characters of UTF-8 that follow one another; fewer do so by chance, and would hold short ids by chance."""

_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

Look = Callable[[Sequence[str], Sequence[str]], None]
"""Searches texts, each with its name: empty where it has none."""


class Content:
    """Some bytes, whatever they are.

    Args:
        look: Is given every text of it, and every value that stands beside a name or under a heading.
        sealed: Is given the format of what hides its text, or why it cannot be opened.
        nested: In how much packed content it lies.
    """

    def __init__(self, look: Look, sealed: Callable[[str], None], nested: int = 0) -> None:
        self._look = look
        self._sealed = sealed
        self._nested = nested
        self._head = b""
        self._sink: Sink | None = None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        if self._sink is None:
            self._head += chunk
            if len(self._head) < 16:
                return
            chunk, self._sink = self._head, self._opened()
        self._push(self._sink, chunk)

    def end(self) -> None:
        """Says that no bytes follow."""
        if self._sink is None:
            self._sink = self._opened()
            self._push(self._sink, self._head)
        try:
            self._sink.end()
        except Unreadable as why:
            self._sealed(str(why))

    def _push(self, sink: Sink, chunk: bytes) -> None:
        try:
            sink.feed(chunk)
        except Unreadable as why:
            self._sealed(str(why))
            self._sink = _Nothing()

    def _opened(self) -> Sink:
        """What reads bytes that begin like this."""
        opener = next((opener for magic, opener in OPENERS.items() if self._head.startswith(magic)), None)
        if opener is not None and self._nested < NESTED:
            return opener(lambda: Content(self._look, self._sealed, self._nested + 1))
        if opener is not None:
            self._sealed("what is packed too deep")
        for magic, kind in SEALED.items():
            if self._head.startswith(magic):
                self._sealed(kind)
        text = _Text(self._look)
        encoding = next((encoding for bom, encoding in _BOMS.items() if self._head.startswith(bom)), None)
        return text if encoding is None else _Recoded(text, encoding)


class _Nothing:
    """What follows once content turned out to be unreadable."""

    def feed(self, chunk: bytes) -> None:
        """Takes bytes that nobody can read."""

    def end(self) -> None:
        """Nothing is left."""


class _Text:
    """Text in UTF-8, or in any other encoding of the kind."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._window = bytearray()
        self._rows = _Rows(look)

    def feed(self, chunk: bytes) -> None:
        self._rows.feed(chunk)
        for start in range(0, len(chunk), WINDOW):
            self._window += chunk[start : start + WINDOW]
            if len(self._window) > WINDOW + 4 * OVERLAP:
                end = _separated(self._window, WINDOW)
                self._search(bytes(self._window[:end]))
                del self._window[: _separated(self._window, end - OVERLAP)]

    def end(self) -> None:
        self._rows.end()
        self._search(bytes(self._window))

    def _search(self, window: bytes) -> None:
        if is_binary(window):
            forms = [window]
            if window.count(b"\0") * 4 > len(window):
                forms.append(window.replace(b"\0", b""))  # what is ASCII in UTF-16
            self._look(["\n".join(words(form)) for form in forms], [""] * len(forms))
            return
        for text in views(window):
            pairs = list(named_values(text))
            self._look([text, *(value for _, value in pairs)], ["", *(name for name, _ in pairs)])


def is_binary(raw: bytes) -> bool:
    """Whether some bytes are no text: one in four of its characters is none."""
    text = raw.decode("utf-8", "replace")
    return (text.count("\ufffd") + text.count("\0")) * 4 > len(text)


def words(raw: bytes) -> Iterator[str]:
    """What can be read in bytes that are no text."""
    return (run.decode() for run in _READABLE.findall(raw))


def views(raw: bytes) -> Iterator[str]:
    """What a text says: in UTF-8; where that fails also in Latin-1; and without zeros."""
    text = raw.decode("utf-8", "replace")
    yield text
    if "\ufffd" in text:
        yield raw.decode("latin-1")
    if "\0" in text:
        yield text.replace("\0", "")


def _separated(window: bytes | bytearray, end: int) -> int:
    """Where to cut at or before a position, so that no word is cut; there, where no separator is near."""
    cut = len(window[:end].rstrip(_JOINING))
    return cut if cut >= end - OVERLAP else end


class _Recoded:
    """Text with a mark of its encoding."""

    def __init__(self, text: _Text, encoding: str) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def feed(self, chunk: bytes) -> None:
        self._text.feed(self._decoder.decode(chunk).encode("utf-8", "replace"))

    def end(self) -> None:
        self._text.feed(self._decoder.decode(b"", True).encode("utf-8", "replace"))
        self._text.end()


class _Rows:
    """Lines of values between delimiters: CSV under its header, and the rows of a plain ``pg_dump``."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._line = bytearray()
        self._names: list[str] | None = None
        self._delimiter = ","
        self._usable = True

    def feed(self, chunk: bytes) -> None:
        if self._usable and is_binary(chunk):
            self._usable = False
        if not self._usable:
            return
        self._line += chunk
        *lines, rest = self._line.split(b"\n")
        self._line = rest
        self._take(lines)
        if len(self._line) > LINE:  # no row of values, and nothing after it is under a header
            self._usable = False
            self._line.clear()

    def end(self) -> None:
        if self._usable and self._line:
            self._take([self._line])

    def _take(self, lines: Sequence[bytearray]) -> None:
        texts: list[str] = []
        names: list[str] = []
        for raw in lines:
            for name, value in self._row(raw.decode("utf-8", "replace").rstrip("\r")):
                texts.append(value)
                names.append(name)
        self._look(texts, names)

    def _row(self, line: str) -> Iterator[tuple[str, str]]:
        if line.startswith("COPY ") and line.endswith(" FROM stdin;"):
            table, _, columns = line[5:-12].rstrip(")").partition(" (")
            self._names = [f"{COLUMN}{table}.{name}" for name in columns.split(", ")]
            self._delimiter = "\t"
            return
        if self._names is None:
            self._delimiter = max("\t,;|", key=line.count)
            self._names = [name.strip(' "') for name in line.split(self._delimiter)]
        names = self._names
        for number, value in enumerate(line.split(self._delimiter)):
            if value := value.strip(' "'):
                yield names[number] if number < len(names) else "", value
