"""The records of one text file by number: JSON lines, a JSON array, CSV. Read one at a time, whatever the size of the file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sensorium.data import spans
from sensorium.data.fault import RowError
from sensorium.data.offsets import Numbers, identity, kept
from sensorium.data.record import Found, Record, wrong_type
from sensorium.data.spans import Span

Layout = Literal["lines", "array", "csv"]
LIMIT = 256 * 1024 * 1024
"""Bytes that one record may have."""


@dataclass(frozen=True)
class Table:
    """Records of a file.

    Args:
        layout: `lines` of JSON objects, one `array` of them, or `csv` with a head.
        key: the array stands under this key of the object that the file is.
    """

    path: str
    layout: Layout
    key: str | None = None

    def spans(self) -> Iterator[Span]:
        """Where the records are, found as they are asked for."""
        if self.layout == "lines":
            return spans.lines(self.path)
        return spans.csv_records(self.path) if self.layout == "csv" else spans.elements(self.path, self.key)

    def __len__(self) -> int:
        return len(self._offsets)

    def record(self, index: int) -> Found:
        """Record `index`, counted from 0, wherever it is in the file."""
        start, stop = self._offsets[index].tolist()
        with Path(self.path).open("rb") as file:
            return Found(self.path, index + 1, self._read(file, start, stop))

    def records(self, start: int = 0) -> Iterator[Found]:
        """All from `start` on, in order."""
        with Path(self.path).open("rb") as file:
            for number, (begin, end) in enumerate(self._from(start), start + 1):
                yield Found(self.path, number, self._read(file, begin, end))

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        with Path(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def _offsets(self) -> Numbers:
        return kept(f"spans 1 {self.layout} {self.key} {identity(self.path)}", 2, self.spans)

    @cached_property
    def _head(self) -> list[str]:
        with Path(self.path).open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])

    def _from(self, start: int) -> Iterator[tuple[int, int]]:
        if not start:
            yield from self.spans()
            return
        for low in range(start, len(self), 4096):
            yield from self._offsets[low : low + 4096].tolist()

    def _read(self, file: BinaryIO, start: int, stop: int) -> Record | RowError:
        try:
            return self._parsed(file, start, stop)
        except RowError as error:
            return error

    def _parsed(self, file: BinaryIO, start: int, stop: int) -> Record:
        if stop - start > LIMIT:
            reason = f"has {stop - start:,} bytes, over the limit of {LIMIT:,}; rows after it may be a part of it"
            raise RowError("row", "bad-json", reason, "Look for a quote or bracket that is never closed")
        file.seek(start)
        content = file.read(stop - start)
        ends = start == stop and self.layout == "array" and not file.read(1)
        value = self._cells(content) if self.layout == "csv" else parse_json(content, ends)
        if not isinstance(value, dict):
            raise wrong_type("row", value, "an object")
        return Record(value)

    def _cells(self, content: bytes) -> dict[str, Any]:
        cells = next(csv.reader(io.StringIO(_decoded(content), newline=""), strict=True), [])
        if len(cells) != len(self._head):
            reason = f"has {len(cells)} cells, but the head names {len(self._head)} columns"
            raise RowError("row", "bad-csv", reason, "Put cells that hold commas, quotes or line feeds into quotes")
        return {name: cell for name, cell in zip(self._head, cells, strict=True) if cell}


def parse_json(content: bytes, truncated: bool = False) -> Any:
    """The value that some bytes of JSON hold.

    Args:
        truncated: the file ends where a value should stand.

    Raises:
        RowError: they hold none.
    """
    if truncated:
        raise RowError(
            "row", "truncated", "is missing: the file ends before its list is closed", "Copy or write the file again"
        )
    if not content.strip():
        raise RowError("row", "empty-row", "is empty", "Take the empty line or the spare comma out")
    try:
        return json.loads(_decoded(content))
    except (json.JSONDecodeError, RecursionError) as error:
        reason = f"is not JSON ({error}); it holds {len(content):,} bytes"
        raise RowError("row", "bad-json", reason, "Correct it, or write the row again with a JSON library") from error


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError("row", "bad-json", f"is not UTF-8 (byte {error.start:,} of it)", "Save the file as UTF-8") from error
