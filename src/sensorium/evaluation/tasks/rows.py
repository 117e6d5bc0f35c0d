"""Rows of the files that exams are published in: JSON, JSON lines, CSV, TSV and Parquet, one dictionary each."""

from __future__ import annotations

import base64
import binascii
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sensorium.data.fault import RowError, refuse
from sensorium.data.spans import first_sign
from sensorium.data.table import Layout as Kind
from sensorium.data.table import Table
from sensorium.errors import DataError, DependencyError
from sensorium.parts import Source

Row = dict[str, Any]
NAME = 512
"""Longer words than this are a picture's own bytes, not the name of its file."""


def rows(path: Path, key: str | None = None) -> Iterator[Row]:
    """Each row of a table.

    Args:
        key: of a JSON file that is an object: under which the list stands.

    Raises:
        DataError: a broken row, or an unknown kind of file. DependencyError: Parquet without pyarrow.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        yield from _cells(path, "\t" if path.suffix == ".tsv" else ",")
    elif path.suffix in (".json", ".jsonl"):
        kind: Kind = "array" if key is not None or first_sign(str(path)) == "[" else "lines"
        for found in Table(str(path), kind, key).records():
            if isinstance(found.record, RowError):
                refuse(found.record.at(found.file, found.row))
            else:
                yield dict(found.record.values)
    else:
        raise DataError(str(path), "is no JSON, JSON lines, CSV, TSV or Parquet file", "Convert it to one of these")


def members(path: Path) -> dict[str, Any]:
    """The object that a JSON file is.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(str(path), f"is not JSON ({error})", "Fetch the file again") from error
    if not isinstance(value, dict):
        raise DataError(str(path), "holds a list, and an object was expected", "Fetch the file again")
    return value


def field(row: Row, name: str, path: Path) -> Any:
    """A column that every row of this format has.

    Raises:
        DataError: this one has not.
    """
    if name not in row:
        raise DataError(f"{path}, field {name}", f"is missing in a row with {sorted(row)}", "Check that it is the file named")
    return row[name]


def picture(cell: Any, folder: Path) -> Source:
    """The source of a picture as tables hold it: `{"bytes", "path"}`, bytes, base64, or a name relative to `folder`.

    Raises:
        DataError: none of these.
    """
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str) and 0 < len(cell) <= NAME:
        return str(folder / cell)
    if isinstance(cell, str) and cell:
        try:
            return base64.b64decode(cell, validate=True)
        except binascii.Error as error:
            raise DataError(f"{folder}, a picture", f"is not base64 ({error})", "Fetch the file again") from error
    raise DataError(f"{folder}, a picture", f"is {type(cell).__name__}, not bytes or a name", "Check the column")


def choices(names: Iterable[str], row: Row) -> list[str]:
    """The cells of these columns that hold something."""
    return [str(row[name]) for name in names if row.get(name) not in (None, "", "nan")]


def _cells(path: Path, comma: str) -> Iterator[Row]:
    before = csv.field_size_limit(sys.maxsize)  # pictures stand in some tables as base64
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, delimiter=comma), 1):
                if None in row or None in row.values():
                    raise DataError(f"{path}, row {number}", "has not as many cells as the head", "Fetch the file again")
                yield row
    finally:
        csv.field_size_limit(before)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DependencyError(str(path), "needs the package pyarrow", "Run: pip install 'sensorium[eval]'") from error
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=32):
            yield from batch.to_pylist()
