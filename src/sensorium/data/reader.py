"""Open training data of any known dialect as a source of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from sensorium.data.row import Row, Source
from sensorium.errors import DataError

__all__ = ["DIALECTS", "Dialect", "Row", "Source", "open_source"]

Dialect = Literal[
    "llava", "sharegpt", "messages", "alpaca", "trl", "sensorium", "coco", "vqa", "webdataset", "folder", "registry", "datasets"
]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


def open_source(path: str | Path, dialect: Dialect | None = None, media: str | Path | None = None) -> Source:
    """Open a file, a folder or a pattern of shards.

    Args:
        dialect: found out from the content by default.
        media: the folder that relative media paths start from; by default the folder of the file.

    Raises:
        DataError: there is no such file, or its dialect is not known.
    """
    known = f"Use one of {', '.join(DIALECTS)}"
    raise DataError(str(path), f"is not a file of a known dialect ({dialect}, media in {media})", known)
