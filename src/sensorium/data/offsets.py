"""Whole numbers by row, kept on disk: where each row of a large file is, made once and mapped, not held in memory."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.cache import cache_folder
from sensorium.errors import DataError

Numbers = NDArray[np.int64]
_CHUNK = 1 << 16


def identity(path: str) -> str:
    """A file's name, size and time of change: what its offsets hold good for."""
    state = Path(path).stat()
    return f"{Path(path).resolve()} {state.st_size} {state.st_mtime_ns}"


def kept(key: str, width: int, make: Callable[[], Iterable[tuple[int, ...]]]) -> Numbers:
    """The table `(rows, width)` that `make` gives row by row; made once for a key and then read from the cache folder.

    Processes may ask at the same time; each finds either nothing or the whole table.

    Raises:
        DataError: the cache folder cannot be written to, or the data cannot be read.
    """
    path = cache_folder() / "rows" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{width}"
    if not path.is_file():
        _write(path, chain.from_iterable(make()))
    if not path.stat().st_size:
        return np.zeros((0, width), np.int64)
    return np.memmap(path, np.int64, "r").reshape(-1, width)


def _write(path: Path, numbers: Iterator[int]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            while chunk := array("q", islice(numbers, _CHUNK)):
                chunk.tofile(file)
        Path(file.name).replace(path)
    except OSError as error:
        problem = f"cannot keep where the rows of data are ({error.strerror or error})"
        raise DataError(str(path.parent), problem, "Let SENSORIUM_CACHE name a folder that can be written to") from error
