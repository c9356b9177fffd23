"""The rows of a table as they come: split, counted and looked through a portion at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from activities.contract import Heartbeat
from activities.stores.clickhouse.connection import Client
from activities.verification.needles import Needles
from activities.verification.surroundings import MASK
from activities.verification.tally import Tally

PORTION = 1024 * 1024
"""Bytes that are looked through at once."""

FIELD, ROW, END = "\x1f\x1d", "\x1e\x1d", "\x04\x1d"
"""What ends a field, a row, and the whole answer: without the last, it was cut off."""

SETTINGS = f"""
    format_custom_escaping_rule = 'Raw', format_custom_field_delimiter = '{FIELD}',
    format_custom_row_before_delimiter = '', format_custom_row_after_delimiter = '{ROW}',
    format_custom_row_between_delimiter = '', format_custom_result_before_delimiter = '',
    format_custom_result_after_delimiter = '{END}', output_format_json_escape_forward_slashes = 0,
    apply_deleted_mask = 0, max_execution_time = 0, timeout_overflow_mode = 'throw', read_overflow_mode = 'throw',
    result_overflow_mode = 'throw', max_result_rows = 0, max_result_bytes = 0, max_threads = 2
"""
"""Rows that a lightweight delete hides are on the disk, and are read. A bound stops the query and cuts nothing."""


class Rows:
    """Looks through the rows of one table.

    Args:
        table: What it is called.
        texts: Of each column the expression that gives its text.
        tally: Counts what is found.
        needles: What is looked for.
    """

    def __init__(self, table: str, texts: Mapping[str, str], tally: Tally, needles: Needles) -> None:
        self._table = table
        self._texts = texts
        self._tally = tally
        self._needles = needles
        self._places = [f"{table}: {column}" for column in texts]

    async def read(self, client: Client, source: str, heartbeat: Heartbeat) -> bool:
        """Reads all rows.

        Args:
            client: The client.
            source: What they are read from, as SQL.
            heartbeat: Told of every portion.

        Returns:
            Whether the answer came to its end.
        """
        query = f"SELECT {', '.join(self._texts.values())} FROM {source} SETTINGS {SETTINGS} FORMAT CustomSeparated"
        held: list[bytes] = []
        size = 0
        rest = b""
        async for chunk in client.stream(query):
            held.append(chunk)
            size += len(chunk)
            if size >= PORTION:
                whole, row, rest = b"".join((rest, *held)).rpartition(ROW.encode())
                held, size = [], 0
                await asyncio.to_thread(self._look, whole + row)
                heartbeat(self._table, self._tally.records)
        whole, row, rest = b"".join((rest, *held)).rpartition(ROW.encode())
        await asyncio.to_thread(self._look, whole + row)
        heartbeat(self._table, self._tally.records)
        return rest == END.encode()

    def _look(self, portion: bytes) -> None:
        text = portion.decode("utf-8", "surrogateescape")
        *rows, _ = text.split(ROW)
        self._tally.masked += f"{ROW}{text}".count(f"\x1d{MASK}")
        for number in self._needles.suspects(rows):
            fields = rows[number].split(FIELD)
            # a value may hold the bytes that separate fields: then nobody knows which column is which
            places = self._places if len(fields) == len(self._places) else [self._table] * len(fields)
            for field, place in zip(fields, places, strict=True):
                self._tally.examine(field, place, self._tally.records + number)
        self._tally.records += len(rows)
        self._tally.bytes += len(portion)
